// Package library holds the policies that come with mlseal. Each is a template: it says what there must be and leaves open who says so, how
// long the policy holds and who owns it. A template as it stands is no policy and cannot be loaded, so that nobody is
// trusted whom the user did not name; Fill makes a policy of it.
//
// # The form of a template
//
// A template is a policy document (see package policies) that begins with a comment, whose first line is its summary, and in which some lines have
// a word in the place of a value:
//
//	expires: EXPIRES
//	owner: OWNER
//	params:
//	  builder: {type: string, default: GIVEN}          # what for; the user must say it
//	  bar: {type: decimal, default: "0.70", override: true}    # what for; the user may say it
//	signers:
//	  trainer: ROLE            # who it is: a key or a keyless identity
//	  office: ROLE key         # a key only
//	  platform: ROLE keyless   # a keyless identity only
//	  approvers: GROUP 2       # people, of whom at least two must have signed; ROLE's kinds may follow
//
// Each of these stands on a line of its own, and the comment behind it is what `mlseal policy init --list` shows.
package library

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/lazyregexp"
)

// ErrTemplate is wrapped by every error about what a template was asked to become.
var ErrTemplate = errors.New("cannot fill in the template")

// files are the templates, and the files that they refer to.
//
//go:embed *.yaml *.rego
var files embed.FS

// Template is a policy of the library.
type Template struct {
	Name    string  `json:"name"`
	Summary string  `json:"summary"`
	Roles   []Role  `json:"roles"`
	Params  []Param `json:"params,omitempty"`

	text  string
	files []string // that it refers to
}

// Role is somebody whom a template leaves open.
type Role struct {
	Name    string `json:"name"`
	What    string `json:"what"`
	AtLeast int    `json:"atLeast,omitempty"` // of a group; 0 for one signer
	Kind    string `json:"kind,omitempty"`    // key or keyless, where only that will do
}

// Param is a parameter of a template.
type Param struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	What    string `json:"what"`
	Default string `json:"default,omitempty"` // as YAML; empty when it must be given
}

// Signer fills a role, or a place in a group.
type Signer struct {
	Role, Member    string // Member is the name in a group
	Key             string // a file, as the policy shall name it; or
	Issuer, Subject string
}

// Options are what makes a policy of a template.
type Options struct {
	Name         string // of the policy; the template's if empty
	Owner        string // left out of the policy if empty
	Expires      time.Time
	Repositories []string // where it applies; everywhere if empty
	Signers      []Signer
	Params       map[string]string
}

var (
	roleLine  = lazyregexp.New(`^  ([a-z][a-z0-9-]*): (?:ROLE|GROUP (\d+))( key| keyless)? +# (.+)$`)
	paramLine = lazyregexp.New(`^  ([A-Za-z][A-Za-z0-9]*): \{type: ([A-Za-z]+), default: (.+?)(, override: true)?\} +# (.+)$`)
	fileLine  = lazyregexp.New(`^  - \{file: \./([a-z0-9.-]+), `)
	member    = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$`)
)

// Templates are the library, by name.
func Templates() []Template {
	names, err := fs.Glob(files, "*.yaml")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	var out []Template
	for _, name := range names {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			panic(err) // it is embedded
		}
		out = append(out, parse(strings.TrimSuffix(name, ".yaml"), string(text)))
	}
	return out
}

// Find is the template of a name.
func Find(name string) (Template, error) {
	var names []string
	for _, t := range Templates() {
		if t.Name == name {
			return t, nil
		}
		names = append(names, t.Name)
	}
	return Template{}, fmt.Errorf("%w: there is no template %q; there are %s", ErrTemplate, name, strings.Join(names, ", "))
}

func parse(name, text string) Template {
	t := Template{Name: name, text: text}
	first, _, _ := strings.Cut(text, "\n")
	t.Summary = strings.TrimPrefix(first, "# ")
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := roleLine.FindStringSubmatch(line); m != nil {
			atLeast, _ := strconv.Atoi(m[2])
			t.Roles = append(t.Roles, Role{Name: m[1], What: m[4], AtLeast: atLeast, Kind: strings.TrimSpace(m[3])})
		}
		if m := paramLine.FindStringSubmatch(line); m != nil {
			p := Param{Name: m[1], Type: m[2], What: m[5], Default: m[3]}
			if p.Default == "GIVEN" {
				p.Default = ""
			}
			t.Params = append(t.Params, p)
		}
		if m := fileLine.FindStringSubmatch(line); m != nil {
			t.files = append(t.files, m[1])
		}
	}
	return t
}

// Fill returns the policy document. The files that it refers to besides keys are those of Files. An error wraps ErrTemplate and
// names all roles and parameters that are missing.
func (t Template) Fill(o Options) ([]byte, error) {
	if err := t.check(o); err != nil {
		return nil, err
	}
	var b strings.Builder
	for line := range strings.Lines(t.text) {
		line = strings.TrimSuffix(line, "\n")
		filled, err := t.line(line, o)
		if err != nil {
			return nil, err
		}
		b.WriteString(filled)
	}
	return []byte(b.String()), nil
}

// Files are what the filled-in policy refers to by name and finds beside it.
func (t Template) Files() map[string][]byte {
	out := map[string][]byte{}
	for _, name := range t.files {
		text, err := fs.ReadFile(files, name)
		if err != nil {
			panic(err) // a test fills in every template
		}
		out[name] = text
	}
	return out
}

func (t Template) line(line string, o Options) (string, error) {
	switch {
	case strings.HasPrefix(line, "name: ") && o.Name != "":
		return "name: " + quoted(o.Name) + "\n", nil
	case line == "owner: OWNER":
		return o.head(), nil
	case line == "expires: EXPIRES":
		return "expires: " + o.Expires.UTC().Format(time.RFC3339) + "\n", nil
	}
	if m := roleLine.FindStringSubmatch(line); m != nil {
		return o.signers(t.role(m[1])), nil
	}
	if m := paramLine.FindStringSubmatch(line); m != nil {
		value, ok := o.Params[m[1]]
		if !ok {
			return line + "\n", nil
		}
		text, err := asYAML(m[2], value)
		if err != nil {
			return "", fmt.Errorf("%w %s: parameter %s: %w", ErrTemplate, t.Name, m[1], err)
		}
		return fmt.Sprintf("  %s: {type: %s, default: %s%s}   # %s\n", m[1], m[2], text, m[4], m[5]), nil
	}
	return line + "\n", nil
}

// head is the owner, and where the policy applies.
func (o Options) head() string {
	var b strings.Builder
	if o.Owner != "" {
		fmt.Fprintf(&b, "owner: %s\n", quoted(o.Owner))
	}
	if len(o.Repositories) > 0 {
		b.WriteString("match:\n  repositories:\n")
	}
	for _, r := range o.Repositories {
		fmt.Fprintf(&b, "    - %s\n", quoted(r))
	}
	return b.String()
}

func (t Template) role(name string) Role {
	return t.Roles[slices.IndexFunc(t.Roles, func(r Role) bool { return r.Name == name })]
}

// signers are the lines for a role: one, or the members of a group and the group.
func (o Options) signers(r Role) string {
	var b strings.Builder
	var members []string
	for _, s := range o.Signers {
		if s.Role != r.Name {
			continue
		}
		name := s.Role
		if r.AtLeast > 0 {
			name = s.Member
			members = append(members, quoted(name))
		}
		if s.Key != "" {
			fmt.Fprintf(&b, "  %s: {key: %s}   # %s\n", quoted(name), quoted(s.Key), r.What)
		} else {
			fmt.Fprintf(&b, "  %s: {keyless: {issuer: %s, subject: %s}}   # %s\n", quoted(name), quoted(s.Issuer), quoted(s.Subject), r.What)
		}
	}
	if r.AtLeast > 0 {
		fmt.Fprintf(&b, "  %s: {group: {of: [%s], atLeast: %d, distinct: identity}}\n", quoted(r.Name), strings.Join(members, ", "), r.AtLeast)
	}
	return b.String()
}

// check looks at the answers by themselves; whether the policy loads says policies.Load.
func (t Template) check(o Options) error {
	if o.Expires.IsZero() {
		return fmt.Errorf("%w %s: it has no end", ErrTemplate, t.Name)
	}
	names := map[string]bool{}
	for _, r := range t.Roles {
		names[r.Name] = true
	}
	count := map[string]int{}
	for _, s := range o.Signers {
		if err := t.fits(s, names); err != nil {
			return fmt.Errorf("%w %s: %w", ErrTemplate, t.Name, err)
		}
		count[s.Role]++
	}
	for _, name := range slices.Sorted(maps.Keys(o.Params)) {
		if !slices.ContainsFunc(t.Params, func(p Param) bool { return p.Name == name }) {
			return fmt.Errorf("%w %s: it has no parameter %q", ErrTemplate, t.Name, name)
		}
	}
	var missing []string
	for _, r := range t.Roles {
		switch n := count[r.Name]; {
		case r.AtLeast == 0 && n == 0:
			missing = append(missing, fmt.Sprintf("--signer %s=… (%s)", r.Name, r.What))
		case r.AtLeast == 0 && n > 1:
			return fmt.Errorf("%w %s: %d signers for the role %s, which is one", ErrTemplate, t.Name, n, r.Name)
		case n < r.AtLeast:
			missing = append(missing, fmt.Sprintf("--signer %s.NAME=… for %d more (%s)", r.Name, r.AtLeast-n, r.What))
		}
	}
	for _, p := range t.Params {
		if _, ok := o.Params[p.Name]; !ok && p.Default == "" {
			missing = append(missing, fmt.Sprintf("--param %s=… (%s)", p.Name, p.What))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w %s: it needs %s", ErrTemplate, t.Name, strings.Join(missing, ", "))
	}
	return nil
}

// fits reports why somebody cannot be what a role asks for.
func (t Template) fits(s Signer, names map[string]bool) error {
	i := slices.IndexFunc(t.Roles, func(r Role) bool { return r.Name == s.Role })
	switch {
	case i < 0:
		var roles []string
		for _, r := range t.Roles {
			roles = append(roles, r.Name)
		}
		return fmt.Errorf("it has no role %q; its roles are %s", s.Role, strings.Join(roles, ", "))
	case t.Roles[i].Kind == "key" && s.Key == "":
		return fmt.Errorf("the role %s is for a key: %s=FILE", s.Role, s.Role)
	case t.Roles[i].Kind == "keyless" && s.Key != "":
		return fmt.Errorf("the role %s is for a keyless identity: %s=ISSUER,SUBJECT", s.Role, s.Role)
	case t.Roles[i].AtLeast == 0 && s.Member != "":
		return fmt.Errorf("the role %s is one signer: write %s=…, not %s.%s=…", s.Role, s.Role, s.Role, s.Member)
	case t.Roles[i].AtLeast == 0:
		return nil
	case s.Member == "":
		return fmt.Errorf("the role %s is a group of people: write %s.NAME=… for each", s.Role, s.Role)
	case !member.MatchString(s.Member):
		return fmt.Errorf("a member of %s cannot be called %q: letters, digits, dashes and underscores", s.Role, s.Member)
	case names[s.Member]:
		return fmt.Errorf("two signers are called %s", s.Member)
	}
	names[s.Member] = true
	return nil
}

// plain are the kinds of values that YAML has the same words for.
var plain = map[string]*lazyregexp.Regexp{"int": lazyregexp.New(`^-?\d{1,18}$`), "bool": lazyregexp.New(`^(true|false)$`)}

// asYAML writes the value of a parameter; lists have commas between their entries.
func asYAML(kind, value string) (string, error) {
	if form, ok := plain[kind]; ok {
		if !form.MatchString(value) {
			return "", fmt.Errorf("%q is not of type %s", value, kind)
		}
		return value, nil
	}
	if kind != "list" && kind != "digestList" {
		return quoted(value), nil
	}
	var entries []string
	for _, entry := range strings.Split(value, ",") {
		entries = append(entries, quoted(entry))
	}
	return "[" + strings.Join(entries, ", ") + "]", nil
}

// quoted is a YAML string in double quotes. JSON's strings are YAML's.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string always has a form
	}
	return string(b)
}
