package policies

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/mlseal/mlseal/internal/lazyregexp"
)

// MaxDigestListBytes is the size of the largest file of digests that is read.
const MaxDigestListBytes = 4 << 20

var paramName = lazyregexp.New(`^[A-Za-z_][A-Za-z0-9_]{0,99}$`)

func (l *loader) params(n *yaml.Node) {
	if n == nil || l.err != nil {
		return
	}
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		l.failf(n, "params must be a mapping of at least one name to a parameter, not %s", kindOf(n))
		return
	}
	l.policy.params = map[string]param{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		if n.Content[i].Kind != yaml.ScalarNode || !paramName.MatchString(name) {
			l.failf(n.Content[i], "a parameter is called %q; use letters, digits and underscores", name)
			return
		}
		l.policy.params[name] = l.param(n.Content[i+1], "params."+name)
	}
}

func (l *loader) param(n *yaml.Node, what string) param {
	f := l.mapping(n, what, "type", "default", "source", "override")
	p := param{kind: paramKind(l.str(l.need(f, "type"), what+".type")), override: l.yes(f.at["override"], what+".override")}
	value, source := f.at["default"], f.at["source"]
	switch {
	case l.err != nil:
	case !slices.Contains(paramKinds, p.kind):
		l.failf(f.at["type"], "%s.type is %q; it is one of decimal, string, int, bool, list, digestList", what, p.kind)
	case (value == nil) == (source == nil):
		l.failf(n, "%s needs exactly one of default and source", what)
	case source != nil && p.kind != kindDigestList:
		l.failf(source, "%s.source is for a digestList; a %s has a default", what, p.kind)
	case source != nil:
		l.setList(source, what+".source", &p, l.digestLines(source, what+".source"))
	case p.kind == kindList || p.kind == kindDigestList:
		l.setList(value, what+".default", &p, l.names(value, what+".default"))
	default:
		l.setScalar(value, what+".default", &p)
	}
	return p
}

// setScalar reads a value as YAML has it: a decimal and a string are strings there.
func (l *loader) setScalar(n *yaml.Node, what string, p *param) {
	tag := map[paramKind]string{kindDecimal: "!!str", kindString: "!!str", kindInt: "!!int", kindBool: "!!bool"}[p.kind]
	if n.Kind != yaml.ScalarNode || n.ShortTag() != tag {
		hint := ""
		if tag == "!!str" {
			hint = quoteHint(n)
		}
		l.failf(n, "%s must be a %s, not %s%s", what, p.kind, kindOf(n), hint)
		return
	}
	read, err := p.parse(n.Value)
	if err != nil {
		l.failf(n, "%s: %v", what, err)
		return
	}
	*p = read
}

func (l *loader) setList(n *yaml.Node, what string, p *param, entries []string) {
	if l.err != nil {
		return
	}
	list, err := p.parseList(entries)
	if err != nil {
		l.failf(n, "%s: %v", what, err)
		return
	}
	p.value, p.text = list, strings.Join(list, ",")
}

// digestLines reads a file of digests, one a line; # starts a comment.
func (l *loader) digestLines(n *yaml.Node, what string) []string {
	file := l.str(n, what)
	if l.err != nil {
		return nil
	}
	data := l.file(n, "digest list", file, MaxDigestListBytes)
	var out []string
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	if l.err == nil && len(out) == 0 {
		l.failf(n, "digest list %q holds no digest", file)
	}
	return out
}

// denyDigests reads a list of digests, or the name of a parameter that is one.
func (l *loader) denyDigests(n *yaml.Node, e *edge) {
	if n == nil || n.Kind != yaml.ScalarNode {
		e.deny = l.digestList(n, "denyDigests")
		return
	}
	name, ok := strings.CutPrefix(l.str(n, "denyDigests"), "params.")
	if p, known := l.policy.params[name]; l.err == nil && (!ok || !known || p.kind != kindDigestList) {
		l.failf(n, "denyDigests is %q; it is a list of digests, or params.NAME of a digestList", n.Value)
	}
	e.denyFrom = name
	e.takeParam(l.policy.params)
}

// message reads a text with parameters in it.
func (l *loader) message(n *yaml.Node) template {
	t := template(l.str(n, "message"))
	if err := t.check(l.policy.params); err != nil && l.err == nil {
		l.failf(n, "message: %v", err)
	}
	return t
}
