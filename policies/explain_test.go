package policies_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/mlseal/mlseal/policies"
)

// A denial shows the values that its condition compared.
func TestValues(t *testing.T) {
	for name, c := range map[string]struct {
		where, predicate string
		values           []string
	}{
		"decimals":  {`dec(predicate.v) >= dec("0.70")`, `{"v":"0.6120"}`, []string{`dec("0.612") >= dec("0.7") -> false`}},
		"strings":   {`predicate.v == "PASSED"`, `{"v":"FAILED"}`, []string{`"FAILED" == "PASSED" -> false`}},
		"an escape": {`predicate.v == "a"`, `{"v":"\u001b[2J"}`, []string{`"\x1b[2J" == "a" -> false`}},
		"ints":      {`predicate.a < 3 && predicate.b > 4`, `{"a":1,"b":4}`, []string{"1 < 3 -> true", "4 > 4 -> false"}},
		"a list":    {`predicate.l in ["MIT", "ISC"]`, `{"l":"GPL"}`, []string{`"GPL" in a list of 2 -> false`}},
		"types":     {`predicate.v == "a"`, `{"v":1}`, []string{`1 == "a" -> error: a int is not compared with a string`}},
		"an elements": {`predicate.r.all(x, x.v >= 3)`, `{"r":[{"v":4},{"v":2}]}`,
			[]string{"2 >= 3 -> false, for the last element that was looked at"}},
		"a time":      {`now < timestamp("2020-01-01T00:00:00Z")`, `{}`, []string{"2026-11-18T12:00:00Z < 2020-01-01T00:00:00Z -> false"}},
		"missing key": {`predicate.v == "a"`, `{}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := load(t, quoted(c.where)).Evaluate(model, []Evidence{statement("1", evaluation, c.predicate)}, now)
			r := requirement(t, d, "r")
			if !slices.Equal(r.Values, c.values) || !slices.Equal(r.NearMisses[0].Values, c.values) {
				t.Errorf("%q and %q", r.Values, r.NearMisses[0].Values)
			}
		})
	}
	d := load(t, quoted(`predicate.v == 1`)).Evaluate(model, []Evidence{statement("1", evaluation, `{"v":1}`)}, now)
	if r := requirement(t, d, "r"); r.Values != nil {
		t.Errorf("what holds shows %q", r.Values)
	}
}

// What was expensive is not evaluated again.
func TestValuesOfTheExpensive(t *testing.T) {
	for size, want := range map[int]int{10: 1, 5000: 0} {
		list := "[" + strings.Repeat("1,", size) + "0]"
		d := load(t, quoted("predicate.r.all(x, x == 1)")).Evaluate(model, []Evidence{statement("1", evaluation, `{"r":`+list+`}`)}, now)
		if r := requirement(t, d, "r"); len(r.Values) != want || r.Code != ConditionFalse {
			t.Errorf("%d elements: %+v", size, r)
		}
	}
}

// However many statements fail, a few of them are explained.
func TestValuesAreBounded(t *testing.T) {
	var evidence []Evidence
	for i := range 100 {
		evidence = append(evidence, statement(fmt.Sprintf("%03d", i), evaluation, `{"v":0}`))
	}
	d := load(t, quoted(`predicate.v == 1`)).Evaluate(model, evidence, now)
	explained := 0
	for _, s := range requirement(t, d, "r").NearMisses {
		if s.Values != nil {
			explained++
		}
	}
	if explained != 20 {
		t.Errorf("%d are explained", explained)
	}
	long := "predicate.v == 0" + strings.Repeat(" && predicate.v == 0", 20) + " && predicate.v == 1"
	if r := requirement(t, load(t, quoted(long)).Evaluate(model, evidence[:1], now), "r"); len(r.Values) != 8 {
		t.Errorf("%d values", len(r.Values))
	}
}

// An expression that could never be evaluated is an error of Load.
func TestCostEstimate(t *testing.T) {
	list := "[" + strings.Repeat("1,", 300) + "1]"
	loadFails(t, policyText(quoted(list+".map(a, "+list+".map(b, "+list+".map(c, a + b + c))).size() == 0")), "the limit is 1000000")
	list = "[" + strings.Repeat("1,", 200) + "1]"
	if _, err := Load([]byte(policyText(quoted(list+".map(a, "+list+".map(b, a + b)).size() == 0"))), options()); err != nil {
		t.Error(err)
	}
}
