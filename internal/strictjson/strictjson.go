// Package strictjson reads JSON that strangers wrote, once and without a second opinion.
//
// Two JSON parsers that disagree about one text are a way past a signature: the
// verifier reads one value, the policy another. encoding/json takes the last of
// two equal keys and matches keys without regard to case; protojson takes
// snake_case beside camelCase. Check refuses every text on which parsers are known
// to differ, so that whatever is read afterwards has one meaning:
//
//   - duplicate keys (RFC 8259 section 4 leaves their meaning open), also when the
//     keys differ only by case or by underscores and hyphens;
//   - bytes that are not UTF-8, a byte order mark, unpaired surrogate escapes and
//     NUL in a key (RFC 8259 section 8.1, RFC 7493 section 2.1);
//   - anything behind the first value;
//   - texts that are larger or nested deeper than the caller's limits.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Errors that callers branch on; every error of this package wraps one of them.
var (
	// ErrSyntax says that the text is not JSON.
	ErrSyntax = errors.New("not valid JSON")
	// ErrAmbiguous says that parsers would disagree about the text.
	ErrAmbiguous = errors.New("ambiguous JSON")
	// ErrLimit says that the text exceeds a limit.
	ErrLimit = errors.New("limit exceeded")
)

// DefaultMaxDepth is the nesting that Limits allows when it names none.
const DefaultMaxDepth = 64

// Limits bounds what Check accepts. A zero MaxDepth means DefaultMaxDepth, a zero
// MaxBytes means no limit of this package's own.
type Limits struct {
	MaxBytes int
	MaxDepth int
}

// Check reports whether data is one JSON value that every parser reads alike.
// The error wraps ErrSyntax, ErrAmbiguous or ErrLimit and names the place.
func Check(data []byte, limits Limits) error {
	if limits.MaxBytes > 0 && len(data) > limits.MaxBytes {
		return fmt.Errorf("%w: %d bytes of JSON, at most %d are read", ErrLimit, len(data), limits.MaxBytes)
	}
	if limits.MaxDepth == 0 {
		limits.MaxDepth = DefaultMaxDepth
	}
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		return fmt.Errorf("%w: it starts with a byte order mark", ErrAmbiguous)
	}
	if !utf8.Valid(data) {
		return fmt.Errorf("%w: not UTF-8", ErrAmbiguous)
	}
	if err := checkDepth(data, limits.MaxDepth); err != nil {
		return err
	}
	if err := checkSurrogates(data); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := checkValue(dec, ""); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more data behind the first value", ErrAmbiguous)
	}
	return nil
}

// Unmarshal checks data and decodes it into v as encoding/json does, numbers in
// interfaces as json.Number. It takes keys that v does not know.
func Unmarshal(data []byte, v any, limits Limits) error {
	if err := Check(data, limits); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return nil
}

// checkDepth counts brackets outside strings before any recursive parser runs.
func checkDepth(data []byte, max int) error {
	depth, inString, escaped := 0, false, false
	for _, c := range data {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped = c == '\\'
			inString = c != '"'
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > max {
				return fmt.Errorf("%w: JSON nested deeper than %d", ErrLimit, max)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// checkSurrogates refuses \uD800 to \uDFFF escapes that are not a pair: encoding/json
// replaces them by U+FFFD, others keep them, so two different keys can become equal.
func checkSurrogates(data []byte) error {
	for i := 0; i+1 < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		if data[i+1] != 'u' {
			i++ // an escape of two bytes
			continue
		}
		r, ok := hex4(data, i+2)
		if !ok {
			return fmt.Errorf("%w: broken \\u escape at byte %d", ErrSyntax, i)
		}
		i += 5
		switch {
		case r >= 0xDC00 && r <= 0xDFFF:
			return fmt.Errorf("%w: unpaired surrogate escape", ErrAmbiguous)
		case r >= 0xD800 && r <= 0xDBFF:
			low, ok := uint32(0), false
			if i+2 < len(data) && data[i+1] == '\\' && data[i+2] == 'u' {
				low, ok = hex4(data, i+3)
			}
			if !ok || low < 0xDC00 || low > 0xDFFF {
				return fmt.Errorf("%w: unpaired surrogate escape", ErrAmbiguous)
			}
			i += 6
		}
	}
	return nil
}

func hex4(data []byte, at int) (uint32, bool) {
	if at+4 > len(data) {
		return 0, false
	}
	var r uint32
	for _, c := range data[at : at+4] {
		r <<= 4
		switch {
		case c >= '0' && c <= '9':
			r |= uint32(c - '0')
		case c >= 'a' && c <= 'f':
			r |= uint32(c-'a') + 10
		case c >= 'A' && c <= 'F':
			r |= uint32(c-'A') + 10
		default:
			return 0, false
		}
	}
	return r, true
}

func checkValue(dec *json.Decoder, path string) error {
	tok, err := dec.Token()
	if err != nil {
		return syntax(err)
	}
	switch tok {
	case json.Delim('{'):
		return checkObject(dec, path)
	case json.Delim('['):
		for i := 0; dec.More(); i++ {
			if err := checkValue(dec, path); err != nil {
				return err
			}
		}
		_, err := dec.Token()
		return syntax(err)
	}
	return nil
}

func checkObject(dec *json.Decoder, path string) error {
	seen := map[string]string{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return syntax(err)
		}
		key := tok.(string) // the decoder lets no other token stand here
		if strings.ContainsRune(key, 0) {
			return fmt.Errorf("%w: key %q%s holds NUL", ErrAmbiguous, key, in(path))
		}
		if first, dup := seen[Fold(key)]; dup {
			if first == key {
				return fmt.Errorf("%w: duplicate key %q%s", ErrAmbiguous, key, in(path))
			}
			return fmt.Errorf("%w: keys %q and %q%s differ only in spelling", ErrAmbiguous, first, key, in(path))
		}
		seen[Fold(key)] = key
		if err := checkValue(dec, path+"."+key); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return syntax(err)
}

func syntax(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrSyntax, err)
}

func in(path string) string {
	if path == "" {
		return ""
	}
	return " in " + strings.TrimPrefix(path, ".")
}

// Fold gives the form in which keys are compared for being twins: lower case,
// without underscores and hyphens.
func Fold(key string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' {
			return -1
		}
		return r
	}, strings.ToLower(key))
}

// CheckKeys refuses a key of the object data that is no key of known but is
// spelled like one (`predicate_type` for `predicateType`): encoding/json or protojson
// would take it for the known key. Other unknown keys pass.
func CheckKeys(data []byte, known ...string) error {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return syntax(err)
	}
	folded := map[string]string{}
	for _, k := range known {
		folded[Fold(k)] = k
	}
	for key := range object {
		if want, ok := folded[Fold(key)]; ok && want != key {
			return fmt.Errorf("%w: key %q stands where %q is meant", ErrAmbiguous, key, want)
		}
	}
	return nil
}
