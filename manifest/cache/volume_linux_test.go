package cache

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestVolumeOfXFS: two XFS file systems that are mounted on one device, one after the other, are not the same volume, and one that is mounted again is.
func TestVolumeOfXFS(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("NOT CHECKED: only root mounts file systems")
	}
	if _, err := exec.LookPath("mkfs.xfs"); err != nil {
		t.Skip("NOT CHECKED: there is no mkfs.xfs")
	}
	mount := t.TempDir()
	id := func(image string) [8]byte {
		t.Helper()
		if out, err := exec.Command("mount", "-o", "loop", image, mount).CombinedOutput(); err != nil {
			t.Skipf("NOT CHECKED: mount: %v: %s", err, out)
		}
		defer func() {
			if out, err := exec.Command("umount", mount).CombinedOutput(); err != nil {
				t.Errorf("umount: %v: %s", err, out)
			}
		}()
		id, ok := volumeOf(mount)
		if !ok {
			t.Fatal("XFS is not relied on")
		}
		return id
	}
	var images [2]string
	for i := range images {
		images[i] = filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(images[i], nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(images[i], 320<<20); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("mkfs.xfs", "-q", images[i]).CombinedOutput(); err != nil {
			t.Skipf("NOT CHECKED: mkfs.xfs: %v: %s", err, out)
		}
	}
	first, second, again := id(images[0]), id(images[1]), id(images[0])
	if first == second || first != again {
		t.Errorf("%x and %x are two file systems, %x is the first of them", first, second, again)
	}
}
