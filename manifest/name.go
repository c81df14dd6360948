package manifest

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxNameLength is the longest path that a tree may hold, in bytes: PATH_MAX of Linux.
const MaxNameLength = 4096

// ErrName is wrapped by every refusal of a file name.
var ErrName = errors.New("file name cannot be signed")

// CheckName reports why name cannot be the path of a file in a tree: it is empty, absolute,
// not in its shortest form, too long, not UTF-8, or holds a `..` element, a backslash, a control
// or bidirectional format character. Such a name would be another one on another machine or screen.
func CheckName(name string) error {
	switch {
	case name == "" || name == ".":
		return fmt.Errorf("%w: it is empty", ErrName)
	case len(name) > MaxNameLength:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrName, len(name), MaxNameLength)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: %q is not UTF-8", ErrName, name)
	case strings.Contains(name, `\`):
		return fmt.Errorf("%w: %q holds a backslash", ErrName, name)
	case strings.HasPrefix(name, "/"):
		return fmt.Errorf("%w: %q is absolute", ErrName, name)
	case path.Clean(name) != name || name == ".." || strings.HasPrefix(name, "../"):
		return fmt.Errorf("%w: %q is not a plain relative path", ErrName, name)
	}
	for _, r := range name {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' {
			return fmt.Errorf("%w: %q holds a control character", ErrName, name)
		}
	}
	return nil
}
