package strictyaml

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
)

// Fields is a mapping whose keys are all known.
type Fields struct {
	Node *Node
	What string // what the mapping describes, for messages
	At   map[string]*Node
}

// Mapping reads n as a mapping with known keys only. A key that nobody reads is a rule that
// nobody applies, so it is an error rather than a comment.
func (r *Reader) Mapping(n *Node, what string, known ...string) Fields {
	f := Fields{Node: n, What: what, At: map[string]*Node{}}
	if n.Kind != yaml.MappingNode {
		r.Failf(n, "%s must be a mapping, not %s", what, KindOf(n))
		return f
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || !slices.Contains(known, key.Value) {
			r.Failf(key, "unknown key %q in %s%s; known keys: %s",
				key.Value, what, Suggest(key.Value, known), strings.Join(known, ", "))
			return f
		}
		f.At[key.Value] = n.Content[i+1]
	}
	return f
}

// Need returns the value of a key that must be there; without it nil, and the load fails.
func (r *Reader) Need(f Fields, key string) *Node {
	n := f.At[key]
	if n == nil {
		r.Failf(f.Node, "%s has no %s", f.What, key)
	}
	return n
}

// Str reads a string that says something. A missing key (nil) reads as "".
func (r *Reader) Str(n *Node, what string) string {
	switch {
	case n == nil:
		return ""
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str":
		r.Failf(n, "%s must be a string, not %s%s", what, KindOf(n), QuoteHint(n))
	case strings.TrimSpace(n.Value) == "":
		r.Failf(n, "%s is empty", what)
	default:
		return n.Value
	}
	return ""
}

// PlainInteger is an integer that all readers read alike.
var PlainInteger = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(0|-?[1-9][0-9]{0,8})$`) })

// Integer reads a decimal integer from min up.
func (r *Reader) Integer(n *Node, what string, min int) int {
	if n == nil {
		return 0
	}
	// 0x10, 1_000 and 010 are integers to some YAML readers only.
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || !PlainInteger().MatchString(n.Value) {
		r.Failf(n, "%s must be a decimal integer, not %s", what, KindOf(n))
		return 0
	}
	i, err := strconv.Atoi(n.Value)
	if err != nil || i < min {
		r.Failf(n, "%s is %s; it must be at least %d", what, n.Value, min)
	}
	return i
}

// Yes reads a switch that can only be thrown: to say no, it is left out. A missing key (nil) reads as false.
func (r *Reader) Yes(n *Node, what string) bool {
	if n == nil {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Value != "true" {
		r.Failf(n, "%s can only be true, not %s; leave it out otherwise", what, KindOf(n))
	}
	return !r.failed
}

// List reads a sequence. An empty one is an error everywhere in the language: a list of
// nothing to check would pass.
func (r *Reader) List(n *Node, what string) []*Node {
	switch {
	case n == nil:
	case n.Kind != yaml.SequenceNode:
		r.Failf(n, "%s must be a list, not %s", what, KindOf(n))
	case len(n.Content) == 0:
		r.Failf(n, "%s is empty", what)
	default:
		return n.Content
	}
	return nil
}

// Names reads a list of different strings.
func (r *Reader) Names(n *Node, what string) []string {
	var out []string
	for _, c := range r.List(n, what) {
		s := r.Str(c, "an entry of "+what)
		if slices.Contains(out, s) {
			r.Failf(c, "%s names %q twice", what, s)
		}
		out = append(out, s)
	}
	return out
}

// Instant reads an RFC 3339 date and time. YAML gives such a text its own type unless it is quoted.
func (r *Reader) Instant(n *Node, what string) time.Time {
	if n == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		r.Failf(n, "%s must be an RFC 3339 time such as 2027-06-30T00:00:00Z", what)
	}
	return t
}

var ageText = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,5})m)?$`) })

// Age reads a duration of days, hours and minutes: 30d, 12h, 1d12h, 45m.
func (r *Reader) Age(n *Node, what string) time.Duration {
	text := r.Str(n, what)
	if text == "" {
		return 0
	}
	m := ageText().FindStringSubmatch(text)
	if m == nil {
		r.Failf(n, "%s is %q; write days, hours and minutes such as 30d, 12h or 45m", what, text)
		return 0
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute} {
		count, _ := strconv.Atoi(m[i+1]) // "" is 0
		d += time.Duration(count) * unit
	}
	if d <= 0 {
		r.Failf(n, "%s must be longer than nothing", what)
	}
	return d
}

// KindOf names what stands in the file, for "must be a list, not …".
func KindOf(n *Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!str":
		return "the string " + strconv.Quote(n.Value)
	case "!!bool":
		return "the boolean " + n.Value
	case "!!timestamp":
		return "the time " + n.Value
	}
	return "the number " + n.Value
}

// QuoteHint advises quotes where they may be what is missing.
func QuoteHint(n *Node) string {
	if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
		return "; put it in quotes"
	}
	return ""
}

// Suggest is "" or a known key that differs from key by no more than a slip.
func Suggest(key string, known []string) string {
	best, least := "", math.MaxInt
	for _, k := range known {
		if d := distance(strings.ToLower(key), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	if least > 2 || least >= len(best) {
		return ""
	}
	return " (did you mean " + best + "?)"
}

// distance is Levenshtein's. Only the start of a long key is looked at.
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
