package manifest

import (
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// longFile is the size in bytes from which on the system is told how a file is read.
const longFile = 1 << 20

// adviseSequential has the kernel read farther ahead, so that a disk works while its earlier bytes are hashed.
func adviseSequential(f fs.File, size int64) {
	if file, ok := f.(*os.File); ok && size >= longFile {
		_ = unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_SEQUENTIAL) // advice
	}
}

// forgetter returns what has the kernel forget the pages of f from one offset to another, or nil when those between start and end are to stay:
// a good part of them was in memory before, so that somebody is using the file, or that cannot be known (before Linux 6.5).
func forgetter(f fs.File, start, end int64) func(from, to int64) {
	file, ok := f.(*os.File)
	if !ok || end-start < longFile {
		return nil
	}
	fd := int(file.Fd())
	if before, err := pagesInMemory(fd, start, end); err != nil || before*int64(os.Getpagesize()) > (end-start)/usedPart {
		return nil
	}
	return func(from, to int64) { _ = unix.Fadvise(fd, from, to-from, unix.FADV_DONTNEED) } // advice
}

// pagesInMemory counts the pages of a file that are in the page cache.
func pagesInMemory(fd int, start, end int64) (int64, error) {
	var found unix.Cachestat_t
	err := unix.Cachestat(uint(fd), &unix.CachestatRange{Off: uint64(start), Len: uint64(end - start)}, &found, 0)
	return int64(found.Cache), err
}

// machineMemory is how many bytes of memory this process can use, files in the page cache included; 0 when that is not known.
func machineMemory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	total := int64(info.Totalram) * int64(info.Unit) //nolint:unconvert // other widths on other processors
	text, _ := os.ReadFile("/proc/self/cgroup")
	for line := range strings.Lines(string(text)) {
		if limit := groupLimit("/sys/fs/cgroup", strings.TrimSpace(line)); limit > 0 {
			total = min(total, limit)
		}
	}
	return total
}

// groupLimit is the limit of the memory of a control group and of those above it, which a line of /proc/self/cgroup names; 0 for none.
func groupLimit(root, line string) int64 {
	_, rest, _ := strings.Cut(line, ":")
	controllers, group, _ := strings.Cut(rest, ":")
	dir, file := root, "memory.max" // version 2
	switch {
	case group == "":
		return 0
	case controllers == "memory":
		dir, file = path.Join(root, "memory"), "memory.limit_in_bytes"
	case controllers != "":
		return 0
	}
	var least int64
	for ; ; group = path.Dir(group) {
		text, _ := os.ReadFile(path.Join(dir, group, file))
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && n > 0 && (least == 0 || n < least) {
			least = n
		}
		if group == "/" || group == "." {
			return least
		}
	}
}
