package oci

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/manifest"
)

// pullPrefix begins the names of files that are not verified yet. They stand at the top of the
// destination; the next pull removes what a killed one left.
const pullPrefix = ".mlseal-pull-"

// Action is what Pull did with a file.
type Action string

// What Pull does with a file.
const (
	Wrote    Action = "wrote"    // the file was not there
	Replaced Action = "replaced" // a file with other bytes was there
	Kept     Action = "kept"     // the file was there, and its hash was right
)

// PullEvent tells of one piece of work: bytes handled, or a file finished.
type PullEvent struct {
	Bytes  int    // hashed or written since the last event; 0 when a file is finished
	Path   string // the finished file; empty for bytes
	Action Action // what was done with it
}

// PullOptions of Pull. The zero value is sound.
type PullOptions struct {
	Concurrency int             // files written at once; 0 for a few
	Only        []string        // patterns of Select; none for all files
	Progress    func(PullEvent) // called from several goroutines, one at a time; may be nil
}

// puller is one run of Pull.
type puller struct {
	target Target
	files  Target // target, which also has the files within layers as blobs
	root   *os.Root
	opts   PullOptions
	mu     sync.Mutex // of opts.Progress and of making directories
}

// Pull writes the files of p below dest, which is made when it is missing. Every file is verified
// while it is written to a temporary name, synced and renamed: a file under its final name is whole. A
// file that is there is hashed, and kept or replaced. Files in dest that are not in p fail with
// ErrExtra before anything is written, since dest would not be the tree of p; top-level git files
// are part of no tree, so that those in dest stay and those in p.LeftOut are not written. With opts.Only the files of p that are
// not chosen may be in dest, and are not looked at. Names that are unfit
// on some system fail with manifest.ErrName, links in the way with manifest.ErrSymlink. After a
// failure finished files stay, for the next pull to go on from.
func Pull(ctx context.Context, target Target, p *Package, dest string, opts PullOptions) error {
	if err := checkNames(p.Tree); err != nil {
		return err
	}
	part, err := Select(p.Tree, opts.Only)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dest, 0o777); err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	unlock, err := lockDir(ctx, dest)
	if err != nil {
		return err
	}
	defer unlock()
	root, err := os.OpenRoot(dest)
	if err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	defer func() { _ = root.Close() }()
	pl := &puller{target: target, files: p.fileSource(target), root: root, opts: opts}
	if err := pl.checkDest(p.Tree); err != nil {
		return fmt.Errorf("oci: %s: %w", dest, err)
	}
	jobs := p.pullJobs(part)
	err = eachBlob(ctx, opts.Concurrency, len(jobs), func(ctx context.Context, i int) error {
		return pl.do(ctx, jobs[i])
	})
	if syncErr := pl.sync(part); err == nil {
		err = syncErr
	}
	return err
}

// lockDir keeps two pulls from one destination. Where a directory cannot be locked (NFS, Windows)
// the second one fails on the first one's temporary files, and never leaves a bad file.
func lockDir(ctx context.Context, dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("oci: %w", err)
	}
	if err := waitLock(ctx, f); err != nil && ctx.Err() != nil {
		_ = f.Close()
		return nil, fmt.Errorf("oci: %s: another pull is at work: %w", dir, ctx.Err())
	}
	return func() { _ = f.Close() }, nil
}

// checkDest looks at everything that is in the destination, before anything is written.
func (pl *puller) checkDest(tree *manifest.Manifest) error {
	expected := map[string]bool{}
	for _, f := range tree.Files {
		expected[f.Path] = true
	}
	var extra []string
	err := fs.WalkDir(pl.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case strings.HasPrefix(name, pullPrefix) && d.Type().IsRegular() && !expected[name]:
			return pl.root.Remove(name)
		case d.Type()&fs.ModeSymlink != 0:
			return fmt.Errorf("%s: %w: a pull goes through none", escape.Line(name), manifest.ErrSymlink)
		case inGit(name):
			// No tree holds these, so they do not change what dest is.
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir() && expected[name]:
			return fmt.Errorf("%s: %w: a directory stands where a file belongs", name, fs.ErrExist)
		case d.IsDir():
			return nil
		case !expected[name]:
			extra = append(extra, name)
		case !d.Type().IsRegular():
			return fmt.Errorf("%s: %w", name, manifest.ErrSpecial)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return extraError(extra)
}

func extraError(extra []string) error {
	const most = 5
	switch {
	case len(extra) == 0:
		return nil
	case len(extra) > most:
		return fmt.Errorf("%w: %s and %d more", ErrExtra, shown(extra[:most]), len(extra)-most)
	}
	return fmt.Errorf("%w: %s", ErrExtra, shown(extra))
}

// shown lists names that stand in a directory, which may hold anything, in one line.
func shown(names []string) string { return escape.Line(strings.Join(names, ", ")) }

// file brings one file to its place.
func (pl *puller) file(ctx context.Context, f manifest.File) error {
	action, err := pl.present(ctx, f)
	if err != nil {
		return err
	}
	if action != Kept {
		if err := pl.write(ctx, pl.files, f); err != nil {
			return err
		}
	}
	pl.tell(PullEvent{Path: f.Path, Action: action})
	return nil
}

func (pl *puller) tell(e PullEvent) {
	if pl.opts.Progress != nil {
		pl.mu.Lock()
		defer pl.mu.Unlock()
		pl.opts.Progress(e)
	}
}

func (pl *puller) bytes(n int) { pl.tell(PullEvent{Bytes: n}) }

// present says what is to be done: a file is kept only when its bytes are right.
func (pl *puller) present(ctx context.Context, f manifest.File) (Action, error) {
	if err := pl.makeParents(f.Path); err != nil {
		return "", err
	}
	info, err := pl.root.Lstat(f.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Wrote, nil
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%w: something else stands there", manifest.ErrSpecial)
	case info.Size() != f.Size:
		return Replaced, nil
	}
	file, err := pl.root.Open(f.Path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	err = copyVerified(ctx, file, layerOf(f), io.Discard, pl.bytes)
	if errors.Is(err, ErrContent) {
		return Replaced, nil
	}
	return Kept, err
}

func layerOf(f manifest.File) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: f.Digest, Size: f.Size}
}

// makeParents makes the directories above name. A link among them is refused: it would lead to another
// place inside dest, and the file would stand under two names.
func (pl *puller) makeParents(name string) error {
	pl.mu.Lock()
	defer pl.mu.Unlock()
	dirs := slices.Collect(parents(name))
	slices.Reverse(dirs)
	for _, dir := range dirs {
		info, err := pl.root.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := pl.root.Mkdir(dir, 0o777); err != nil {
				return err
			}
		case err != nil:
			return err
		case info.Mode()&fs.ModeSymlink != 0:
			return fmt.Errorf("%s: %w: a pull goes through none", dir, manifest.ErrSymlink)
		case !info.IsDir():
			return fmt.Errorf("%s: %w: it is no directory", dir, manifest.ErrSpecial)
		}
	}
	return nil
}

// write fetches the file from a target under a temporary name and renames it when it is verified and synced.
func (pl *puller) write(ctx context.Context, from Target, f manifest.File) (err error) {
	temp := pullPrefix + rand.Text()
	out, err := pl.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = out.Close()
			_ = pl.root.Remove(temp)
		}
	}()
	if err := copyBlob(ctx, from, layerOf(f), out, pl.bytes); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return pl.root.Rename(temp, f.Path)
}

// sync makes the renames durable.
func (pl *puller) sync(tree *manifest.Manifest) error {
	done := map[string]bool{}
	for _, f := range tree.Files {
		for dir := path.Dir(f.Path); !done[dir]; dir = path.Dir(dir) {
			done[dir] = true
			if _, err := pl.root.Lstat(dir); err != nil {
				continue // a failed pull did not get there
			}
			if err := pl.syncDir(dir); err != nil {
				return fmt.Errorf("oci: %w", err)
			}
		}
	}
	return nil
}

func (pl *puller) syncDir(dir string) error {
	d, err := pl.root.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
