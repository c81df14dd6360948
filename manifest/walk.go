package manifest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"
)

// MaxFiles bounds how many files one tree may hold.
const MaxFiles = 10_000_000

// Errors that callers branch on.
var (
	ErrEmpty   = errors.New("no files")                      // the tree holds no file at all
	ErrSymlink = errors.New("symbolic link")                 // a link stands in the tree
	ErrSpecial = errors.New("not a regular file")            // a device, socket or pipe stands in the tree
	ErrChanged = errors.New("changed while it was read")     // a file is not what it was a moment ago
	ErrTooMany = errors.New("more files than can be listed") // MaxFiles is exceeded
)

// IsRefusal tells an error about what stands in the tree from one about reading it: a
// tree that is refused is not fit to be signed, wherever it is read.
func IsRefusal(err error) bool {
	for _, target := range []error{ErrName, ErrEmpty, ErrSymlink, ErrSpecial, ErrChanged, ErrTooMany} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// gitNames are the top-level names that OMS v1.0 leaves out of every tree
// (section 5.2: repository metadata at the model root).
var gitNames = []string{".git", ".gitattributes", ".github", ".gitignore"}

// GitNames returns the top-level names that a tree leaves out by default.
func GitNames() []string { return append([]string(nil), gitNames...) }

// entry is a file that belongs to the tree, not hashed yet.
type entry struct {
	path string
	info fs.FileInfo
}

// list walks fsys and returns the files of the tree and the paths that were left out, sorted.
func list(ctx context.Context, fsys fs.FS, opts Options) (files []entry, leftOut []string, err error) {
	if opts.File != "" {
		files, err = single(fsys, opts.File)
		return files, nil, err
	}
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if nameErr := CheckName(name); err != nil && name != "." && nameErr != nil {
			return fmt.Errorf("manifest: %w", nameErr)
		}
		if err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		if opts.leavesOut(name) {
			leftOut = append(leftOut, name)
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			if err := CheckName(name); err != nil {
				return fmt.Errorf("manifest: %w", err)
			}
			return nil
		}
		file, err := regular(name, d)
		if err != nil {
			return err
		}
		if len(files) == MaxFiles {
			return fmt.Errorf("manifest: %w: at most %d", ErrTooMany, MaxFiles)
		}
		files = append(files, file)
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if len(files) == 0 {
		return nil, nil, fmt.Errorf("manifest: %w in the tree", ErrEmpty)
	}
	sort.Slice(files, func(i, j int) bool { return files[i].path < files[j].path })
	sort.Strings(leftOut)
	return files, leftOut, nil
}

// single is the tree of one file.
func single(fsys fs.FS, name string) ([]entry, error) {
	info, err := lstat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	file, err := regular(name, fs.FileInfoToDirEntry(info))
	if err != nil {
		return nil, err
	}
	return []entry{file}, nil
}

func regular(name string, d fs.DirEntry) (entry, error) {
	if err := CheckName(name); err != nil {
		return entry{}, fmt.Errorf("manifest: %w", err)
	}
	if d.Type()&fs.ModeSymlink != 0 {
		// OMS v1.0 section 5.3: symbolic links are refused unless they were asked for.
		return entry{}, fmt.Errorf("manifest: %s: %w: a tree holds files, not links to them", name, ErrSymlink)
	}
	if !d.Type().IsRegular() {
		return entry{}, fmt.Errorf("manifest: %s: %w (%s)", name, ErrSpecial, d.Type())
	}
	info, err := d.Info()
	if err != nil {
		return entry{}, fmt.Errorf("manifest: %w", err)
	}
	return entry{name, info}, nil
}

// lstat does not follow a link where the file system can tell one.
func lstat(fsys fs.FS, name string) (fs.FileInfo, error) {
	if l, ok := fsys.(fs.ReadLinkFS); ok {
		return l.Lstat(name)
	}
	return fs.Stat(fsys, name)
}

// leavesOut reports whether name, or a directory above it, is not part of the tree.
func (o Options) leavesOut(name string) bool {
	if !o.IncludeGit {
		top, _, _ := strings.Cut(name, "/")
		for _, g := range gitNames {
			if top == g {
				return true
			}
		}
	}
	for _, ignored := range o.Ignore {
		// OMS v1.0 section 5.2: an ignored path leaves out that path and all below it.
		ignored = path.Clean(ignored)
		if name == ignored || strings.HasPrefix(name, ignored+"/") {
			return true
		}
	}
	return false
}
