package manifest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
)

// MaxFiles bounds how many files one tree may hold.
const MaxFiles = 10_000_000

// Errors that callers branch on.
var (
	ErrEmpty      = errors.New("no files")                                                      // the tree holds no file at all
	ErrSymlink    = errors.New("symbolic link")                                                 // a link stands in the tree
	ErrBrokenLink = errors.New("symbolic link that leads nowhere or back to a folder above it") // a link that cannot be followed
	ErrSpecial    = errors.New("not a regular file")                                            // a device, socket or pipe stands in the tree
	ErrChanged    = errors.New("changed while it was read")                                     // a file is not what it was a moment ago
	ErrTooMany    = errors.New("more files than can be listed")                                 // MaxFiles, MaxShards or MaxLinks is exceeded
)

// IsRefusal tells an error about what stands in the tree from one about reading it: a
// tree that is refused is not fit to be signed, wherever it is read.
func IsRefusal(err error) bool {
	for _, target := range []error{ErrName, ErrEmpty, ErrSymlink, ErrBrokenLink, ErrSpecial, ErrChanged, ErrTooMany} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// gitNames are the top-level names that OMS v1.0 leaves out of every tree
// (section 6.2: repository metadata at the model root).
var gitNames = []string{".git", ".gitattributes", ".github", ".gitignore"}

// GitNames returns the top-level names that a tree leaves out by default.
func GitNames() []string { return append([]string(nil), gitNames...) }

// entry is a file that belongs to the tree, not hashed yet.
type entry struct {
	path string
	info fs.FileInfo
}

// file is e as far as it is known before it is read.
func (e entry) file() File { return File{Path: e.path, Size: e.info.Size()} }

// bytesOf is the size of all files.
func bytesOf(files []entry) (n int64) {
	for _, e := range files {
		n += e.info.Size()
	}
	return n
}

// walker lists the files of a tree.
type walker struct {
	ctx      context.Context
	fsys     fs.FS
	opts     Options
	ignored  PathSet
	above    map[string]bool // the directories above listed files, when only those count
	files    []entry
	unlisted []string
	leftOut  []string
	links    int
}

// list walks fsys and returns a walker that holds, each sorted by path, the files of the tree, the paths that opts.Listed does
// not list and those that are no part of a tree.
func list(ctx context.Context, fsys fs.FS, opts Options) (*walker, error) {
	w := &walker{ctx: ctx, fsys: fsys, opts: opts, ignored: NewPathSet(opts.Ignore), above: above(opts.Listed)}
	if opts.File != "" {
		files, err := single(fsys, opts)
		w.files = files
		return w, err
	}
	if err := w.dir("."); err != nil {
		return nil, err
	}
	if len(w.files) == 0 {
		return nil, fmt.Errorf("manifest: %w in the tree", ErrEmpty)
	}
	sort.Slice(w.files, func(i, j int) bool { return w.files[i].path < w.files[j].path })
	sort.Strings(w.unlisted)
	sort.Strings(w.leftOut)
	return w, nil
}

// above lists the directories that lead to the listed files.
func above(listed map[string]bool) map[string]bool {
	dirs := map[string]bool{}
	for name := range listed {
		for dir := path.Dir(name); dir != "." && !dirs[dir]; dir = path.Dir(dir) {
			dirs[dir] = true
		}
	}
	return dirs
}

func (w *walker) dir(name string) error {
	entries, err := fs.ReadDir(w.fsys, name)
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	w.files = slices.Grow(w.files, len(entries))
	for _, d := range entries {
		if err := w.visit(path.Join(name, d.Name()), d); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) visit(name string, d fs.DirEntry) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if w.leavesOut(name) {
		w.leftOut = append(w.leftOut, name)
		return nil
	}
	if w.passesBy(name, d) {
		return nil
	}
	if err := CheckName(name); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if d.Type()&fs.ModeSymlink != 0 && w.opts.Serialization.AllowSymlinks {
		info, err := w.follow(name)
		if err != nil {
			return err
		}
		d = fs.FileInfoToDirEntry(info)
	}
	if d.IsDir() {
		return w.dir(name)
	}
	file, err := regular(name, d)
	if err != nil {
		return err
	}
	if len(w.files) == MaxFiles {
		return fmt.Errorf("manifest: %w: at most %d", ErrTooMany, MaxFiles)
	}
	w.files = append(w.files, file)
	return nil
}

// passesBy reports whether name is to be named and not read, because it is not listed and leads to nothing that is. Whatever it
// is, a link or a name that no tree may hold, is then no concern.
func (w *walker) passesBy(name string, d fs.DirEntry) bool {
	if w.opts.Listed == nil || w.opts.Listed[name] || w.above[name] {
		return false
	}
	if d.IsDir() {
		name += "/"
	}
	w.unlisted = append(w.unlisted, name)
	return true
}

// single is the tree of one file.
func single(fsys fs.FS, opts Options) ([]entry, error) {
	stat := lstat
	if opts.Serialization.AllowSymlinks {
		stat = fs.Stat
	}
	info, err := stat(fsys, opts.File)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	file, err := regular(opts.File, fs.FileInfoToDirEntry(info))
	if err != nil {
		return nil, err
	}
	return []entry{file}, nil
}

func regular(name string, d fs.DirEntry) (entry, error) {
	if err := CheckName(name); err != nil {
		return entry{}, fmt.Errorf("manifest: %w", err)
	}
	if d.Type()&fs.ModeSymlink != 0 {
		// OMS v1.0 section 6.1.1: symbolic links are refused unless they were asked for.
		return entry{}, fmt.Errorf("manifest: %s: %w: a tree holds files, not links to them", name, ErrSymlink)
	}
	if !d.Type().IsRegular() {
		return entry{}, fmt.Errorf("manifest: %s: %w (%s)", name, ErrSpecial, d.Type())
	}
	info, err := d.Info()
	if err != nil {
		return entry{}, fmt.Errorf("manifest: %w", err)
	}
	return entry{name, info}, nil
}

// lstat does not follow a link where the file system can tell one.
func lstat(fsys fs.FS, name string) (fs.FileInfo, error) {
	if l, ok := fsys.(fs.ReadLinkFS); ok {
		return l.Lstat(name)
	}
	return fs.Stat(fsys, name)
}

// leavesOut reports whether name, or a directory above it, is not part of the tree.
func (w *walker) leavesOut(name string) bool {
	if !w.opts.IncludeGit {
		top, _, _ := strings.Cut(name, "/")
		for _, g := range gitNames {
			if top == g {
				return true
			}
		}
	}
	return w.ignored.Covers(name)
}

// PathSet is a set of paths, each of which stands for itself and all below it, as ignored paths do (OMS v1.0 section 6.2.1).
type PathSet struct {
	tops []string // in the order of byDirectory, none below another
}

// NewPathSet makes a set of paths, which need not be clean.
func NewPathSet(paths []string) PathSet {
	clean := make([]string, len(paths))
	for i, p := range paths {
		clean[i] = path.Clean(p)
	}
	slices.SortFunc(clean, byDirectory)
	var s PathSet
	for _, p := range clean {
		if n := len(s.tops); n == 0 || !isBelow(p, s.tops[n-1]) {
			s.tops = append(s.tops, p)
		}
	}
	return s
}

// Covers reports whether the path, or a directory above it, is in the set. It takes time in proportion to the path's length.
func (s PathSet) Covers(name string) bool {
	n, found := slices.BinarySearchFunc(s.tops, name, byDirectory)
	return found || n > 0 && isBelow(name, s.tops[n-1])
}

// isBelow reports whether a path is the other one or below it.
func isBelow(name, top string) bool {
	return strings.HasPrefix(name, top) && (len(name) == len(top) || name[len(top)] == '/')
}

// byDirectory orders paths so that what is below a directory follows it, and nothing else comes in between: a slash comes before all other bytes.
func byDirectory(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch x, y := a[i], b[i]; {
		case x == y:
		case x == '/':
			return -1
		case y == '/':
			return 1
		default:
			return cmp.Compare(x, y)
		}
	}
	return cmp.Compare(len(a), len(b))
}
