package manifest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/opencontainers/go-digest"
)

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func rootFS(t *testing.T, dir string) fs.FS {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root.FS()
}

func build(t *testing.T, fsys fs.FS, opts Options) *Manifest {
	t.Helper()
	m, err := Build(context.Background(), fsys, opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var sample = map[string]string{
	"config.json": "{}", "model.safetensors": "weights", "empty": "", ".hidden": "dot",
	"model/layer 1.bin": "a", "model/ü.bin": "b", "a.b/c": "sorts before a/", "a/c": "sorts after a.b/",
}

// TestDirHashIsWhatThePipelineGives runs the command of in-toto's DigestSet specification.
func TestDirHashIsWhatThePipelineGives(t *testing.T) {
	for _, tool := range []string{"find", "sha256sum", "xargs", "cut", "sort"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s on this machine", tool)
		}
	}
	dir := t.TempDir()
	// xargs without -0 splits at white space and quotes, so the pipeline is only good for plain names.
	files := map[string]string{}
	for name, text := range sample {
		files[strings.ReplaceAll(name, " ", "_")] = text
	}
	write(t, dir, files)
	cmd := exec.Command("sh", "-c", "find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum | cut -f1 -d' '")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := build(t, rootFS(t, dir), Options{}).DirHash(), strings.TrimSpace(string(out)); got != want {
		t.Errorf("DirHash is %s, the pipeline gives %s", got, want)
	}
}

// TestDirHashOfTheSpecification has the example of DigestSet v1.1, whose module is on the Go checksum database.
func TestDirHashOfTheSpecification(t *testing.T) {
	m, err := New([]File{
		{Path: "github.com/marklodato/go-hello-world@v0.0.1/main.go", Digest: "sha256:ddc4da627d9a9f45fb29641a1b185d6f53287ecfd921aacbf4fe54b7a86fe8d1"},
		{Path: "github.com/marklodato/go-hello-world@v0.0.1/README.md", Digest: "sha256:3a137eef6458bfb76bb2c63fc29ffc7166604d2d2e09ed9d8250a534122a8364"},
		{Path: "github.com/marklodato/go-hello-world@v0.0.1/go.mod", Digest: "sha256:28e7c942a036902d981759d0bf5704d2bfc7cb500caf68b84711b234af01c6a5"},
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString("Khu2En+0gcYPZ2kuIihfswbzxv/mIHXgzPZ018Oty48=")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.DirHash(), hex.EncodeToString(raw); got != want {
		t.Errorf("DirHash is %s, want %s", got, want)
	}
}

func TestBuildListsAndSorts(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, sample)
	write(t, dir, map[string]string{".git/HEAD": "x", ".gitignore": "x", ".gitattributes": "x", ".github/w.yml": "x", "sub/.git/HEAD": "counts", "model.sig": "x"})
	m := build(t, rootFS(t, dir), Options{Ignore: []string{"model.sig"}})
	var names []string
	for _, f := range m.Files {
		names = append(names, f.Path)
	}
	want := ".hidden a.b/c a/c config.json empty model.safetensors model/layer 1.bin model/ü.bin sub/.git/HEAD"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("files are\n%s, want\n%s", got, want)
	}
	if got := strings.Join(m.LeftOut, " "); got != ".git .gitattributes .github .gitignore model.sig" {
		t.Errorf("left out: %s", got)
	}
	var sums bytes.Buffer
	if err := m.WriteSums(&sums); err != nil {
		t.Fatal(err)
	}
	if got := digest.FromBytes(sums.Bytes()).Encoded(); got != m.DirHash() {
		t.Errorf("WriteSums hashes to %s, DirHash is %s", got, m.DirHash())
	}
	if with := build(t, rootFS(t, dir), Options{IncludeGit: true}); len(with.Files) != len(m.Files)+5 {
		t.Errorf("%d files with git's, want %d", len(with.Files), len(m.Files)+5)
	}
}

func TestSingleFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, sample)
	m := build(t, rootFS(t, dir), Options{File: "config.json"})
	if len(m.Files) != 1 || m.Files[0].Path != "config.json" || m.Size() != 2 {
		t.Errorf("files are %v", m.Files)
	}
}

// TestRootBindsNoNames is why the OMS root is not an identity: a renamed file changes only the dirHash.
func TestRootBindsNoNames(t *testing.T) {
	one := build(t, fstest.MapFS{"notes.txt": {Data: []byte("x")}}, Options{})
	two := build(t, fstest.MapFS{"modeling_x.py": {Data: []byte("x")}}, Options{})
	if one.OMSRoot() != two.OMSRoot() {
		t.Error("the OMS root changed with a name")
	}
	if one.DirHash() == two.DirHash() {
		t.Error("the dirHash did not change with a name")
	}
}

func TestBuildRefuses(t *testing.T) {
	link := t.TempDir()
	write(t, link, map[string]string{"a": "x"})
	if err := os.Symlink("a", filepath.Join(link, "b")); err != nil {
		t.Fatal(err)
	}
	onDisk := func(name string) fs.FS {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Skip(err)
		}
		return rootFS(t, dir)
	}
	badDir := t.TempDir()
	write(t, badDir, map[string]string{"d\xff/f": "x"})
	for name, tc := range map[string]struct {
		fsys fs.FS
		want error
	}{
		"empty directory":       {fstest.MapFS{}, ErrEmpty},
		"only git's":            {fstest.MapFS{".git/HEAD": {Data: []byte("x")}}, ErrEmpty},
		"symbolic link":         {rootFS(t, link), ErrSymlink},
		"name not UTF-8":        {onDisk("a\xff"), ErrName},
		"directory not UTF-8":   {rootFS(t, badDir), ErrName},
		"name with newline":     {onDisk("a\nb"), ErrName},
		"name with escape":      {onDisk("a\x1b[31m"), ErrName},
		"name with bidi":        {onDisk("a\u202egnp.exe"), ErrName},
		"name with a backslash": {onDisk(`a\b`), ErrName},
	} {
		_, err := Build(context.Background(), tc.fsys, Options{})
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: error is %v, want %v", name, err, tc.want)
		}
		if err != nil && !IsRefusal(err) {
			t.Errorf("%s: %v is no refusal", name, err)
		}
	}
}

// TestIgnoredPathsAreWholeElements: an ignored path leaves out itself and what is below it, not what begins like it.
func TestIgnoredPathsAreWholeElements(t *testing.T) {
	fsys := fstest.MapFS{"cache/a": {}, "cache2/evil.py": {}, "cache.py": {}, "sub/cache/a": {}, ".gitx/evil.py": {}, ".github2": {}}
	m := build(t, fsys, Options{Ignore: []string{"cache"}})
	var names []string
	for _, f := range m.Files {
		names = append(names, f.Path)
	}
	if got := strings.Join(names, " "); got != ".github2 .gitx/evil.py cache.py cache2/evil.py sub/cache/a" {
		t.Errorf("files are %s", got)
	}
}

// TestPathSet holds the set to its definition, with names that sort around a slash.
func TestPathSet(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	parts := []string{"a", "b", "a-b", "a.b", "ab", "a b", "\xff", "é"}
	random := func() string {
		names := make([]string, 1+rng.IntN(4))
		for i := range names {
			names[i] = parts[rng.IntN(len(parts))]
		}
		return strings.Join(names, "/")
	}
	for range 2000 {
		list := make([]string, rng.IntN(12))
		for i := range list {
			list[i] = random()
		}
		set := NewPathSet(list)
		for range 20 {
			name := random()
			want := slices.ContainsFunc(list, func(p string) bool { return name == p || strings.HasPrefix(name, p+"/") })
			if got := set.Covers(name); got != want {
				t.Fatalf("%q covers %q: %t", list, name, got)
			}
		}
	}
	if set := NewPathSet([]string{"./a/../b/", "c"}); !set.Covers("b/x") || set.Covers("a") || set.Covers(".") || set.Covers("") {
		t.Errorf("%+v", set)
	}
	// A name without end, such as a stranger may write, takes no time that grows with its square.
	slashes := strings.Repeat("/", 10<<20)
	if NewPathSet(strings.Split("1 2 3 4 5 6 7 8 9 10", " ")).Covers(slashes) {
		t.Error("slashes are covered")
	}
}

// TestSingleFileThatIsALink: a link is refused when it is the tree itself, too.
func TestSingleFileThatIsALink(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "x"})
	if err := os.Symlink("a", filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(context.Background(), rootFS(t, dir), Options{File: "b"}); !errors.Is(err, ErrSymlink) {
		t.Errorf("error is %v", err)
	}
	if _, err := Build(context.Background(), rootFS(t, dir), Options{File: "c"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// growing is a file system whose files are larger when they are read than they said.
type growing struct{ fstest.MapFS }

type grownFile struct {
	fs.File
	extra io.Reader
}

func (g growing) Open(name string) (fs.File, error) {
	f, err := g.MapFS.Open(name)
	if err != nil || name == "." {
		return f, err
	}
	return grownFile{f, strings.NewReader("more")}, nil
}

func (f grownFile) Read(p []byte) (int, error) {
	n, err := f.File.Read(p)
	if err == io.EOF {
		return f.extra.Read(p)
	}
	return n, err
}

// TestFileThatIsNotItsSize: without the kernel's change time the number of bytes alone tells.
func TestFileThatIsNotItsSize(t *testing.T) {
	if _, err := Build(context.Background(), growing{fstest.MapFS{"a": {Data: []byte("x")}}}, Options{}); !errors.Is(err, ErrChanged) {
		t.Errorf("error is %v", err)
	}
}

// unreadable is a file system on which one file cannot be opened.
type unreadable struct{ fstest.MapFS }

func (u unreadable) Open(name string) (fs.File, error) {
	if name == "secret" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return u.MapFS.Open(name)
}

func TestUnreadableFileIsNamed(t *testing.T) {
	_, err := Build(context.Background(), unreadable{fstest.MapFS{"a": {}, "secret": {}}}, Options{})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "secret") || IsRefusal(err) {
		t.Errorf("error is %v", err)
	}
}

// TestFileThatChangesWhileItIsHashed writes to a file from the progress callback: the bytes that were hashed never
// were the file.
func TestFileThatChangesWhileItIsHashed(t *testing.T) {
	big := strings.Repeat("x", 3*readBuffer)
	for name, change := range map[string]func(path string) error{
		"same size": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte("y"), 0)
			return err
		},
		"grows": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteString("more")
			return err
		},
		"shrinks": func(path string) error { return os.Truncate(path, 10) },
		"is replaced": func(path string) error {
			if err := os.WriteFile(path+".new", []byte(big), 0o644); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
		"same size, time set back": func(path string) error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			if err := os.WriteFile(path, []byte(strings.Repeat("y", len(big))), 0o644); err != nil {
				return err
			}
			return os.Chtimes(path, info.ModTime(), info.ModTime())
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, map[string]string{"weights": big})
			path := filepath.Join(dir, "weights")
			past := time.Now().Add(-time.Hour)
			if err := os.Chtimes(path, past, past); err != nil {
				t.Fatal(err)
			}
			done := false
			_, err := Build(context.Background(), rootFS(t, dir), Options{Progress: func(int) {
				if !done {
					done = true
					if err := change(path); err != nil {
						t.Error(err)
					}
				}
			}})
			if !errors.Is(err, ErrChanged) {
				t.Errorf("error is %v, want ErrChanged", err)
			}
		})
	}
}

func TestBuildIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Build(ctx, fstest.MapFS{"a": {}}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

func TestCompareNamesEachFile(t *testing.T) {
	signed := build(t, fstest.MapFS{"same": {Data: []byte("1")}, "changed": {Data: []byte("1")}, "missing": {Data: []byte("1")}}, Options{})
	d, err := signed.Compare(context.Background(), fstest.MapFS{"same": {Data: []byte("1")}, "changed": {Data: []byte("2")}, "extra": {Data: []byte("1")}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Changed) != 1 || d.Changed[0].Path != "changed" || fmt.Sprint(d.Missing, d.Extra) != "[missing] [extra]" {
		t.Errorf("diff is %+v", d)
	}
	if !errors.Is(d.Err(), ErrMismatch) {
		t.Errorf("Err is %v", d.Err())
	}
	if same := signed.Diff(signed); same.Err() != nil || !same.Equal() {
		t.Errorf("a tree differs from itself: %v", same.Err())
	}
}

func TestNewRefuses(t *testing.T) {
	good := digest.FromString("x")
	for name, files := range map[string][]File{
		"twice":     {{Path: "a", Digest: good}, {Path: "a", Digest: good}},
		"parent":    {{Path: "../a", Digest: good}},
		"absolute":  {{Path: "/a", Digest: good}},
		"not clean": {{Path: "a//b", Digest: good}},
		"dot":       {{Path: "./a", Digest: good}},
		"sha512":    {{Path: "a", Digest: digest.Digest("sha512:" + strings.Repeat("0", 128))}},
		"no digest": {{Path: "a"}},
	} {
		if _, err := New(files); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzCheckName(f *testing.F) {
	for _, s := range []string{"a", "a/b", "../a", "/a", `a\b`, "a\x00", "ü", "", ".", "..", "a/../b", "a/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) != nil {
			return
		}
		if !fs.ValidPath(name) || !filepath.IsLocal(name) || strings.ContainsAny(name, "\\\x00\n\r") {
			t.Errorf("%q passes", name)
		}
	})
}

func ExampleBuild() {
	tree := fstest.MapFS{"config.json": {Data: []byte("{}\n")}, "model.safetensors": {Data: []byte("weights\n")}}
	m, err := Build(context.Background(), tree, Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(m.Files), "files, dirHash", m.DirHash())
	// Output: 2 files, dirHash d57aff149b8b59723b5974d27dc86db3478f3c9a59da41687f2fdcd6c8e60b49
}

func BenchmarkBuild(b *testing.B) {
	dir := b.TempDir()
	const files, size = 16, 8 << 20
	for i := range files {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), bytes.Repeat([]byte{byte(i)}, size), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	b.SetBytes(files * size)
	for b.Loop() {
		if _, err := Build(context.Background(), root.FS(), Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTree hashes the tree at MLSEAL_BENCH_TREE, for profiles of what a real one costs (.ci/bench-hashing).
func BenchmarkTree(b *testing.B) {
	dir := os.Getenv("MLSEAL_BENCH_TREE")
	if dir == "" {
		b.Skip("MLSEAL_BENCH_TREE names no tree")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	b.ReportAllocs()
	for b.Loop() {
		total := func(bytes int64) { b.SetBytes(bytes) }
		if _, err := Build(context.Background(), root.FS(), Options{Total: total}); err != nil {
			b.Fatal(err)
		}
	}
}

var _ io.Reader = (*StableFile)(nil)
