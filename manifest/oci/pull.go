package oci

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"

	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/internal/filelock"
	"github.com/mlseal/mlseal/manifest"
)

// pullPrefix begins the names of files that are not verified yet. They stand at the top of the
// destination. The next pull goes on from what an interrupted one left of the same file, and removes the rest.
const pullPrefix = ".mlseal-pull-"

// tempName is where a file is written while it is not verified. The name says which bytes belong there; that they
// do is found out anew by every pull.
func tempName(f manifest.File) string {
	path := sha256.Sum256([]byte(f.Path)) // the same bytes may be written to two paths at once
	return pullPrefix + f.Digest.Encoded() + "-" + hex.EncodeToString(path[:8])
}

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
	files  content.Fetcher // target, which also has the files within tar layers as blobs
	dest   string
	root   *os.Root
	opts   PullOptions
	only   patterns
	alone  bool              // no other pull writes to the destination
	staged map[string]string // temporary files that hold files of archives, by the path of the file
	mu     sync.Mutex        // of opts.Progress and of making directories
}

// Pull writes the files of p below dest, which is made when it is missing. Every file is verified
// while it is written to a temporary name, synced and renamed: a file under its final name is whole. A
// file that is there is hashed, and kept or replaced. Files in dest that are not in p fail with
// ErrExtra before anything is written, since dest would not be the tree of p; top-level git files
// are part of no tree, so that those in dest stay and those in p.LeftOut are not written. With opts.Only the files of p that are
// not chosen may be in dest, and are not looked at. Names that are unfit
// on some system fail with manifest.ErrName, links in the way with manifest.ErrSymlink. After a
// failure finished files stay, and after an interruption or a failure of the registry unfinished ones under
// temporary names too, for the next pull to go on from.
//
// Of the tar layers of a dataset only what is missing is read, where that is worth a request for each file. A car and the archives of other tools are read
// whole, and once: their files are written under temporary names and renamed when the whole archive is
// verified; what an interruption left of them is not gone on from. Pull completes p as Package.Read does.
func Pull(ctx context.Context, target Target, p *Package, dest string, opts PullOptions) error {
	only, err := parsePatterns(opts.Only)
	if err != nil {
		return err
	}
	if p.list() >= 0 {
		if err := p.Read(ctx, target, nil); err != nil {
			return err
		}
	}
	if p.Tree != nil {
		if _, err := only.choose(p.Tree); err != nil {
			return err
		}
		if err := checkNames(p.Tree); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dest, 0o777); err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	unlock, alone, err := lockDir(ctx, dest)
	if err != nil {
		return err
	}
	defer unlock()
	root, err := os.OpenRoot(dest)
	if err != nil {
		return fmt.Errorf("oci: %w", err)
	}
	defer func() { _ = root.Close() }()
	pl := &puller{target: target, dest: dest, root: root, opts: opts, only: only, alone: alone, staged: map[string]string{}}
	defer pl.dropStaged()
	if err := pl.stage(ctx, p); err != nil {
		return err
	}
	part, err := only.choose(p.Tree)
	if err != nil {
		return err
	}
	if err := pl.checkDest(p.Tree); err != nil {
		return fmt.Errorf("oci: %s: %w", dest, err)
	}
	pl.files = p.fileSource(target)
	jobs := p.pullJobs(part)
	err = eachBlob(ctx, opts.Concurrency, len(jobs), func(ctx context.Context, i int) error { return pl.do(ctx, jobs[i]) })
	if syncErr := pl.sync(part); err == nil {
		err = syncErr
	}
	return err
}

// lockDir keeps two pulls from one destination. Where a directory cannot be locked (NFS, Windows), alone is false: then
// no pull goes on from another one's temporary files, which may still be written.
func lockDir(ctx context.Context, dir string) (unlock func(), alone bool, err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, false, fmt.Errorf("oci: %w", err)
	}
	err = filelock.Wait(ctx, f)
	if err != nil && ctx.Err() != nil {
		_ = f.Close()
		return nil, false, fmt.Errorf("oci: %s: another pull is at work: %w", dir, ctx.Err())
	}
	return func() { _ = f.Close() }, err == nil, nil
}

// checkDest looks at everything that is in the destination, before anything is written.
func (pl *puller) checkDest(tree *manifest.Manifest) error {
	expected, begun := map[string]bool{}, map[string]bool{}
	for _, f := range tree.Files {
		expected[f.Path] = true
		begun[tempName(f)] = pl.alone
	}
	ours := map[string]bool{}
	for _, temp := range pl.staged {
		ours[temp] = true
	}
	var extra []string
	err := fs.WalkDir(pl.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case ours[name]:
			return nil
		case strings.HasPrefix(name, pullPrefix) && d.Type().IsRegular() && !expected[name]:
			if begun[name] && ownFile(d) {
				return nil
			}
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
		if err := pl.place(ctx, f); err != nil {
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

// place puts the file under its name, from an archive that was read or from its own layer.
func (pl *puller) place(ctx context.Context, f manifest.File) error {
	if temp, ok := pl.staged[f.Path]; ok {
		return pl.root.Rename(temp, f.Path)
	}
	return pl.write(ctx, pl.files, f)
}

// write fetches the file from a target under a temporary name and renames it when it is verified and synced. What an
// interrupted pull left is hashed and gone on from; when the whole is wrong then, it is fetched anew. A
// file stays for the next pull unless its bytes are wrong.
func (pl *puller) write(ctx context.Context, from content.Fetcher, f manifest.File) error {
	temp := tempName(f)
	if !pl.alone {
		temp = pullPrefix + rand.Text()
	}
	resumed, err := pl.fill(ctx, from, f, temp)
	if resumed && errors.Is(err, ErrContent) {
		if err = pl.root.Remove(temp); err == nil {
			_, err = pl.fill(ctx, from, f, temp)
		}
	}
	if err == nil {
		return pl.root.Rename(temp, f.Path)
	}
	_, far := pl.target.(RangeFetcher)
	if !pl.alone || !far || !errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
		_ = pl.root.Remove(temp) // the next pull tries again
	}
	return err
}

// fill writes and syncs the file name, and reports whether something was there already.
func (pl *puller) fill(ctx context.Context, from content.Fetcher, f manifest.File, name string) (resumed bool, err error) {
	out, err := pl.root.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return false, err
	}
	defer func() { _ = out.Close() }()
	h := f.Digest.Algorithm().Hash()
	have, err := manifest.Copy(ctx, h, io.LimitReader(out, f.Size+1), nil)
	if err != nil {
		return false, err
	}
	if have > f.Size {
		return true, &mismatchError{want: layerOf(f), gotSize: have}
	}
	report(pl.bytes, have)
	if err := pl.fetch(ctx, from, f, &writeback{file: out, at: have, started: have}, h, have); err != nil {
		return have > 0, err
	}
	return have > 0, errors.Join(out.Sync(), out.Close())
}

// fetch appends what is missing of the file, of which have bytes went through h.
func (pl *puller) fetch(ctx context.Context, from content.Fetcher, f manifest.File, out io.Writer, h hash.Hash, have int64) error {
	desc := layerOf(f)
	var rc io.ReadCloser = io.NopCloser(strings.NewReader(""))
	var err error
	if have < f.Size || have == 0 {
		if rc, err = fetchFrom(ctx, from, desc, have); err != nil {
			return err
		}
	}
	defer func() { _ = rc.Close() }()
	return copyRest(ctx, rc, desc, h, have, out, pl.bytes)
}

// writeNew makes a temporary file of what fill writes, synced, and returns its name.
func (pl *puller) writeNew(fill func(out *os.File) error) (name string, err error) {
	temp := pullPrefix + rand.Text()
	out, err := pl.root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = out.Close()
			_ = pl.root.Remove(temp)
		}
	}()
	if err := fill(out); err != nil {
		return "", err
	}
	if err := out.Sync(); err != nil {
		return "", err
	}
	return temp, out.Close()
}

// stage reads the archives of p into temporary files, and completes p.
func (pl *puller) stage(ctx context.Context, p *Package) error {
	var archives []int
	for i := range p.Layers {
		if p.Layers[i].opaque() {
			archives = append(archives, i)
		}
	}
	if len(archives) == 0 || p.list() >= 0 {
		return nil
	}
	if p.Car != nil {
		if err := p.about(p.readCar(ctx, pl.target, pl.bytes, pl.keep)); err != nil {
			return err
		}
		return checkNames(p.Tree)
	}
	u := newUnpacker(pl.target, pl.bytes, pl.keep)
	if err := p.unpack(ctx, u, archives); err != nil {
		return err
	}
	if err := p.complete(u.dirs); err != nil {
		return err
	}
	return checkNames(p.Tree)
}

// keep is a putFile: it writes a file of an archive under a temporary name, if it is chosen.
func (pl *puller) keep(name string, r io.Reader) error {
	if !pl.only.match(name) {
		return discardFile(name, r)
	}
	temp, err := pl.writeNew(func(out *os.File) error { _, err := io.Copy(out, r); return err })
	if err == nil && pl.staged[name] != "" {
		_ = pl.root.Remove(temp) // complete refuses the second file of a name
		return nil
	}
	if err == nil {
		pl.staged[name] = temp
	}
	return err
}

// dropStaged removes what was not put under its name: files that were there already, and all of them after a failure.
func (pl *puller) dropStaged() {
	for _, temp := range pl.staged {
		_ = pl.root.Remove(temp)
	}
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
