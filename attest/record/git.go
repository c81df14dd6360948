package record

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gitPatience bounds each question to git.
const gitPatience = 10 * time.Second

// maxGitOutput bounds an answer of git, in bytes.
const maxGitOutput = 4 << 20

// Code is the git commit that the command ran in.
type Code struct {
	URI       string // git+https://host/repository@refs/heads/branch
	Commit    string
	Modified  int // files that are not as in the commit; -1 when that is not known
	Untracked int // files and directories that are in no commit and not ignored
	top       string
}

// Dirty reports whether the commit does not describe what stands there.
func (c *Code) Dirty() bool { return c.Modified != 0 || c.Untracked > 0 }

// findCode asks git about dir, apart from what stands at the paths in except: materials and products are named by their own digests. It
// is nil when there is no git, no repository or no commit, or git does not answer in time.
func findCode(ctx context.Context, dir string, except []string) *Code {
	top, err := git(ctx, dir, "rev-parse", "--show-toplevel")
	if err != nil {
		return nil
	}
	c := &Code{top: line(top)}
	commit, err := git(ctx, dir, "rev-parse", "--verify", "-q", "HEAD^{commit}")
	if err != nil {
		return nil
	}
	c.Commit = line(commit)
	branch, _ := git(ctx, dir, "symbolic-ref", "-q", "HEAD") // none when HEAD is detached
	c.URI = c.remote(ctx, line(branch))
	if c.URI != "" && len(branch) > 0 {
		c.URI += "@" + (&url.URL{Path: line(branch)}).EscapedPath() // a branch may be called fix#1
	}
	c.status(ctx, except)
	return c
}

// hasRepository reports whether dir is in a git repository, whatever git says of it.
func hasRepository(dir string) bool {
	dir, err := filepath.Abs(dir)
	for err == nil {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			break
		}
		dir = parent
	}
	return false
}

// line is an answer of one line. A path may end with white space.
func line(answer []byte) string { return strings.TrimSuffix(string(answer), "\n") }

// git asks git, without what a repository's configuration could make it run for this, and without locks that could stand in the way of
// others.
func git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, gitPatience)
	defer cancel()
	null := os.DevNull
	cmd := exec.CommandContext(ctx, "git", append([]string{"--no-pager", "-C", dir, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=" + null, "-c", "core.quotePath=false"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
	cmd.WaitDelay = time.Second
	var out bounded
	cmd.Stdout = &out
	err := cmd.Run()
	return out.Bytes(), err
}

// bounded takes no more than maxGitOutput. What writes more gets an error.
type bounded struct{ bytes.Buffer }

var errTooLong = errors.New("too much output")

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxGitOutput {
		return 0, errTooLong
	}
	return b.Buffer.Write(p)
}

// remote is where the branch comes from, or else origin: as a URI without credentials.
func (c *Code) remote(ctx context.Context, branch string) string {
	name := "origin"
	if short, ok := strings.CutPrefix(branch, "refs/heads/"); ok {
		if of, err := git(ctx, c.top, "config", "--get", "branch."+short+".remote"); err == nil && line(of) != "." {
			name = cmp.Or(line(of), name)
		}
	}
	address, err := git(ctx, c.top, "config", "--get", "remote."+name+".url")
	if err != nil {
		return ""
	}
	return gitURI(line(address))
}

// gitURI makes a URI of a remote's address, in the form of SPDX: git+https://host/path. Credentials, queries and paths of this machine
// are left out. Empty when nothing is left.
func gitURI(address string) string {
	if strings.Contains(address, "::") {
		return "" // the address of a remote helper, which can be a command
	}
	if !strings.Contains(address, "://") {
		// git's scp-like form: user@host:path, where the colon comes before the first slash.
		host, name, ok := strings.Cut(address, ":")
		if !ok || strings.Contains(host, "/") || len(host) < 2 {
			return localGit(address)
		}
		if i := strings.LastIndexByte(host, '@'); i >= 0 {
			host = host[i+1:]
		} else if at, _, _ := strings.Cut(name, "/"); strings.Contains(at, "@") {
			return "" // user:password@host, a URL without its scheme
		}
		return "git+" + (&url.URL{Scheme: "ssh", Host: host, Path: "/" + strings.TrimPrefix(name, "/")}).String()
	}
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	if u.Scheme == "file" || u.Host == "" {
		return localGit(u.Path)
	}
	u.User, u.RawQuery, u.Fragment, u.ForceQuery = nil, "", "", false
	return "git+" + u.String()
}

// localGit is a repository on a disk: its last name says enough.
func localGit(name string) string {
	base := path.Base(filepath.ToSlash(name))
	if base == "." || base == "/" {
		return ""
	}
	return "git+file:" + url.PathEscape(base)
}

// status counts what is not as in the commit.
func (c *Code) status(ctx context.Context, except []string) {
	settings, err := withoutFilters(ctx, c.top)
	if err != nil {
		c.Modified = -1
		return
	}
	args := append(settings, "status", "--porcelain=v1", "-z", "--untracked-files=normal", "--no-renames", "--", ":(top)")
	for _, name := range except {
		if rel, ok := c.inside(name); ok {
			args = append(args, ":(top,exclude,literal)"+rel)
		}
	}
	out, err := git(ctx, c.top, args...)
	if err != nil {
		c.Modified = -1
		return
	}
	for _, entry := range strings.Split(string(out), "\x00") {
		switch {
		case entry == "":
		case strings.HasPrefix(entry, "?? "):
			c.Untracked++
		default:
			c.Modified++
		}
	}
}

// lfs are the commands of Git LFS, as `git lfs install --local` writes them.
var lfs = []string{"git-lfs clean -- %f", "git-lfs filter-process"}

// withoutFilters are the settings that turn the filters off which the repository itself brings along: git status runs them on files that may have
// changed. The user's own, and those of Git LFS, stay: without them a large file would not be what the commit has.
func withoutFilters(ctx context.Context, top string) (settings []string, err error) {
	out, err := git(ctx, top, "config", "-z", "--includes", "--show-scope", "--get-regexp", `^filter\..*\.(clean|process)$`)
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		return nil, nil // there are none
	}
	if err != nil {
		return nil, err
	}
	fields := strings.Split(string(out), "\x00") // of each setting its scope, and its name and value
	for i := 0; i+1 < len(fields); i += 2 {
		name, value, _ := strings.Cut(fields[i+1], "\n")
		if scope := fields[i]; scope != "local" && scope != "worktree" || slices.Contains(lfs, value) {
			continue
		}
		if strings.Contains(name, "=") {
			return nil, fmt.Errorf("git: the filter %q cannot be turned off", name)
		}
		required := name[:strings.LastIndexByte(name, '.')] + ".required"
		settings = append(settings, "-c", name+"=", "-c", required+"=false")
	}
	return settings, nil
}

// inside is the path of name below the work tree, with slashes.
func (c *Code) inside(name string) (string, bool) {
	rel, ok := Below(c.top, name)
	return rel, ok && rel != "."
}

// Below is the path of name below dir, with slashes and "." for dir itself, wherever links lead; ok is false when it is elsewhere.
// The last part of name need not be there.
func Below(dir, name string) (rel string, ok bool) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", false
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", false
	}
	rel, err = filepath.Rel(realPath(dir), realPath(abs))
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", false
	}
	return filepath.ToSlash(rel), true
}

// realPath follows the links in a path whose last part need not be there.
func realPath(name string) string {
	if found, err := filepath.EvalSymlinks(name); err == nil {
		return found
	}
	if parent := filepath.Dir(name); parent != name {
		return filepath.Join(realPath(parent), filepath.Base(name))
	}
	return name
}

// facts are what a record says of it.
func (c *Code) facts() map[string]any {
	facts := map[string]any{"mlseal_dirty": strconv.FormatBool(c.Dirty())}
	if c.Dirty() {
		facts["mlseal_modified"], facts["mlseal_untracked"] = strconv.Itoa(c.Modified), strconv.Itoa(c.Untracked)
	}
	return facts
}
