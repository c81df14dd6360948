package policies

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/mlseal/mlseal/internal/lazyregexp"
)

// param is a parameter of a policy: a value with a type. It never becomes part of an expression's text.
type param struct {
	kind     paramKind
	override bool
	value    any    // for CEL
	text     string // for people, and as an override is written
}

// paramKind is a type of parameters, by its name in a policy.
type paramKind string

const (
	kindDecimal    paramKind = "decimal"
	kindString     paramKind = "string"
	kindInt        paramKind = "int"
	kindBool       paramKind = "bool"
	kindList       paramKind = "list"       // of strings
	kindDigestList paramKind = "digestList" // of strings that are digests
)

var paramKinds = []paramKind{kindDecimal, kindString, kindInt, kindBool, kindList, kindDigestList}

// Override is a parameter that has another value than the policy gives it.
type Override struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Default string `json:"default"`
}

// WithParams returns the policy with other values for its parameters; p does not change. Values are read as the parameter's type: lists have
// commas between their entries. The error wraps ErrPolicy: when there is no such parameter, when it has no `override: true`,
// when the value has another type. The overrides stand in every decision.
func (p *Policy) WithParams(values map[string]string) (*Policy, error) {
	out := *p
	out.params, out.edges, out.overrides = maps.Clone(p.params), slices.Clone(p.edges), slices.Clone(p.overrides)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		old, ok := p.params[name]
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: it has no parameter %q%s", ErrPolicy, name, suggest(name, slices.Sorted(maps.Keys(p.params))))
		case !old.override:
			return nil, fmt.Errorf("%w: its parameter %s has no `override: true`", ErrPolicy, name)
		}
		changed, err := old.parse(values[name])
		if err != nil {
			return nil, fmt.Errorf("%w: parameter %s: %w", ErrPolicy, name, err)
		}
		out.params[name] = changed
		out.overrides = append(slices.DeleteFunc(out.overrides, func(o Override) bool { return o.Name == name }),
			Override{Name: name, Value: changed.text, Default: p.defaultOf(name)})
	}
	slices.SortFunc(out.overrides, func(a, b Override) int { return cmp.Compare(a.Name, b.Name) })
	for i := range out.edges {
		out.edges[i].takeParam(out.params)
	}
	return &out, nil
}

// defaultOf is what the document says, also when a parameter was overridden before.
func (p *Policy) defaultOf(name string) string {
	for _, o := range p.overrides {
		if o.Name == name {
			return o.Default
		}
	}
	return p.params[name].text
}

// takeParam fills the deny list from the parameter that it names.
func (g *edge) takeParam(params map[string]param) {
	if g.denyFrom == "" {
		return
	}
	g.deny = digestList{}
	digests, _ := params[g.denyFrom].value.([]string)
	for _, d := range digests {
		g.deny[d] = true
	}
}

// parse reads a value of the parameter's type.
func (old param) parse(text string) (param, error) {
	out := param{kind: old.kind, override: old.override, text: text}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || isAmbiguous(r) }) {
		return out, fmt.Errorf("a control character in %q", text)
	}
	var err error
	switch old.kind {
	case kindString:
		out.value = text
	case kindBool:
		out.value = text == "true"
		if text != "true" && text != "false" {
			err = fmt.Errorf("%q is not a bool: true or false", text)
		}
	case kindInt:
		if !plainInteger().MatchString(text) {
			return out, fmt.Errorf("%q is not an int", text)
		}
		out.value, err = strconv.ParseInt(text, 10, 64)
	case kindDecimal:
		out.value, err = parseDecimal(text)
	default:
		out.value, err = old.parseList(strings.Split(text, ","))
	}
	return out, err
}

// parseList reads a list of different strings. An empty list is an error, as everywhere in the language.
func (old param) parseList(entries []string) ([]string, error) {
	var out []string
	for _, e := range entries {
		e = strings.TrimSpace(e)
		switch {
		case e == "":
			return nil, fmt.Errorf("an entry of the list is empty")
		case slices.Contains(out, e):
			return nil, fmt.Errorf("the list names %q twice", e)
		}
		if old.kind == kindDigestList {
			if _, err := parseDigest(e); err != nil {
				return nil, err
			}
		}
		out = append(out, e)
	}
	return out, nil
}

func (k paramKind) celType() *cel.Type {
	switch k {
	case kindDecimal:
		return decimalType
	case kindInt:
		return cel.IntType
	case kindBool:
		return cel.BoolType
	case kindString:
		return cel.StringType
	}
	return cel.ListType(cel.StringType)
}

// addParams puts the parameters among those of an expression, each under its whole name.
func addParams(to map[string]any, params map[string]param) {
	for name, p := range params {
		to["params."+name] = types.DefaultTypeAdapter.NativeToValue(p.value)
		if d, ok := p.value.(decimal); ok {
			to["params."+name] = d
		}
	}
}

// template is a text in which {{ params.NAME }} stands for a parameter's value.
type template string

var placeholder = lazyregexp.New(`\{\{\s*params\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}`)

func (t template) fill(params map[string]param) string {
	return placeholder.ReplaceAllStringFunc(string(t), func(s string) string {
		return params[placeholder.FindStringSubmatch(s)[1]].text
	})
}

// check reports what stands between braces and is no parameter.
func (t template) check(params map[string]param) error {
	for _, m := range placeholder.FindAllStringSubmatch(string(t), -1) {
		if _, ok := params[m[1]]; !ok {
			return fmt.Errorf("there is no parameter %q%s", m[1], suggest(m[1], slices.Sorted(maps.Keys(params))))
		}
	}
	if rest := placeholder.ReplaceAllString(string(t), ""); strings.Contains(rest, "{{") || strings.Contains(rest, "}}") {
		return fmt.Errorf("between {{ and }} stands nothing but params.NAME")
	}
	return nil
}
