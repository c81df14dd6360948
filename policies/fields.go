package policies

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// fields is a mapping whose keys are all known.
type fields struct {
	node *yaml.Node
	what string // what the mapping describes, for messages
	at   map[string]*yaml.Node
}

// mapping reads n as a mapping with known keys only. A key that nobody reads is a rule that
// nobody applies, so it is an error rather than a comment.
func (l *loader) mapping(n *yaml.Node, what string, known ...string) fields {
	f := fields{node: n, what: what, at: map[string]*yaml.Node{}}
	if n.Kind != yaml.MappingNode {
		l.failf(n, "%s must be a mapping, not %s", what, kindOf(n))
		return f
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || !slices.Contains(known, key.Value) {
			l.failf(key, "unknown key %q in %s%s; known keys: %s",
				key.Value, what, suggest(key.Value, known), strings.Join(known, ", "))
			return f
		}
		f.at[key.Value] = n.Content[i+1]
	}
	return f
}

// need returns the value of a key that must be there; without it nil, and the load fails.
func (l *loader) need(f fields, key string) *yaml.Node {
	n := f.at[key]
	if n == nil {
		l.failf(f.node, "%s has no %s", f.what, key)
	}
	return n
}

// str reads a string that says something. A missing key (nil) reads as "".
func (l *loader) str(n *yaml.Node, what string) string {
	switch {
	case n == nil:
		return ""
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str":
		l.failf(n, "%s must be a string, not %s%s", what, kindOf(n), quoteHint(n))
	case strings.TrimSpace(n.Value) == "":
		l.failf(n, "%s is empty", what)
	default:
		return n.Value
	}
	return ""
}

var plainInteger = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,8})$`)

// integer reads a decimal integer from min up.
func (l *loader) integer(n *yaml.Node, what string, min int) int {
	if n == nil {
		return 0
	}
	// 0x10, 1_000 and 010 are integers to some YAML readers only.
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" || !plainInteger.MatchString(n.Value) {
		l.failf(n, "%s must be a decimal integer, not %s", what, kindOf(n))
		return 0
	}
	i, err := strconv.Atoi(n.Value)
	if err != nil || i < min {
		l.failf(n, "%s is %s; it must be at least %d", what, n.Value, min)
	}
	return i
}

// yes reads a switch that can only be thrown: to say no, it is left out. A missing key (nil) reads as false.
func (l *loader) yes(n *yaml.Node, what string) bool {
	if n == nil {
		return false
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Value != "true" {
		l.failf(n, "%s can only be true, not %s; leave it out otherwise", what, kindOf(n))
	}
	return l.err == nil
}

// list reads a sequence. An empty one is an error everywhere in the language: a list of
// nothing to check would pass.
func (l *loader) list(n *yaml.Node, what string) []*yaml.Node {
	switch {
	case n == nil:
	case n.Kind != yaml.SequenceNode:
		l.failf(n, "%s must be a list, not %s", what, kindOf(n))
	case len(n.Content) == 0:
		l.failf(n, "%s is empty", what)
	default:
		return n.Content
	}
	return nil
}

// names reads a list of different strings.
func (l *loader) names(n *yaml.Node, what string) []string {
	var out []string
	for _, c := range l.list(n, what) {
		s := l.str(c, "an entry of "+what)
		if slices.Contains(out, s) {
			l.failf(c, "%s names %q twice", what, s)
		}
		out = append(out, s)
	}
	return out
}

// instant reads an RFC 3339 date and time. YAML gives such a text its own type unless it is quoted.
func (l *loader) instant(n *yaml.Node, what string) time.Time {
	if n == nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, n.Value)
	if n.Kind != yaml.ScalarNode || err != nil {
		l.failf(n, "%s must be an RFC 3339 time such as 2027-06-30T00:00:00Z", what)
	}
	return t
}

var ageText = regexp.MustCompile(`^(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,5})m)?$`)

// age reads a duration of days, hours and minutes: 30d, 12h, 1d12h, 45m.
func (l *loader) age(n *yaml.Node, what string) time.Duration {
	text := l.str(n, what)
	if text == "" {
		return 0
	}
	m := ageText.FindStringSubmatch(text)
	if m == nil {
		l.failf(n, "%s is %q; write days, hours and minutes such as 30d, 12h or 45m", what, text)
		return 0
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute} {
		count, _ := strconv.Atoi(m[i+1]) // "" is 0
		d += time.Duration(count) * unit
	}
	if d <= 0 {
		l.failf(n, "%s must be longer than nothing", what)
	}
	return d
}

// kindOf names what stands in the file, for "must be a list, not …".
func kindOf(n *yaml.Node) string {
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

func quoteHint(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
		return "; put it in quotes"
	}
	return ""
}

// suggest is "" or a known key that differs from key by no more than a slip.
func suggest(key string, known []string) string {
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
