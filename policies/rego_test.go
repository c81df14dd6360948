package policies_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/mlseal/mlseal/policies"
)

func regoPolicy(modules ...string) (string, LoadOptions) {
	body := oneRule + "rego:\n"
	files := map[string]string{}
	for i, m := range modules {
		name := "m" + string(rune('0'+i))
		body += "  - {file: " + name + ".rego, package: acme." + name + "}\n"
		files[name+".rego"] = "package acme." + name + "\n" + m
	}
	opts := options()
	opts.ReadFile = func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return readKey(name)
	}
	return policyText(body), opts
}

func loadRego(t *testing.T, modules ...string) *Policy {
	t.Helper()
	text, opts := regoPolicy(modules...)
	p, err := Load([]byte(text), opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRego(t *testing.T) {
	p := loadRego(t, `
deny contains msg if {
	some s in input.evidence
	s.predicate.accuracy < 0.5
	msg := sprintf("accuracy %v by %s at %s", [s.predicate.accuracy, s.signers[0], s.time])
}
deny contains "not the model" if input.subject.digests.sha256 != "`+h("a")+`"
deny contains "too late" if time.parse_rfc3339_ns(input.now) > time.parse_rfc3339_ns("2026-11-18T12:00:00Z")
`)
	want(t, p, "rego:acme.m0", "", statement("1", evaluation, `{"accuracy":0.7}`))
	d := want(t, p, "rego:acme.m0", ConditionFalse, statement("1", evaluation, `{"accuracy":0.4}`))
	if r := requirement(t, d, "rego:acme.m0"); r.Detail != "accuracy 0.4 by ci at 2026-11-18T11:00:00Z" {
		t.Error(r.Detail)
	}
	// What nobody trusted signed is not shown to it.
	want(t, p, "rego:acme.m0", "", statement("1", evaluation, `{"accuracy":0.7}`), statement("2", evaluation, `{"accuracy":0.1}`, by("mallory")))
	if d := p.Evaluate(model, []Evidence{statement("1", evaluation, `{"accuracy":0.7}`)}, now.Add(time.Second)); d.Verdict == Allow {
		t.Error("allowed, though it is too late")
	}
}

// Case 64: what cannot deny, or asks for what it must not have, does not load.
func TestRegoDoesNotLoad(t *testing.T) {
	const good = "deny contains \"no\" if input.subject.name == \"x\"\n"
	for name, c := range map[string]struct{ module, message string }{
		"64 misspelt deny":       {"denny contains \"no\" if true\n", "does not declare `deny contains`"},
		"64 undefined deny":      {"x := 1\n", "does not declare `deny contains`"},
		"deny is a value":        {"deny := \"no\" if true\n", "deny is not a set"},
		"deny is a map":          {"deny[x] := 1 if x := \"a\"\n", "deny is not a set"},
		"deny has a default":     {"default deny := false\n" + "deny if true\n", "deny is not a set"},
		"64 http.send":           {"deny contains \"no\" if http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1\"}).status_code == 200\n", "undefined function http.send"},
		"64 infinite recursion":  {"f(x) := f(x)\n" + "deny contains \"no\" if f(1)\n", "recursive"},
		"64 with input as":       {"deny contains \"no\" if input.x == 1 with input as {}\n", "`with` replaces what was verified"},
		"with in a rule":         {good + "y if { count(input.evidence) > 1 with input as {} }\n", "`with` replaces"},
		"the clock":              {"deny contains \"no\" if time.now_ns() > 0\n", "undefined function time.now_ns"},
		"the environment":        {"deny contains \"no\" if opa.runtime().env.HOME\n", "undefined function opa.runtime"},
		"chance":                 {"deny contains \"no\" if rand.intn(\"x\", 2) == 1\n", "undefined function rand.intn"},
		"uuid":                   {"deny contains \"no\" if uuid.rfc4122(\"x\") == \"y\"\n", "undefined function uuid"},
		"names":                  {"deny contains \"no\" if net.lookup_ip_addr(\"x\")\n", "undefined function net"},
		"another module":         {"deny contains \"no\" if rego.parse_module(\"x\", \"package x\")\n", "undefined function rego"},
		"trace":                  {"deny contains \"no\" if trace(\"x\")\n", "undefined function trace"},
		"a token":                {"deny contains \"no\" if io.jwt.decode(\"x\")\n", "undefined function io.jwt"},
		"data that is not there": {"deny contains \"no\" if data.denied[input.subject.name]\n", "data.denied"},
		"a rule of another":      {"deny contains \"no\" if data.acme.m1.bad\n", "is not defined"},
		"a rule that is not":     {"deny contains \"no\" if data.acme.m0.bad\n", "is not defined"},
		"all data":               {"deny contains \"no\" if count(data) > 3\n", "recursive"},
		"an unknown variable":    {"deny contains \"no\" if bad\n", "var bad is unsafe"},
		"syntax":                 {"deny contains\n", "rego_parse_error"},
		"old syntax":             {"deny[msg] { msg := \"x\" }\n", "rego_parse_error"},
	} {
		t.Run(name, func(t *testing.T) {
			text, opts := regoPolicy(c.module)
			loadFailsWith(t, text, c.message, opts)
			// 64: two modules, of which one cannot deny.
			text, opts = regoPolicy(good, c.module)
			if p, err := Load([]byte(text), opts); err == nil || p != nil {
				t.Error("loads beside a good one")
			}
		})
	}
	text, opts := regoPolicy(good)
	loadFailsWith(t, strings.Replace(text, "package: acme.m0", "package: acme.other", 1), "its package is acme.m0, not acme.other", opts)
	loadFailsWith(t, strings.Replace(text, "package: acme.m0", "package: 'a[0]'", 1), "write its path", opts)
	loadFailsWith(t, strings.Replace(text, ", package: acme.m0", "", 1), "a Rego module has no package", opts)
	loadFailsWith(t, strings.Replace(text, "package:", "packge:", 1), "did you mean package?", opts)
	loadFailsWith(t, strings.Replace(text, "file: m0.rego", "file: missing.pub", 1), "cannot be read", opts)
	loadFailsWith(t, text+"  - {file: m0.rego, package: acme.m0}\n", "stands there twice", opts)
	loadFails(t, policyText(oneRule+"rego: []\n"), "rego is empty")
}

// Case 64: whatever goes wrong while a module is evaluated denies.
func TestRegoFailsClosed(t *testing.T) {
	good := statement("1", evaluation, `{"n":0}`)
	for name, c := range map[string]struct {
		module string
		code   Code
		detail string
	}{
		"64 a loop of 10 s":   {"deny contains \"no\" if {\n\tsome a in numbers.range(1, 10000)\n\tsome b in numbers.range(1, 10000)\n\ta * b == -1\n}\n", LimitExceeded, "it takes longer than 2s"},
		"64 memory":           {"deny contains \"no\" if count([x | some a in numbers.range(1, 3000); some b in numbers.range(1, 3000); x := sprintf(\"%d %d %d\", [a, b, a])]) == 3\n", LimitExceeded, "it takes"},
		"a builtin's error":   {"deny contains \"no\" if 1 / input.evidence[0].predicate.n == 1\n", ConditionError, "divide by zero"},
		"a builtin's error 2": {"deny contains \"no\" if to_number(\"x\") == 1\n", ConditionError, "to_number"},
		"messages of objects": {"deny contains {\"msg\": \"a\"}\n", ConditionFalse, `{"msg": "a"}`},
		"64 a terminal":       {"deny contains \"a\\u001b[2Jb\"\n", ConditionFalse, `a\x1b[2Jb`},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			d := loadRego(t, c.module).Evaluate(model, []Evidence{good}, now)
			if r := requirement(t, d, "rego:acme.m0"); r.Code != c.code || !strings.Contains(r.Detail, c.detail) || d.Verdict == Allow {
				t.Errorf("%+v", r)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

// Case 64: a panic of the interpreter denies.
func TestRegoPanic(t *testing.T) {
	if code, detail := AskBrokenModule(); code != ConditionError || !strings.Contains(detail, "the evaluation failed: ") {
		t.Errorf("%q: %s", code, detail)
	}
}
