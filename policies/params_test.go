package policies_test

import (
	"errors"
	"strings"
	"testing"

	. "github.com/mlseal/mlseal/policies"
)

const parameters = `params:
  bar: {type: decimal, default: "0.70", override: true}
  name: {type: string, default: "a", override: true}
  count: {type: int, default: 3, override: true}
  strict: {type: bool, default: false, override: true}
  licenses: {type: list, default: [MIT, ISC], override: true}
  denied: {type: digestList, source: deny.txt, override: true}
  fixed: {type: string, default: "x"}
`

func withParams(t *testing.T, where string, values map[string]string) (*Policy, error) {
	t.Helper()
	p := load(t, parameters+"require:\n  - id: r\n    attestation: evaluation\n    by: [ci]\n    message: under {{ params.bar }} of {{params.licenses}}\n    where: '"+where+"'\n")
	return p.WithParams(values)
}

func TestParams(t *testing.T) {
	for name, c := range map[string]struct {
		where  string
		values map[string]string
		code   Code
	}{
		"decimal":             {`dec("0.7") == params.bar && dec(predicate.v) >= dec(params.bar)`, nil, ""},
		"decimal, overridden": {`dec(predicate.v) >= params.bar`, map[string]string{"bar": "0.8"}, ConditionFalse},
		"int":                 {`params.count == 3 && params.count < 4`, nil, ""},
		"int, overridden":     {`params.count == -7`, map[string]string{"count": "-7"}, ""},
		"bool":                {`!params.strict`, nil, ""},
		"bool, overridden":    {`params.strict`, map[string]string{"strict": "true"}, ""},
		"list":                {`predicate.l in params.licenses && size(params.licenses) == 2`, nil, ""},
		"list, overridden":    {`predicate.l in params.licenses`, map[string]string{"licenses": "GPL, ISC"}, ConditionFalse},
		"digestList":          {`"sha256:` + h("o") + `" in params.denied`, nil, ""},
		"string":              {`params.name == "a" && params.fixed == "x"`, nil, ""},
		// Case 67: a value is never code.
		"67 a value with CEL":     {`predicate.n == params.name`, map[string]string{"name": `") || true || ("`}, ConditionFalse},
		"67 a value with a brace": {`predicate.n == params.name`, map[string]string{"name": `{{ params.fixed }}`}, ConditionFalse},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := withParams(t, c.where, c.values)
			if err != nil {
				t.Fatal(err)
			}
			d := want(t, p, "r", c.code, statement("1", evaluation, `{"v":"0.712","l":"MIT","n":"a"}`))
			if len(d.Overrides) != len(c.values) || len(d.Notes) != 0 {
				t.Errorf("overrides %v, notes %v", d.Overrides, d.Notes)
			}
		})
	}
}

// Case 66: an override of what has no `override: true`, and overrides of another type.
func TestParamOverrideErrors(t *testing.T) {
	for name, c := range map[string]struct{ param, value, message string }{
		"66 without override": {"fixed", "y", "parameter fixed has no `override: true`"},
		"unknown":             {"barr", "1", `no parameter "barr" (did you mean bar?)`},
		"not a decimal":       {"bar", "high", `"high" is not a decimal`},
		"NaN":                 {"bar", "NaN", "is not a decimal"},
		"not an int":          {"count", "0x10", "is not an int"},
		"not a bool":          {"strict", "yes", "is not a bool"},
		"an empty list":       {"licenses", "", "entry of the list is empty"},
		"twice":               {"licenses", "a,a", `names "a" twice`},
		"not a digest":        {"denied", "sha256:abc", "is not a digest"},
		"a new line":          {"name", "a\nb", "a control character"},
	} {
		if p, err := withParams(t, "true", map[string]string{c.param: c.value}); p != nil || !errors.Is(err, ErrPolicy) || !strings.Contains(err.Error(), c.message) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParamsStand(t *testing.T) {
	p := load(t, parameters+evaluated)
	first, err := p.WithParams(map[string]string{"bar": "0.8"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := first.WithParams(map[string]string{"bar": "0.9"})
	if err != nil {
		t.Fatal(err)
	}
	d := second.Evaluate(model, nil, now)
	if len(d.Overrides) != 1 || d.Overrides[0] != (Override{"bar", "0.9", "0.70"}) {
		t.Errorf("%+v", d.Overrides)
	}
	if d := p.Evaluate(model, nil, now); len(d.Overrides) != 0 {
		t.Errorf("the policy changed: %+v", d.Overrides)
	}
	if second.Ref() != p.Ref() {
		t.Error("the override has another policy's digest")
	}
}

func TestParamInMessage(t *testing.T) {
	p, err := withParams(t, `predicate.v == "1"`, map[string]string{"bar": "0.9"})
	if err != nil {
		t.Fatal(err)
	}
	if r := requirement(t, p.Evaluate(model, nil, now), "r"); r.Message != "under 0.9 of MIT,ISC" {
		t.Error(r.Message)
	}
}

func TestDenyDigestsFromParam(t *testing.T) {
	body := parameters + strings.Replace(recursive, "['sha256:"+h("o")+"']", "params.denied", 1)
	p := load(t, body)
	want(t, p, "lineage:dataset", DigestDenied, chain(dep{"dataset", sha256of("o")})...)
	want(t, p, "lineage:dataset", DigestDenied, chain(dep{"dataset", sha256of("q")})...)
	other, err := p.WithParams(map[string]string{"denied": "sha256:" + h("r")})
	if err != nil {
		t.Fatal(err)
	}
	want(t, other, "lineage:dataset", LineageGap, chain(dep{"dataset", sha256of("o")})...)
	want(t, other, "lineage:dataset", DigestDenied, chain(dep{"dataset", sha256of("r")})...)
	for _, wrong := range []string{"params.licenses", "params.nothing", "denied"} {
		loadFails(t, policyText(strings.Replace(body, "params.denied", wrong, 1)), `denyDigests is "`+wrong+`"; it is a list of digests, or params.NAME`)
	}
}

func TestLoadParamErrors(t *testing.T) {
	for name, c := range map[string]struct{ params, message string }{
		"empty":              {"{}", "params must be a mapping of at least one name"},
		"a list":             {"[a]", "not a list"},
		"no type":            {"{a: {default: x}}", "params.a has no type"},
		"unknown type":       {"{a: {type: float, default: x}}", "it is one of decimal"},
		"unknown key":        {"{a: {type: int, defualt: 1}}", "did you mean default?"},
		"no value":           {"{a: {type: int}}", "exactly one of default and source"},
		"two values":         {"{a: {type: digestList, default: [x], source: deny.txt}}", "exactly one of default and source"},
		"source of an int":   {"{a: {type: int, source: deny.txt}}", "params.a.source is for a digestList"},
		"a float":            {"{a: {type: decimal, default: 0.7}}", "params.a.default must be a decimal, not the number 0.7; put it in quotes"},
		"a quoted int":       {`{a: {type: int, default: "1"}}`, "must be a int, not the string"},
		"a decimal of text":  {`{a: {type: decimal, default: "x"}}`, "is not a decimal"},
		"a list that is not": {"{a: {type: list, default: x}}", "must be a list"},
		"an empty list":      {"{a: {type: list, default: []}}", "is empty"},
		"not digests":        {"{a: {type: digestList, default: [x]}}", "is not a digest"},
		"override false":     {"{a: {type: int, default: 1, override: false}}", "can only be true"},
		"a name with a dash": {"{a-b: {type: int, default: 1}}", `a parameter is called "a-b"`},
		"missing file":       {"{a: {type: digestList, source: missing.pub}}", "cannot be read"},
		"file of nothing":    {"{a: {type: digestList, source: nothing.txt}}", "holds no digest"},
		"file of rubbish":    {"{a: {type: digestList, source: wrong.txt}}", "is not a digest"},
	} {
		t.Run(name, func(t *testing.T) { loadFails(t, policyText("params: "+c.params+"\n"+oneRule), c.message) })
	}
	rule := func(text string) string {
		return policyText(parameters + "require: [{id: r, attestation: evaluation, by: [ci], " + text + "}]\n")
	}
	loadFails(t, rule("message: '{{ params.barr }}'"), `there is no parameter "barr" (did you mean bar?)`)
	loadFails(t, rule("message: '{{ predicate.x }}'"), "nothing but params.NAME")
	loadFails(t, rule("message: 'a }} b'"), "nothing but params.NAME")
	loadFails(t, rule("where: 'params.nothing == 1'"), "undeclared reference")
	loadFails(t, rule(`where: 'params.count == "3"'`), "no matching overload for '=='")
}
