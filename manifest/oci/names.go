package oci

import (
	"fmt"
	"iter"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/mlseal/mlseal/manifest"
)

// parents yields the directories above name, the nearest first.
func parents(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for {
			i := strings.LastIndexByte(name, '/')
			if i < 0 || !yield(name[:i]) {
				return
			}
			name = name[:i]
		}
	}
}

// maxElementLength is the longest name of a file or directory, in bytes: NAME_MAX of Linux.
const maxElementLength = 255

// deviceNames are files that Windows takes for devices, in every directory and with every extension
// ("Naming Files, Paths, and Namespaces" in its documentation).
var deviceNames = func() map[string]bool {
	m := map[string]bool{"con": true, "prn": true, "aux": true, "nul": true, "conin$": true, "conout$": true}
	for _, n := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "¹", "²", "³"} {
		m["com"+n], m["lpt"+n] = true, true
	}
	return m
}()

// checkNames refuses a tree whose files could not all be written beside each other, or would be
// something else, on one of the systems that people unpack on: twins that differ only by case or by
// Unicode normalization (macOS, Windows), also of directories, device names of Windows, and names that are too long.
func checkNames(m *manifest.Manifest) error {
	spelling := map[string]string{}
	for _, f := range m.Files {
		if err := manifest.CheckName(f.Path); err != nil {
			return fmt.Errorf("oci: %w", err)
		}
		if err := checkSpelling(spelling, f.Path); err != nil {
			return err
		}
		for dir := range parents(f.Path) {
			if err := checkSpelling(spelling, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkSpelling(spelling map[string]string, name string) error {
	base := name[strings.LastIndexByte(name, '/')+1:]
	if len(base) > maxElementLength {
		return fmt.Errorf("oci: %q: %w: a name of %d bytes, at most %d", name, manifest.ErrName, len(base), maxElementLength)
	}
	stem, _, _ := strings.Cut(base, ".")
	if deviceNames[strings.ToLower(strings.TrimRight(stem, " "))] {
		return fmt.Errorf("oci: %q: %w: Windows takes %q for a device", name, manifest.ErrName, base)
	}
	folded := fold(name)
	if twin, ok := spelling[folded]; ok && twin != name {
		return fmt.Errorf("oci: %q and %q: %w: one file on some systems", twin, name, manifest.ErrName)
	}
	spelling[folded] = name
	return nil
}

// fold gives the form in which names are compared for being twins: Unicode's canonical caseless
// matching (Unicode 15, section 3.13, D145). Windows drops dots and blanks at the end of a name.
func fold(name string) string {
	elements := strings.Split(norm.NFC.String(cases.Fold().String(norm.NFD.String(name))), "/")
	for i, e := range elements {
		if trimmed := strings.TrimRight(e, ". "); trimmed != "" {
			elements[i] = trimmed
		}
	}
	return strings.Join(elements, "/")
}
