package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/internal/httpread"
	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/mlseal/mlseal/internal/listfs"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/origin"
)

// Limits of what a hub may answer.
const (
	// MaxFiles bounds how many files a repository may have.
	MaxFiles = 1_000_000
	// MaxPages bounds into how many pages the list of files may be split.
	MaxPages = 10_000
	// MaxAnswerBytes bounds one answer of the API.
	MaxAnswerBytes = 64 << 20
)

// File is a file as the hub lists it.
type File struct {
	Path string
	Size int64 // bytes
	OID  origin.OID
}

// Snapshot is a repository at one commit.
type Snapshot struct {
	Source   origin.Source
	Revision string // that was resolved
	Files    []File // sorted by path

	client *Client
	ref    Reference
}

// Snapshot resolves ref to a commit and lists its files; everything after is asked of that commit. A list with names that no tree
// may hold, with a file twice, or with one that has no digest wraps ErrAnswer.
func (c *Client) Snapshot(ctx context.Context, ref Reference) (*Snapshot, error) {
	commit, err := c.commit(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("hub: %s: %w", ref, err)
	}
	s := &Snapshot{Source: ref.source(commit), Revision: ref.Revision, client: c, ref: ref}
	if err := s.list(ctx); err != nil {
		return nil, fmt.Errorf("hub: %s: %w", ref, err)
	}
	return s, nil
}

// URI names the repository at the hub, as SPDX and SLSA write a git repository.
func (s *Snapshot) URI() string {
	return "git+" + s.client.endpoint.JoinPath(s.Source.Path()).String() + "@" + s.Source.Commit
}

// commit resolves the revision.
func (c *Client) commit(ctx context.Context, ref Reference) (string, error) {
	var info struct {
		SHA string `json:"sha"`
	}
	// A revision such as refs/pr/1 is one element of the path.
	if _, err := c.get(ctx, ref.api(c.endpoint, "revision", url.PathEscape(ref.Revision)), &info); err != nil {
		return "", err
	}
	if !commitGrammar.MatchString(info.SHA) {
		return "", fmt.Errorf("%w: %q is no commit", ErrAnswer, info.SHA)
	}
	if commitGrammar.MatchString(ref.Revision) && info.SHA != ref.Revision {
		return "", fmt.Errorf("%w: commit %s was asked for, %s answered", ErrAnswer, ref.Revision, info.SHA)
	}
	return info.SHA, nil
}

// get reads one answer of the API into v and returns its head.
func (c *Client) get(ctx context.Context, address *url.URL, v any) (http.Header, error) {
	var header http.Header
	err := c.retry.Do(ctx, func() error {
		resp, err := c.open(ctx, address, nil, nil)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		header = resp.Header
		data, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswerBytes+1))
		if err != nil {
			return httpread.Again{Err: fmt.Errorf("%w: %w", ErrUnavailable, err)}
		}
		if len(data) > MaxAnswerBytes {
			return fmt.Errorf("%w: more than %d bytes", ErrLimit, MaxAnswerBytes)
		}
		if err := json.Unmarshal(data, v); err != nil {
			return fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		return nil
	})
	return header, err
}

// treeEntry is an entry of the hub's list.
type treeEntry struct {
	Type string `json:"type"`
	Path string `json:"path"`
	Size int64  `json:"size"`
	OID  string `json:"oid"`
	LFS  *struct {
		OID  string `json:"oid"`
		Size int64  `json:"size"`
	} `json:"lfs"`
}

func (s *Snapshot) list(ctx context.Context) error {
	address := s.ref.api(s.client.endpoint, "tree", s.Source.Commit)
	address.RawQuery = "recursive=true"
	for page := 0; address != nil; page++ {
		if page == MaxPages {
			return fmt.Errorf("%w: more than %d pages of files", ErrLimit, MaxPages)
		}
		var entries []treeEntry
		header, err := s.client.get(ctx, address, &entries)
		if err != nil {
			return err
		}
		if err := s.add(entries); err != nil {
			return err
		}
		if address, err = s.client.nextPage(address, header); err != nil {
			return err
		}
	}
	slices.SortFunc(s.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	for i := range s.Files {
		if i > 0 && s.Files[i].Path == s.Files[i-1].Path {
			return fmt.Errorf("%w: it lists %q twice", ErrAnswer, s.Files[i].Path)
		}
	}
	return s.checkDirectories()
}

func (s *Snapshot) add(entries []treeEntry) error {
	for _, e := range entries {
		if e.Type == "directory" {
			continue
		}
		file, err := e.file()
		if err != nil {
			return fmt.Errorf("%w: %q: %w", ErrAnswer, e.Path, err)
		}
		if len(s.Files) == MaxFiles {
			return fmt.Errorf("%w: more than %d files", ErrLimit, MaxFiles)
		}
		s.Files = append(s.Files, file)
	}
	return nil
}

func (e treeEntry) file() (File, error) {
	f := File{Path: e.Path, Size: e.Size}
	published := e.OID
	if e.LFS != nil {
		published, f.Size = e.LFS.OID, e.LFS.Size
	}
	var ok bool
	f.OID, ok = origin.ParseOID(published)
	switch {
	case e.Type != "file":
		return f, fmt.Errorf("it is a %q, not a file", e.Type)
	case !ok || (e.LFS != nil) != (f.OID.Algorithm() == "sha256"):
		return f, fmt.Errorf("%q is no digest of it", published)
	case f.Size < 0:
		return f, fmt.Errorf("a size of %d bytes", f.Size)
	}
	return f, manifest.CheckName(e.Path)
}

// checkDirectories refuses a list in which a file stands where another one needs a directory.
func (s *Snapshot) checkDirectories() error {
	for _, f := range s.Files {
		for i, c := range f.Path {
			if c != '/' {
				continue
			}
			if _, ok := s.find(f.Path[:i]); ok {
				return fmt.Errorf("%w: %q is a file and a directory", ErrAnswer, f.Path[:i])
			}
		}
	}
	return nil
}

// tree is the snapshot as a file system whose files open opens.
func (s *Snapshot) tree(open func(File) (fs.File, error)) listfs.FS[File] {
	return listfs.FS[File]{Files: s.Files, Info: File.info, OpenAs: open}
}

func (s *Snapshot) find(name string) (File, bool) { return s.tree(nil).Find(name) }

var nextLink = lazyregexp.New(`<([^<>]+)>\s*;[^,]*rel="?next"?`)

// nextPage reads the Link header (RFC 8288). A next page is at the hub itself.
func (c *Client) nextPage(from *url.URL, header http.Header) (*url.URL, error) {
	for _, link := range header.Values("Link") {
		match := nextLink.FindStringSubmatch(link)
		if match == nil {
			continue
		}
		to, err := from.Parse(match[1])
		if err != nil || !c.isHub(to) || strings.TrimPrefix(to.Path, "/") != strings.TrimPrefix(from.Path, "/") {
			return nil, fmt.Errorf("%w: the next page of the list is elsewhere", ErrAnswer)
		}
		return to, nil
	}
	return nil, nil
}

// Taken lists what the hub published of the files of m.
func (s *Snapshot) Taken(m *manifest.Manifest) []File {
	var files []File
	for _, f := range m.Files {
		if published, ok := s.find(f.Path); ok {
			files = append(files, published)
		}
	}
	return files
}
