// Package strictjson reads JSON that strangers wrote, once and without a second opinion.
//
// Two JSON parsers that disagree about one text are a way past a signature: the
// verifier reads one value, the policy another. encoding/json takes the last of
// two equal keys and matches keys without regard to case; protojson takes
// snake_case beside camelCase. Check refuses every text on which parsers are known
// to differ, so that whatever is read afterwards has one meaning:
//
//   - duplicate keys (RFC 8259 section 4 leaves their meaning open), also when the
//     keys differ only by case, in any alphabet, or by underscores and hyphens;
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
	"strings"
	"unicode"
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
	// Names takes keys that differ only in spelling: for texts whose keys are the names of files. Then the caller holds the keys that it
	// knows to their spelling, with CheckKeys.
	Names bool
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
	if err := checkSyntax(data); err != nil {
		return err
	}
	return checkObjects(data, limits.Names)
}

// checkSyntax tells text behind the first value, which some parsers never look at, from broken text.
func checkSyntax(data []byte) error {
	if json.Valid(data) {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	var first json.RawMessage
	if err := dec.Decode(&first); err != nil {
		return fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return fmt.Errorf("%w: more data behind the first value", ErrAmbiguous)
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
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			i = StringEnd(data, i) - 1
		case '{', '[':
			if depth++; depth > max {
				return fmt.Errorf("%w: JSON nested deeper than %d", ErrLimit, max)
			}
		case '}', ']':
			depth--
		}
	}
	return nil
}

// checkSurrogates refuses \uD800 to \uDFFF escapes that are not a pair: encoding/json
// replaces them by U+FFFD, others keep them, so two different keys can become equal.
func checkSurrogates(data []byte) error {
	for i := 0; i+1 < len(data); i++ {
		skip := bytes.IndexByte(data[i:], '\\')
		if skip < 0 {
			return nil
		}
		if i += skip; i+1 == len(data) {
			return nil
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

// object is an open object or array while checkObjects runs.
type object struct {
	isArray bool
	names   bool              // only equal keys are twins
	keys    []spelling        // up to fewKeys of them
	more    map[string]string // folded to as it stands, from then on
}

// spelling is a key in both of its forms: to fold one is the most of the work.
type spelling struct{ folded, key string }

// fewKeys is up to how many keys are compared one by one, which is faster than a map.
const fewKeys = 8

// checkObjects refuses twin keys. It relies on data being valid JSON: brackets outside strings are
// structure, and in an object a string behind `{` or `,` is a key.
func checkObjects(data []byte, names bool) error {
	var stack []object
	keyNext := false
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{', '[':
			stack = push(stack, object{isArray: data[i] == '[', names: names})
			keyNext = data[i] == '{'
		case '}', ']':
			stack = stack[:len(stack)-1]
			keyNext = false
		case ',':
			keyNext = !stack[len(stack)-1].isArray
		case '"':
			end := StringEnd(data, i)
			if keyNext {
				if err := stack[len(stack)-1].add(data[i:end]); err != nil {
					return err
				}
				keyNext = false
			}
			i = end - 1
		}
	}
	return nil
}

// push opens an object or array. What stood at the same depth before lends it the memory of its keys.
func push(stack []object, o object) []object {
	if n := len(stack); n < cap(stack) {
		o.keys = stack[:n+1][n].keys[:0]
	}
	return append(stack, o)
}

// StringEnd is the index behind the JSON string that starts at data[start], its end where that is cut off.
func StringEnd(data []byte, start int) int {
	for i := start + 1; ; {
		n := bytes.IndexByte(data[i:], '"')
		if n < 0 {
			return len(data)
		}
		quote := i + n
		first := quote // of the backslashes before it: it is escaped by an odd number of them
		for first > i && data[first-1] == '\\' {
			first--
		}
		if i = quote + 1; (quote-first)%2 == 0 {
			return i
		}
	}
}

// add takes the quoted key and refuses it when a key of the object already reads alike.
func (o *object) add(quoted []byte) error {
	key := string(quoted[1 : len(quoted)-1])
	if bytes.IndexByte(quoted, '\\') >= 0 {
		if err := json.Unmarshal(quoted, &key); err != nil {
			return syntax(err)
		}
	}
	if strings.ContainsRune(key, 0) {
		return fmt.Errorf("%w: key %.100q holds NUL", ErrAmbiguous, key)
	}
	first, dup := o.find(key)
	switch {
	case dup && first == key:
		return fmt.Errorf("%w: duplicate key %.100q", ErrAmbiguous, key)
	case dup:
		return fmt.Errorf("%w: keys %.100q and %.100q differ only in spelling", ErrAmbiguous, first, key)
	}
	return nil
}

// find looks for a twin of key and adds it when there is none.
func (o *object) find(key string) (string, bool) {
	folded := key
	if !o.names {
		folded = Fold(key)
	}
	if o.more == nil && len(o.keys) < fewKeys {
		for _, k := range o.keys {
			if k.folded == folded {
				return k.key, true
			}
		}
		o.keys = append(o.keys, spelling{folded, key})
		return "", false
	}
	if o.more == nil {
		o.more = make(map[string]string, 2*fewKeys)
		for _, k := range o.keys {
			o.more[k.folded] = k.key
		}
	}
	if k, ok := o.more[folded]; ok {
		return k, true
	}
	o.more[folded] = key
	return "", false
}

func syntax(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrSyntax, err)
}

var separators = strings.NewReplacer("_", "", "-", "")

// Fold gives the form in which keys are compared for being twins: without case, underscores and hyphens.
// Letters are alike as in Unicode's simple folding, with which encoding/json compares keys: the long s is
// an s to it, and the Kelvin sign a k.
func Fold(key string) string {
	if strings.ContainsAny(key, "_-") {
		key = separators.Replace(key)
	}
	key = strings.ToLower(key)
	if strings.IndexFunc(key, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return key
	}
	return strings.Map(foldRune, key)
}

// foldRune gives the first of the letters that are r in another case, an ASCII one in lower case.
func foldRune(r rune) rune {
	first := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		first = min(first, other)
	}
	if first < utf8.RuneSelf {
		return unicode.ToLower(first)
	}
	return first
}

// CheckKeys refuses a key of the object data that is no key of known but is
// spelled like one (`predicate_type` for `predicateType`): encoding/json or protojson
// would take it for the known key. Other unknown keys pass. data is as for Object.
func CheckKeys(data []byte, known ...string) error {
	return NewKeys(known...).CheckAll(data)
}

// Keys are the keys that an object is read for.
type Keys struct{ folded map[string]string }

// NewKeys returns the keys, to which those of many objects can be held.
func NewKeys(known ...string) Keys {
	k := Keys{make(map[string]string, len(known))}
	for _, key := range known {
		k.folded[Fold(key)] = key
	}
	return k
}

// CheckAll is CheckKeys with keys that are folded already.
func (k Keys) CheckAll(data []byte) error {
	return Object(data, func(key string, _ []byte) error { return k.Check(key) })
}

// Check refuses a key that is none of these but is spelled like one. The error wraps ErrAmbiguous.
func (k Keys) Check(key string) error {
	if want, ok := k.folded[Fold(key)]; ok && want != key {
		return fmt.Errorf("%w: key %.100q stands where %q is meant", ErrAmbiguous, key, want)
	}
	return nil
}
