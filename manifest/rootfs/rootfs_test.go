package rootfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/mlseal/mlseal/internal/filestate"
)

func newTree(t *testing.T) (*os.Root, FS) {
	t.Helper()
	outside := t.TempDir()
	dir := filepath.Join(outside, "tree")
	for name, content := range map[string]string{"a": "1", "sub/b": "22", "sub/deep/er/c": "333", "sub/ü": "", "../secret": "no"} {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	if runtime.GOOS != "windows" {
		for name, to := range map[string]string{
			"inside": "sub/b", "folder": "sub", "sub/up": "../a", "out": "../secret", "outdir": "..", "absolute": filepath.Join(outside, "secret"), "circle": "circle", "nowhere": "gone",
		} {
			if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Join(dir, "a"), 0o755|fs.ModeSetuid); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	fsys := New(root)
	t.Cleanup(func() {
		if err := errors.Join(fsys.Close(), root.Close()); err != nil {
			t.Error(err)
		}
	})
	return root, fsys
}

// names are asked of both file systems.
var names = []string{
	".", "a", "sub", "sub/b", "sub/deep/er/c", "sub/ü", "inside", "folder", "folder/b", "folder/up", "sub/up", "out", "outdir", "outdir/secret", "absolute", "circle", "nowhere",
	"gone", "a/b", "", "/", "/etc/passwd", "..", "../secret", "sub/../a", "a/", "sub//b", "./a", "\x00", "sub/\x00",
}

// TestAsRoot: all that is told is what os.Root tells, the errors too.
func TestAsRoot(t *testing.T) {
	root, fsys := newTree(t)
	want := root.FS()
	for _, name := range names {
		for what, read := range map[string]func(fs.FS, string) ([]byte, error){"ReadFile": fs.ReadFile, "Open": read} {
			ours, err := read(fsys, name)
			theirs, werr := read(want, name)
			if string(ours) != string(theirs) || message(err) != message(werr) {
				t.Errorf("%s %q: %q, %v; os.Root: %q, %v", what, name, ours, err, theirs, werr)
			}
		}
		for what, stat := range map[string]func(fs.FS, string) (fs.FileInfo, error){"Stat": fs.Stat, "Lstat": fs.Lstat} {
			ours, err := stat(fsys, name)
			theirs, werr := stat(want, name)
			compare(t, what+" "+name, ours, err, theirs, werr)
		}
		compareDirs(t, fsys, want, name)
		ourLink, err := fs.ReadLink(fsys, name)
		theirLink, werr := fs.ReadLink(want, name)
		if ourLink != theirLink || message(err) != message(werr) {
			t.Errorf("ReadLink %q: %q, %v; os.Root: %q, %v", name, ourLink, err, theirLink, werr)
		}
	}
}

func read(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(f)
}

func compareDirs(t *testing.T, fsys, want fs.FS, name string) {
	t.Helper()
	ours, err := fs.ReadDir(fsys, name)
	theirs, werr := fs.ReadDir(want, name)
	if len(ours) != len(theirs) || message(err) != message(werr) {
		t.Errorf("ReadDir %q: %v, %v; os.Root: %v, %v", name, ours, err, theirs, werr)
		return
	}
	for i := range ours {
		our, err := ours[i].Info()
		their, werr := theirs[i].Info()
		compare(t, "ReadDir "+name, our, err, their, werr)
		if ours[i].Type() != theirs[i].Type() || ours[i].IsDir() != theirs[i].IsDir() || ours[i].Name() != theirs[i].Name() {
			t.Errorf("ReadDir %q: %v; os.Root: %v", name, ours[i], theirs[i])
		}
	}
}

func compare(t *testing.T, what string, ours fs.FileInfo, err error, theirs fs.FileInfo, werr error) {
	t.Helper()
	if message(err) != message(werr) {
		t.Errorf("%s: %v; os.Root: %v", what, err, werr)
	}
	if err != nil || werr != nil {
		return
	}
	our, known := filestate.Of(ours)
	their, wknown := filestate.Of(theirs)
	if ours.Name() != theirs.Name() || ours.Size() != theirs.Size() || ours.Mode() != theirs.Mode() || !ours.ModTime().Equal(theirs.ModTime()) || ours.IsDir() != theirs.IsDir() ||
		our != their || known != wknown || filestate.Links(ours) != filestate.Links(theirs) || filestate.IsMine(ours) != filestate.IsMine(theirs) || !filestate.Same(ours, theirs) {
		t.Errorf("%s: %v; os.Root: %v", what, ours, theirs)
	}
}

// message is the error without the names of system calls, which differ.
func message(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestFS(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, fstest.MapFS{"a": {Data: []byte("1")}, "b/c": {Data: []byte("2")}, "b/d/e": {}}); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	fsys := New(root)
	defer func() { _ = fsys.Close() }()
	if err := fstest.TestFS(fsys, "a", "b/c", "b/d/e"); err != nil {
		t.Error(err)
	}
	if runtime.GOOS == "linux" && reflect.TypeOf(fsys) == reflect.TypeOf(plain{}) {
		t.Log("the kernel has no openat2")
	}
}

// TestRenamedFolder: a folder that is exchanged for a link while files are opened leads nowhere.
func TestRenamedFolder(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("links need a privilege")
	}
	root, fsys := newTree(t)
	dir := root.Name()
	if err := os.WriteFile(filepath.Join(filepath.Dir(dir), "b"), []byte("no"), 0o600); err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Rename(filepath.Join(dir, "sub"), filepath.Join(dir, "sub2"))
			_ = os.Symlink("..", filepath.Join(dir, "sub"))
			_ = os.Remove(filepath.Join(dir, "sub"))
			_ = os.Rename(filepath.Join(dir, "sub2"), filepath.Join(dir, "sub"))
		}
	}()
	for range 20_000 {
		if data, err := read(fsys, "sub/b"); err == nil && string(data) != "22" {
			t.Errorf("read %q from outside", data)
			break
		}
	}
	close(stop)
	<-stopped
}
