package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	inmemory "oras.land/oras-go/v2/content/memory"

	"github.com/mlseal/mlseal/manifest"
)

// streaming is a target in memory that takes blobs before their digest is known.
type streaming struct {
	Target
	mu       sync.Mutex
	requests []string // what was asked for, without sizes
	write    func(n int) error
	commit   error
	reread   func(func(int64) (io.ReadCloser, error)) error
}

func newStreaming() *streaming { return &streaming{Target: inmemory.New()} }

func (s *streaming) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, fmt.Sprintf(format, args...))
}

// count is how often something was asked for.
func (s *streaming) count(prefix string) (n int) {
	for _, r := range s.requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

func (s *streaming) Exists(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	s.note("exists %s", desc.Digest)
	return s.Target.Exists(ctx, untyped(desc))
}

func (s *streaming) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	return s.Target.Fetch(ctx, untyped(desc))
}

// untyped is desc as a registry sees it, which knows no types of blobs.
func untyped(desc ocispec.Descriptor) ocispec.Descriptor {
	if isManifest(desc.MediaType) {
		return desc
	}
	return blobOf(manifest.File{Digest: desc.Digest, Size: desc.Size})
}

func (s *streaming) Push(ctx context.Context, desc ocispec.Descriptor, r io.Reader) error {
	s.note("push %s", desc.Digest)
	return s.Target.Push(ctx, untyped(desc), r)
}

func (s *streaming) startBlob(_ context.Context, size int64, reread func(int64) (io.ReadCloser, error)) (blobUpload, error) {
	s.note("start")
	if s.reread != nil {
		if err := s.reread(reread); err != nil {
			return nil, err
		}
	}
	return &streamedBlob{s: s, size: size}, nil
}

type streamedBlob struct {
	bytes.Buffer
	s    *streaming
	size int64
}

func (b *streamedBlob) Write(p []byte) (int, error) {
	if b.s.write != nil {
		if err := b.s.write(len(p)); err != nil {
			return 0, err
		}
	}
	return b.Buffer.Write(p)
}

func (b *streamedBlob) Commit(ctx context.Context, desc ocispec.Descriptor) error {
	b.s.note("commit %s", desc.Digest)
	if b.s.commit != nil {
		return b.s.commit
	}
	if desc.Size != b.size {
		return fmt.Errorf("%d bytes, announced were %d", desc.Size, b.size)
	}
	return b.s.Target.Push(ctx, desc, bytes.NewReader(b.Bytes()))
}

func (b *streamedBlob) Abort(ctx context.Context) {
	if ctx.Err() != nil {
		b.s.note("abort with a context that has ended")
	}
	b.s.note("abort")
}

// readFS counts the bytes that are read of files.
type readFS struct {
	fs.FS
	mu   sync.Mutex
	read map[string]int64
}

func counted(fsys fs.FS) *readFS { return &readFS{FS: fsys, read: map[string]int64{}} }

func (r *readFS) Open(name string) (fs.File, error) {
	f, err := r.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return f, err
	}
	return &readFile{f, r, name}, nil
}

type readFile struct {
	fs.File
	fsys *readFS
	name string
}

func (f *readFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	f.fsys.mu.Lock()
	defer f.fsys.mu.Unlock()
	f.fsys.read[f.name] += int64(n)
	return n, err
}

// big is larger than what is held in memory.
func big(s string) string { return strings.Repeat(s, 3*bufferedBlob/len(s)) }

var bigTree = map[string]string{"a.bin": big("a"), "twin.bin": big("a"), "b.bin": big("b"), "small.txt": "small", "same.txt": "small", "empty": ""}

func sizeOf(files map[string]string) (n int64) {
	for _, data := range files {
		n += int64(len(data))
	}
	return n
}

// A tree goes to every kind of target in one read, and the same bytes once.
func TestPackReadsOnce(t *testing.T) {
	for name, target := range map[string]Target{"a layout": newLayout(t), "a registry that takes streams": newStreaming()} {
		for round, want := range []int{1, 1} {
			fsys := counted(mapFS(bigTree))
			opts := PackOptions{Tag: "v1"}
			if round == 1 {
				opts.Build.Digests = digestsOf(build(t, mapFS(bigTree)))
				want = 0 // the target has all that is remembered
			}
			packed, err := Pack(t.Context(), target, fsys, opts)
			if err != nil {
				t.Fatal(err)
			}
			for file, n := range fsys.read {
				if n != int64(want*len(bigTree[file])) {
					t.Errorf("%s, round %d: %s: %d bytes read of %d", name, round, file, n, len(bigTree[file]))
				}
			}
			if packed.Tree.DirHash() != build(t, mapFS(bigTree)).DirHash() {
				t.Errorf("%s: another tree", name)
			}
			if r, err := VerifyContent(t.Context(), target, fetch(t, target, packed.Descriptor), ContentOptions{}); err != nil || r.Err() != nil {
				t.Errorf("%s: %v, %v", name, err, r.Err())
			}
		}
		if s, ok := target.(*streaming); ok {
			a, small := digest.FromString(bigTree["a.bin"]), digest.FromString("small")
			if s.count("start") != 3 || s.count("commit "+a.String()) != 1 || s.count("abort") != 1 || s.count("push "+small.String()) != 1 {
				t.Errorf("requests:\n%s", strings.Join(s.requests, "\n"))
			}
		}
	}
}

// A target that wants the digest first gets files that are read again, and nothing twice.
func TestPackReadsTwiceWithoutStreams(t *testing.T) {
	fsys := counted(mapFS(bigTree))
	if _, err := Pack(t.Context(), inmemory.New(), fsys, PackOptions{}); err != nil {
		t.Fatal(err)
	}
	var n int64
	for _, read := range fsys.read {
		n += read
	}
	if want := sizeOf(bigTree) + 2*int64(len(bigTree["a.bin"])); n != want { // both distinct large ones again
		t.Errorf("%d bytes read, want %d", n, want)
	}
}

// A second pack without remembered digests writes nothing into a layout: blobs of the same size are looked at first.
func TestPackAgainWritesNothing(t *testing.T) {
	l := newLayout(t)
	pack(t, l, bigTree, PackOptions{Tag: "v1"})
	before := map[string]fs.FileInfo{}
	entries, err := os.ReadDir(l.blobsDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if before[e.Name()], err = e.Info(); err != nil {
			t.Fatal(err)
		}
	}
	pack(t, l, bigTree, PackOptions{Tag: "v1"})
	for name, was := range before {
		if is, err := os.Lstat(filepath.Join(l.blobsDir(), name)); err != nil || !os.SameFile(was, is) || !was.ModTime().Equal(is.ModTime()) {
			t.Errorf("%s was written again", name)
		}
	}
	// Another file of the same size is not taken for the one that is there.
	if p := fetch(t, l, pack(t, l, map[string]string{"c.bin": big("c")}, PackOptions{})); p.Tree.Files[0].Digest != digest.FromString(big("c")) {
		t.Errorf("%v", p.Tree.Files)
	}
}

// An upload that fails, or whose file changes, is aborted, and nothing is visible.
func TestPackAbortsUploads(t *testing.T) {
	broken := fmt.Errorf("%w: the line is cut", ErrUnavailable)
	for name, tt := range map[string]struct {
		spoil func(s *streaming, file string, cancel func())
		want  error
	}{
		"the upload breaks off": {func(s *streaming, _ string, _ func()) { s.write = func(int) error { return broken } }, ErrUnavailable},
		"the upload is refused": {func(s *streaming, _ string, _ func()) { s.commit = broken }, ErrUnavailable},
		"the upload does not start": {func(s *streaming, _ string, _ func()) {
			s.reread = func(func(int64) (io.ReadCloser, error)) error { return broken }
		}, ErrUnavailable},
		"cancelled": {func(s *streaming, _ string, cancel func()) { s.write = func(int) error { cancel(); return nil } }, context.Canceled},
		"the file is edited": {func(s *streaming, file string, _ func()) {
			s.write = func(int) error { return os.WriteFile(file, []byte(big("y")), 0o644) }
		}, manifest.ErrChanged},
	} {
		dir := t.TempDir()
		writeTree(t, dir, map[string]string{"a.bin": big("x")})
		time.Sleep(15 * time.Millisecond) // so that an edit has another time
		ctx, cancel := context.WithCancel(t.Context())
		s := newStreaming()
		tt.spoil(s, filepath.Join(dir, "a.bin"), cancel)
		_, err := Pack(ctx, s, os.DirFS(dir), PackOptions{Tag: "v1"})
		cancel()
		if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), "a.bin") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.Resolve(t.Context(), "v1"); err == nil || s.count("abort with") > 0 || s.count("abort") != s.count("start")-boolInt(s.reread != nil) || s.count("push") > 0 {
			t.Errorf("%s: requests:\n%s", name, strings.Join(s.requests, "\n"))
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// An upload that goes on after a failure reads the file again from where it stands, unless that changed.
func TestUploadsRereadTheFile(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"a.bin": big("0123456789abcdef")})
	time.Sleep(15 * time.Millisecond)
	for _, fsys := range []fs.FS{os.DirFS(dir), counted(os.DirFS(dir))} { // with and without Seek
		s := newStreaming()
		s.reread = func(reread func(int64) (io.ReadCloser, error)) error {
			for _, offset := range []int64{0, 5, int64(len(big("0123456789abcdef")))} {
				r, err := reread(offset)
				if err != nil {
					return err
				}
				data, err := io.ReadAll(r)
				if err = errors.Join(err, r.Close()); err != nil || string(data) != big("0123456789abcdef")[offset:] {
					return fmt.Errorf("from %d: %d bytes, %w", offset, len(data), err)
				}
			}
			return nil
		}
		if _, err := Pack(t.Context(), s, fsys, PackOptions{}); err != nil {
			t.Error(err)
		}
	}
	s := newStreaming()
	s.reread = func(reread func(int64) (io.ReadCloser, error)) error {
		writeTree(t, dir, map[string]string{"a.bin": big("fedcba9876543210")})
		_, err := reread(1)
		return err
	}
	if _, err := Pack(t.Context(), s, os.DirFS(dir), PackOptions{}); !errors.Is(err, manifest.ErrChanged) {
		t.Errorf("a changed file was read again: %v", err)
	}
}

// A file that changes while it is copied into a layout fails, and leaves the layout as it was.
func TestPackNoticesChange(t *testing.T) {
	l := newLayout(t)
	pack(t, l, map[string]string{"old.txt": "old"}, PackOptions{Tag: "old"})
	before := tree(t, l.dir)
	dir := t.TempDir()
	writeTree(t, dir, map[string]string{"a.txt": "first", "z.bin": big("x")})
	time.Sleep(15 * time.Millisecond)
	var once sync.Once
	_, err := Pack(t.Context(), l, os.DirFS(dir), PackOptions{Tag: "new", Build: manifest.Options{Progress: func(n int) {
		if n > 5 {
			once.Do(func() { writeTree(t, dir, map[string]string{"z.bin": big("y")}) })
		}
	}}})
	if !errors.Is(err, manifest.ErrChanged) || !strings.Contains(err.Error(), "z.bin") {
		t.Errorf("%v", err)
	}
	if !maps.Equal(before, tree(t, l.dir)) {
		t.Errorf("the layout changed: %v", slices.Sorted(maps.Keys(tree(t, l.dir))))
	}
}

func TestReadyMayRefuse(t *testing.T) {
	onEveryTarget(t, func(t *testing.T, target Target) {
		refused := errors.New("no signature")
		_, err := Pack(t.Context(), target, mapFS(sampleTree), PackOptions{Tag: "v1", Ready: func(p *Packed) error {
			if p.Descriptor.Digest != samplePackage || len(p.Tree.Files) != len(sampleTree) {
				t.Errorf("%v", p)
			}
			if _, err := target.Resolve(t.Context(), "v1"); !errors.Is(err, ErrNotFound) {
				t.Errorf("visible already: %v", err)
			}
			return refused
		}})
		if !errors.Is(err, refused) {
			t.Error(err)
		}
		if _, err := target.Resolve(t.Context(), "v1"); !errors.Is(err, ErrNotFound) {
			t.Errorf("visible: %v", err)
		}
		if l, ok := target.(*Layout); ok {
			if entries, err := os.ReadDir(l.blobsDir()); err != nil || len(entries) > 0 {
				t.Errorf("left behind: %v, %v", entries, err)
			}
		}
	})
}

func TestPackManySmallFiles(t *testing.T) {
	files := map[string]string{}
	for i := range 5000 {
		files[fmt.Sprintf("d%02d/%04d.txt", i%50, i)] = fmt.Sprint("contents ", i/10) // each ten times
	}
	for name, target := range map[string]Target{"layout": newLayout(t), "streaming": newStreaming()} {
		p := fetch(t, target, pack(t, target, files, PackOptions{Tag: "v1"}))
		if p.Tree.DirHash() != build(t, mapFS(files)).DirHash() {
			t.Errorf("%s: another tree", name)
		}
		if s, ok := target.(*streaming); ok && s.count("push") != 500+2 {
			t.Errorf("%d pushes, want one for each of 500 contents, the config and the manifest", s.count("push"))
		}
	}
}

// The virtual store is the package that Pack writes, and serves nothing that changed.
func TestVirtual(t *testing.T) {
	dir := t.TempDir()
	writeTree(t, dir, sampleTree)
	time.Sleep(15 * time.Millisecond)
	fsys := counted(os.DirFS(dir))
	v, err := NewVirtual(t.Context(), fsys, PackOptions{Tag: "v1"})
	if err != nil || v.Packed().Descriptor.Digest != samplePackage {
		t.Fatalf("%v, %v", v, err)
	}
	for file, n := range fsys.read {
		if file == "README.md" && n != int64(len(sampleTree[file])) { // others have headers
			t.Errorf("%s: %d bytes read", file, n)
		}
	}
	onEveryTarget(t, func(t *testing.T, target Target) {
		desc, err := oras.Copy(t.Context(), v, "v1", target, "v2", oras.DefaultCopyOptions)
		if err != nil || desc.Digest != samplePackage {
			t.Fatalf("%v, %v", desc, err)
		}
		if r, err := VerifyContent(t.Context(), target, fetch(t, target, plain(desc)), ContentOptions{}); err != nil || r.Err() != nil {
			t.Errorf("%v, %v", err, r.Err())
		}
	})
	p := &Package{Manifest: ocispec.Manifest{Layers: layersOf(v.Packed().Tree, TypeModel), Config: v.img.configDesc}}
	if r, err := VerifyContent(t.Context(), v, p, ContentOptions{}); err != nil || r.Err() != nil {
		t.Errorf("%v, %v", err, r.Err())
	}
	if _, err := v.Fetch(t.Context(), blobOf(manifest.File{Digest: digest.FromString("other")})); !errors.Is(err, ErrNotFound) {
		t.Errorf("another blob: %v", err)
	}
	if _, err := v.Resolve(t.Context(), "v2"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another tag: %v", err)
	}
	writeTree(t, dir, map[string]string{"README.md": "# A mODEL\n"})
	readme := blobOf(manifest.File{Path: "README.md", Digest: digest.FromString(sampleTree["README.md"]), Size: int64(len(sampleTree["README.md"]))})
	if _, err := v.Fetch(t.Context(), readme); !errors.Is(err, manifest.ErrChanged) || !strings.Contains(err.Error(), "README.md") {
		t.Errorf("a changed file: %v", err)
	}
	// Where the file system tells no states apart, the digest does.
	held := mapFS(map[string]string{"a.txt": "hello"})
	if v, err = NewVirtual(t.Context(), held, PackOptions{}); err != nil {
		t.Fatal(err)
	}
	held["a.txt"].Data = []byte("HELLO")
	r, err := v.Fetch(t.Context(), blobOf(v.Packed().Tree.Files[0]))
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); !errors.Is(err, manifest.ErrChanged) {
		t.Errorf("%q, %v", data, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

// Links take no room; an edit of the file is found, and said to be one.
func TestPackLinks(t *testing.T) {
	dir, l := t.TempDir(), newLayout(t)
	files := map[string]string{"a.bin": big("a"), "twin.bin": big("a"), "b.txt": "b"}
	writeTree(t, dir, files)
	if err := os.Link(filepath.Join(dir, "a.bin"), filepath.Join(dir, "hard.bin")); err != nil { // a link to it changes the ctime of both
		t.Fatal(err)
	}
	for round := range 2 {
		packed, err := Pack(t.Context(), l, os.DirFS(dir), PackOptions{Tag: "v1", Link: true, Build: manifest.Options{Digests: digestsOf(build(t, os.DirFS(dir)))}})
		if err != nil {
			t.Fatal(err)
		}
		if r, err := VerifyContent(t.Context(), l, fetch(t, l, packed.Descriptor), ContentOptions{}); err != nil || r.Err() != nil {
			t.Errorf("round %d: %v, %v", round, err, r.Err())
		}
		file, err := os.Stat(filepath.Join(dir, "b.txt"))
		if err != nil {
			t.Fatal(err)
		}
		if blob, err := os.Stat(blobFile(t, l, digest.FromString("b"))); err != nil || !os.SameFile(file, blob) || blob.Mode() != file.Mode() {
			t.Errorf("round %d: not a link: %v", round, err)
		}
		noLeftovers(t, l.dir)
		if linked := l.Linked(fetch(t, l, packed.Descriptor)); !slices.Equal(linked, []string{"a.bin", "b.txt", "hard.bin", "twin.bin"}) {
			t.Errorf("linked %v", linked)
		}
	}
	desc, err := l.Resolve(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"B", "longer"} {
		size := len(data) != len("b")
		writeTree(t, dir, map[string]string{"b.txt": data})
		r, err := VerifyContent(t.Context(), l, fetch(t, l, plain(desc)), ContentOptions{})
		if err != nil || len(r.WrongSize) != boolInt(size) || len(r.Altered) != 1-boolInt(size) || !strings.Contains(r.Err().Error(), "hard link") {
			t.Errorf("%s: %v, %v", data, err, r.Err())
		}
	}
	// The next package mends the layout with its own contents, and leaves the file alone.
	pack(t, l, map[string]string{"b.txt": "b"}, PackOptions{Tag: "v2"})
	if r, err := VerifyContent(t.Context(), l, fetch(t, l, plain(desc)), ContentOptions{}); err != nil || r.Err() != nil {
		t.Errorf("%v, %v", err, r.Err())
	}
	if data, err := os.ReadFile(filepath.Join(dir, "b.txt")); err != nil || string(data) != "longer" {
		t.Errorf("%q, %v", data, err)
	}
}

func TestPackLinkFailures(t *testing.T) {
	dir, l := t.TempDir(), newLayout(t)
	writeTree(t, dir, map[string]string{"a.bin": "a", "b.bin": "b"})
	before := tree(t, l.dir)
	if _, err := Pack(t.Context(), inmemory.New(), os.DirFS(dir), PackOptions{Link: true}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("not a layout: %v", err)
	}
	if _, err := Pack(t.Context(), l, os.DirFS("/proc/self"), PackOptions{Link: true, Build: manifest.Options{File: "status"}}); err == nil {
		t.Error("a link out of /proc")
	}
	refused := errors.New("refused")
	if _, err := Pack(t.Context(), l, os.DirFS(dir), PackOptions{Link: true, Ready: func(*Packed) error { return refused }}); !errors.Is(err, refused) {
		t.Errorf("%v", err)
	}
	if after := tree(t, l.dir); !maps.Equal(before, withoutLock(after)) {
		t.Errorf("left behind: %v", slices.Sorted(maps.Keys(after)))
	}
	if data, err := os.ReadFile(filepath.Join(dir, "a.bin")); err != nil || string(data) != "a" {
		t.Errorf("the file itself: %q, %v", data, err)
	}
}

// A link has the age of the file, by which it would be what a killed process left.
func TestSweepLeavesLinks(t *testing.T) {
	dir := t.TempDir()
	long := time.Now().Add(-48 * time.Hour)
	for i := range 100 {
		name := filepath.Join(dir, fmt.Sprintf("%d.bin", i))
		if err := os.WriteFile(name, fmt.Append(nil, "weights ", i), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, long, long); err != nil {
			t.Fatal(err)
		}
	}
	l := newLayout(t)
	done := make(chan struct{})
	var sweeping sync.WaitGroup
	sweeping.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				l.removeLeftovers(time.Now().Add(-tempLifetime))
			}
		}
	})
	_, err := Pack(t.Context(), l, os.DirFS(dir), PackOptions{Link: true})
	close(done)
	sweeping.Wait()
	if err != nil {
		t.Error(err)
	}
}
