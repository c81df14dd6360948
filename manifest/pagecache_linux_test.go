package manifest

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPassBy: a file that was not in memory is not there afterwards either, and one that was stays.
func TestPassBy(t *testing.T) {
	const size = 3*passingBytes + 12345
	dir := t.TempDir()
	name := filepath.Join(dir, "weights")
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	fd := int(f.Fd())
	inMemory := func() int64 {
		t.Helper()
		n, err := pagesInMemory(fd, 0, size)
		if err != nil {
			t.Skip("the kernel does not tell what is in memory:", err)
		}
		return n * int64(os.Getpagesize())
	}
	read := func(passBy bool) {
		t.Helper()
		file, err := OpenStable(os.DirFS(dir), "weights", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		if passBy {
			file.passBy(0, size)
		}
		if n, err := io.Copy(io.Discard, file); n != size || err != nil {
			t.Fatal(n, err)
		}
		if err := file.Unchanged(); err != nil {
			t.Error(err)
		}
	}
	forget := func() bool {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		return inMemory() == 0
	}
	if !forget() {
		t.Skip("the file system keeps its files in memory")
	}
	read(true)
	if n := inMemory(); n > size/usedPart {
		t.Errorf("%d of %d bytes are in memory after a file passed by", n, size)
	}
	forget()
	read(false)
	if n := inMemory(); n < size {
		t.Errorf("%d of %d bytes are in memory after a usual reading", n, size)
	}
	read(true)
	if n := inMemory(); n < size {
		t.Errorf("%d of %d bytes are in memory, where all were before", n, size)
	}
}

func TestMachineMemory(t *testing.T) {
	if n := machineMemory(); n < 1<<20 {
		t.Errorf("%d bytes of memory", n)
	}
	if passes(1 << 20) {
		t.Error("a megabyte is a large tree")
	}
	if !passes(1 << 60) {
		t.Error("an exabyte is a small tree")
	}
}

func TestGroupLimit(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"memory.max": "max\n", "a/memory.max": "4096000\n", "a/b/memory.max": "8192000\n", "c/memory.max": "junk",
		"memory/memory.limit_in_bytes": "9223372036854771712\n", "memory/job/memory.limit_in_bytes": "1024000\n",
	} {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), fs.FileMode(0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for line, want := range map[string]int64{
		"0::/a/b": 4096000, "0::/a": 4096000, "0::/": 0, "0::/c": 0, "0::/gone/away": 0, "4:memory:/job/inner": 1024000, "4:cpu:/job": 0, "": 0, "junk": 0, "0::": 0, "1:memory:": 0,
	} {
		if got := groupLimit(root, line); got != want {
			t.Errorf("%q: %d, want %d", line, got, want)
		}
	}
}
