// Package hfcache reads a snapshot in the local cache of huggingface_hub as a tree of files.
//
// The cache ("Hub Local Cache", huggingface.co/docs/hub/local-cache) holds one folder for each repository:
//
//	models--ORG--NAME/ (datasets--, spaces--)
//	    blobs/ETAG                    contents; ETAG is git-lfs's sha256, or git's sha1 of a small file
//	    snapshots/COMMIT/PATH         a relative link to ../../blobs/ETAG, or a plain file where there are no links
//	blobs/XX/XETHASH                  contents that several repositories share: blobs/ETAG is then a link to them
//
// A link is followed when it leads to a blob of the same repository and nowhere else, and the contents are held to the name
// of the blob while they are read. A cache may hold a part of the repository only: nothing in it says so.
package hfcache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/origin"
)

// ErrLink says that a link of a snapshot leads somewhere else than to a blob of its repository, or to none.
var ErrLink = errors.New("a link that leads to no blob of the cached repository")

var (
	commitName = lazyregexp.New(`^[0-9a-f]{40}$`)
	folderName = lazyregexp.New(`^(model|dataset|space)s--(.+)$`)
	sharedBlob = lazyregexp.New(`^[0-9a-f]{2}/[0-9a-f]{64}$`)
)

// Recognize says which repository and commit dir is a snapshot of, from its path and the folder blobs beside it; dir may lead
// there by way of links.
func Recognize(dir string) (origin.Source, bool) {
	_, source, ok := recognize(dir)
	return source, ok
}

// recognize also returns the folder of the repository.
func recognize(dir string) (repo string, source origin.Source, ok bool) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", source, false
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", source, false
	}
	snapshots := filepath.Dir(dir)
	repo = filepath.Dir(snapshots)
	parts := folderName.FindStringSubmatch(filepath.Base(repo))
	if parts == nil || filepath.Base(snapshots) != "snapshots" || !commitName.MatchString(filepath.Base(dir)) {
		return "", source, false
	}
	if info, err := os.Lstat(filepath.Join(repo, "blobs")); err != nil || !info.IsDir() {
		return "", source, false
	}
	// huggingface_hub joins organization and name with "--", which neither may hold.
	name := strings.ReplaceAll(parts[2], "--", "/")
	return repo, origin.Source{Kind: parts[1], Repository: name, Commit: filepath.Base(dir)}, true
}

// Snapshot is an opened snapshot: a file system whose links are followed, and whose files fail at their end with
// origin.ErrMismatch when they are not what their blob's name says. It implements fs.ReadDirFS and fs.StatFS.
type Snapshot struct {
	Source origin.Source
	repo   *os.Root // the repository's folder: nothing outside of it is read but the shared blobs
	shared *os.Root // the cache's folder of shared blobs; nil where there is none
	dir    string   // the snapshot below repo, with slashes
	base   string   // absolute path of repo
}

// Open opens the snapshot dir, which Recognize must know.
func Open(dir string) (*Snapshot, error) {
	base, source, ok := recognize(dir)
	if !ok {
		return nil, fmt.Errorf("hfcache: %s is not a snapshot of a Hugging Face cache", dir)
	}
	repo, err := os.OpenRoot(base)
	if err != nil {
		return nil, fmt.Errorf("hfcache: %w", err)
	}
	s := &Snapshot{Source: source, repo: repo, dir: path.Join("snapshots", source.Commit), base: base}
	if info, err := os.Lstat(s.sharedDir()); err == nil && info.IsDir() {
		if s.shared, err = os.OpenRoot(s.sharedDir()); err != nil {
			return nil, errors.Join(fmt.Errorf("hfcache: %w", err), s.Close())
		}
	}
	return s, nil
}

func (s *Snapshot) sharedDir() string { return filepath.Join(filepath.Dir(s.base), "blobs") }

// Close closes the snapshot.
func (s *Snapshot) Close() error {
	err := s.repo.Close()
	if s.shared != nil {
		err = errors.Join(err, s.shared.Close())
	}
	return err
}

// place is where the contents of a file of the snapshot stand.
type place struct {
	root *os.Root
	name string
	oid  origin.OID // zero when nothing says what the contents should be
}

// find returns where the contents of name are: a link is followed to its blob, and a blob to the shared one.
func (s *Snapshot) find(op, name string) (place, error) {
	if !fs.ValidPath(name) {
		return place{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	p := place{root: s.repo, name: path.Join(s.dir, name)}
	info, err := s.repo.Lstat(p.name)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return p, err
	}
	blob, err := s.target(s.repo, p.name, filepath.Join(s.base, "blobs"))
	if err != nil || strings.Contains(blob, "/") {
		return place{}, fmt.Errorf("%s: %w", name, errors.Join(ErrLink, err))
	}
	p.oid, _ = origin.ParseOID(blob)
	p.name = path.Join("blobs", blob)
	if info, err = s.repo.Lstat(p.name); err != nil {
		return place{}, fmt.Errorf("%s: %w: %w", name, ErrLink, err)
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		if p, err = s.findShared(p); err != nil {
			return place{}, fmt.Errorf("%s: %w", name, err)
		}
		info, err = p.root.Lstat(p.name)
	}
	if err != nil || !info.Mode().IsRegular() {
		return place{}, fmt.Errorf("%s: %w", name, errors.Join(ErrLink, err))
	}
	return p, nil
}

// findShared follows a blob that is a link into the cache's folder of shared blobs.
func (s *Snapshot) findShared(p place) (place, error) {
	target, err := s.target(p.root, p.name, s.sharedDir())
	if err != nil || s.shared == nil || !sharedBlob.MatchString(target) {
		return place{}, errors.Join(ErrLink, err)
	}
	return place{root: s.shared, name: target, oid: p.oid}, nil
}

// target returns where the link name leads to, as a path below dir with slashes; it looks at no more than the text of the link.
func (s *Snapshot) target(root *os.Root, name, dir string) (string, error) {
	link, err := root.Readlink(name)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(link) {
		link = filepath.Join(s.base, filepath.Dir(filepath.FromSlash(name)), link)
	}
	rel, err := filepath.Rel(dir, link)
	if err != nil || !filepath.IsLocal(rel) || rel == "." {
		return "", errors.Join(fmt.Errorf("it leads to %s", link), err)
	}
	return filepath.ToSlash(rel), nil
}

// Open implements fs.FS.
func (s *Snapshot) Open(name string) (fs.File, error) {
	p, err := s.find("open", name)
	if err != nil {
		return nil, err
	}
	f, err := p.root.Open(p.name)
	if err != nil || p.oid.IsZero() {
		return f, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &file{File: f, r: p.oid.Reader(f, info.Size())}, nil
}

// file is a blob that is held to its name.
type file struct {
	fs.File
	r io.Reader
}

func (f *file) Read(p []byte) (int, error) { return f.r.Read(p) }

// Stat implements fs.StatFS: what is asked of a link is asked of its blob.
func (s *Snapshot) Stat(name string) (fs.FileInfo, error) {
	p, err := s.find("stat", name)
	if err != nil {
		return nil, err
	}
	return p.root.Lstat(p.name)
}

// ReadDir implements fs.ReadDirFS; an entry that is a link is shown as the file that it leads to.
func (s *Snapshot) ReadDir(name string) ([]fs.DirEntry, error) {
	p, err := s.find("readdir", name)
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(p.root.FS(), p.name)
	if err != nil {
		return nil, err
	}
	for i, e := range entries {
		if e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		info, err := s.Stat(path.Join(name, e.Name()))
		if err != nil {
			return nil, err
		}
		entries[i] = named{fs.FileInfoToDirEntry(info), e.Name()}
	}
	return entries, nil
}

// named is a blob under the name that the snapshot gives it.
type named struct {
	fs.DirEntry
	name string
}

func (n named) Name() string { return n.name }

// Unchecked lists the files of m that are no links to a blob with a digest for a name: nothing says what they should be.
func (s *Snapshot) Unchecked(m *manifest.Manifest) []string {
	var names []string
	for _, f := range m.Files {
		if p, err := s.find("stat", f.Path); err != nil || p.oid.IsZero() {
			names = append(names, f.Path)
		}
	}
	return names
}
