package policies_test

import (
	"strings"
	"testing"

	. "github.com/mlseal/mlseal/policies"
)

// quoted puts an expression into a rule on evaluations.
func quoted(where string) string {
	return "require:\n  - id: r\n    attestation: evaluation\n    by: [ci]\n    where: '" + strings.ReplaceAll(where, "'", "''") + "'\n"
}

func TestWhere(t *testing.T) {
	for name, c := range map[string]struct {
		where, predicate string
		code             Code
	}{
		"true":                         {`predicate.ok == true`, `{"ok":true}`, ""},
		"false":                        {`predicate.ok == true`, `{"ok":false}`, ConditionFalse},
		"missing key":                  {`predicate.ok == true`, `{}`, ConditionError},
		"missing key, negated":         {`!(predicate.ok == true)`, `{}`, ConditionError},
		"missing key beside true":      {`predicate.x == 1 || true`, `{}`, ""},
		"missing key beside false":     {`predicate.x == 1 || false`, `{}`, ConditionError},
		"missing key, has":             {`!has(predicate.x)`, `{}`, ""},
		"predicate is null":            {`predicate.x == 1`, `null`, ConditionError},
		"predicate is a list":          {`predicate.x == 1`, `[]`, ConditionError},
		"null":                         {`predicate.x == null`, `{"x":null}`, ""},
		"not null":                     {`predicate.x != null`, `{"x":1}`, ""},
		"statement":                    {`statement.predicate.x == 1`, `{"x":1}`, ""},
		"signer":                       {`"ci" in signer`, `{}`, ""},
		"subject":                      {`subject.digests["sha256"] == "` + h("a") + `" && subject.name == "model"`, `{}`, ""},
		"now and timestamp":            {`now - timestamp == duration("1h")`, `{}`, ""},
		"time of another type":         {`predicate.t < now`, `{"t":"2020-01-01T00:00:00Z"}`, ConditionError},
		"time":                         {`timestamp(predicate.t) < now`, `{"t":"2020-01-01T00:00:00Z"}`, ""},
		"the words are not the value":  {`predicate.result == "PASSED"`, `{"result":"passed"}`, ConditionFalse},
		"true is not the value":        {`predicate.result == "PASSED"`, `{"result":true}`, ConditionError},
		"true is not FAILED":           {`predicate.result != "FAILED"`, `{"result":true}`, ConditionError},
		"a number is not a string":     {`predicate.x != "1"`, `{"x":1}`, ConditionError},
		"in":                           {`predicate.l in ["MIT", "ISC"]`, `{"l":"MIT"}`, ""},
		"not in":                       {`predicate.l in ["MIT", "ISC"]`, `{"l":"mit"}`, ConditionFalse},
		"in, other type":               {`!(predicate.l in ["GPL"])`, `{"l":["GPL"]}`, ConditionError},
		"in a map":                     {`"a" in predicate.m`, `{"m":{"a":1}}`, ""},
		"in a map, other type":         {`!(predicate.k in predicate.m)`, `{"k":1,"m":{"1":1}}`, ConditionError},
		"in a string":                  {`predicate.k in predicate.m`, `{"k":"a","m":"abc"}`, ConditionError},
		"all":                          {`predicate.r.all(x, x.ok == true)`, `{"r":[{"ok":true},{"ok":true}]}`, ""},
		"all, one false":               {`predicate.r.all(x, x.ok == true)`, `{"r":[{"ok":true},{"ok":false}]}`, ConditionFalse},
		"all, a bool of JSON":          {`predicate.r.all(x, x.ok)`, `{"r":[{"ok":true}]}`, ""},
		"all, one missing":             {`predicate.r.all(x, x.ok == true)`, `{"r":[{"ok":true},{}]}`, ConditionError},
		"all, empty results list":      {`predicate.r.all(x, x.ok == true)`, `{"r":[]}`, ConditionError},
		"all, empty object":            {`predicate.r.all(x, x.ok == true)`, `{"r":{}}`, ConditionError},
		"all, empty after a filter":    {`predicate.r.filter(x, x.m == "acc").all(x, x.ok == true)`, `{"r":[{"m":"f1"}]}`, ConditionError},
		"all, inner":                   {`predicate.r.all(x, x.all(y, y > 0))`, `{"r":[[1],[]]}`, ConditionError},
		"all, null":                    {`predicate.r.all(x, x.ok == true)`, `{"r":null}`, ConditionError},
		"all over keys":                {`predicate.p.all(k, k in ["a", "b"])`, `{"p":{"a":1}}`, ""},
		"all over keys, unknown":       {`predicate.p.all(k, k in ["a", "b"])`, `{"p":{"a":1,"c":1}}`, ConditionFalse},
		"exists":                       {`predicate.r.exists(x, x > 1)`, `{"r":[1,2]}`, ""},
		"exists, empty":                {`predicate.r.exists(x, x > 1)`, `{"r":[]}`, ConditionFalse},
		"int":                          {`predicate.n == 7 && predicate.n >= 7 && predicate.n < 8`, `{"n":7}`, ""},
		"int spelled as a decimal":     {`predicate.n == 7`, `{"n":7.0}`, ""},
		"int spelled with an exponent": {`predicate.n == 700`, `{"n":7e2}`, ""},
		"number":                       {`dec(predicate.n) >= dec("0.70")`, `{"n":0.70}`, ""},
		"number, less":                 {`dec(predicate.n) >= dec("0.70")`, `{"n":0.6999999999999999999999}`, ConditionFalse},
		"number as a string":           {`dec(predicate.n) >= dec("0.70")`, `{"n":"0.70"}`, ""},
		"number without dec":           {`predicate.n >= dec("0.70")`, `{"n":0.7}`, ""},
		"string without dec":           {`predicate.n >= dec("0.70")`, `{"n":"0.7"}`, ConditionError},
		"number against an int":        {`predicate.n > 0 && predicate.n < 1 && 1 > predicate.n && predicate.n != 1`, `{"n":0.5}`, ""},
		"number beside an int":         {`1 != predicate.n && dec("1.0") == predicate.one`, `{"n":1.5,"one":1}`, ""},
		"int is not unequal to it":     {`predicate.one != dec("1.0")`, `{"one":1}`, ConditionFalse},
		"decimals":                     {`dec("0.1") < dec("0.2") && dec("0.10") == dec("0.1") && dec("0.1") != dec("0.2") && dec("2") <= dec(2) && dec("-1") > dec("-1.5")`, `{}`, ""},
		"decimals in a list":           {`predicate.n in [dec("0.5")]`, `{"n":0.50}`, ""},
		"lists of decimals":            {`predicate.a == predicate.b`, `{"a":[0.5,{"x":1}],"b":[0.50,{"x":1.0}]}`, ""},
		"no floats":                    {`dec(predicate.n) == dec("0.1")`, `{"n":0.1000000000000000055511151231257827}`, ConditionFalse},
		"2^53+1":                       {`predicate.n == 9007199254740993 && dec(predicate.n) > dec("9007199254740992")`, `{"n":9007199254740993}`, ""},
		"2^53+1 is not 2^53":           {`dec(predicate.n) == dec("9007199254740992")`, `{"n":9007199254740993}`, ConditionFalse},
		"2^53+1 with a point":          {`predicate.n == 9007199254740993`, `{"n":9007199254740993.0}`, ""},
		"beyond int64":                 {`dec(predicate.n) == dec("9223372036854775808") && predicate.n > 9223372036854775807`, `{"n":9223372036854775808}`, ""},
		"1e400":                        {`dec(predicate.n) > dec("0")`, `{"n":1e400}`, ConditionError},
		"1e400, any use":               {`predicate.n != 0`, `{"n":1e400}`, ConditionError},
		"1e-400":                       {`predicate.n != 0`, `{"n":1e-400}`, ConditionError},
		"1e999999999":                  {`predicate.n != 0`, `{"n":1e999999999}`, ConditionError},
		"1e400 as a string":            {`dec(predicate.n) > dec("0")`, `{"n":"1e400"}`, ConditionError},
		"100 digits":                   {`dec(predicate.n) > dec("0")`, `{"n":1e99}`, ""},
		"101 digits":                   {`dec(predicate.n) > dec("0")`, `{"n":1e100}`, ConditionError},
		"dec of text":                  {`dec(predicate.n) >= dec("0")`, `{"n":"abc"}`, ConditionError},
		"dec of NaN":                   {`dec(predicate.n) >= dec("0")`, `{"n":"NaN"}`, ConditionError},
		"dec of Infinity":              {`dec(predicate.n) >= dec("0")`, `{"n":"Infinity"}`, ConditionError},
		"dec of nothing":               {`dec(predicate.n) >= dec("0")`, `{"n":""}`, ConditionError},
		"dec of a plus":                {`dec(predicate.n) >= dec("0")`, `{"n":"+1"}`, ConditionError},
		"dec of a space":               {`dec(predicate.n) >= dec("0")`, `{"n":" 1"}`, ConditionError},
		"dec of a fraction":            {`dec(predicate.n) >= dec("0")`, `{"n":"1/2"}`, ConditionError},
		"dec of hexadecimal":           {`dec(predicate.n) >= dec("0")`, `{"n":"0x10"}`, ConditionError},
		"dec of a comma":               {`dec(predicate.n) >= dec("0")`, `{"n":"0,7"}`, ConditionError},
		"dec of a bool":                {`dec(predicate.n) >= dec("0")`, `{"n":true}`, ConditionError},
		"dec of null":                  {`dec(predicate.n) >= dec("0")`, `{"n":null}`, ConditionError},
		"type of a number":             {`type(predicate.n) == type(dec("1")) && type(predicate.i) == int`, `{"n":0.5,"i":5.0}`, ""},
		"no string of a decimal":       {`string(predicate.n) == "0.5"`, `{"n":0.5}`, ConditionError},
		"bools have no order":          {`predicate.a < predicate.b`, `{"a":false,"b":true}`, ConditionError},
		"a value is not code":          {`predicate.x == "a"`, `{"x":"\" || true || \""}`, ConditionFalse},
		"division by zero":             {`1 / predicate.n == 1`, `{"n":0}`, ConditionError},
		"cost":                         {`predicate.r.all(a, predicate.r.all(b, predicate.r.all(c, a + b + c > 0)))`, `{"r":[` + strings.Repeat("1,", 300) + `1]}`, ConditionError},
		"cost of in":                   {`predicate.r.all(a, predicate.r.all(b, !(0 in predicate.r)))`, `{"r":[` + strings.Repeat("1,", 300) + `1]}`, ConditionError},
	} {
		t.Run(name, func(t *testing.T) {
			d := want(t, load(t, quoted(c.where)), "r", c.code, statement("1", evaluation, c.predicate))
			if r := requirement(t, d, "r"); c.code != "" && !strings.Contains(r.Detail, c.where) {
				t.Errorf("the detail does not name the expression: %s", r.Detail)
			}
		})
	}
}

func TestWhereWithoutTime(t *testing.T) {
	p := load(t, quoted(`timestamp < now`))
	want(t, p, "r", "", statement("1", evaluation, `{}`))
	want(t, p, "r", ConditionError, statement("1", evaluation, `{}`, untimed))
}

// A caller that decodes JSON without json.Number has lost digits already.
func TestWhereWithFloats(t *testing.T) {
	ev := statement("1", evaluation, `{}`)
	ev.Statement["predicate"] = map[string]any{"n": 1.0, "list": []any{float32(1)}}
	want(t, load(t, quoted(`predicate.n != 0`)), "r", ConditionError, ev)
	want(t, load(t, quoted(`predicate.list[0] != 0`)), "r", ConditionError, ev)
	ev.Statement = nil
	want(t, load(t, quoted(`predicate.n != 0`)), "r", ConditionError, ev)
}

func TestWhereDoesNotCompile(t *testing.T) {
	for name, c := range map[string]struct{ where, message string }{
		"string":           {`"yes"`, "the expression is a string; it must be a bool"},
		"int":              {`1`, "the expression is a int"},
		"dyn":              {`predicate.name`, "the expression may be anything; it must be a bool"},
		"dyn of a choice":  {`true ? predicate.x : false`, "it must be a bool"},
		"decimal":          {`dec("1")`, "the expression is a decimal"},
		"float":            {`predicate.x > 0.7`, `write dec("0.70")`},
		"float in a macro": {`predicate.r.all(x, x > -1e3)`, `write dec("0.70")`},
		"double":           {`double(predicate.x) > double(1)`, "use dec()"},
		"dec of a bool":    {`dec(true) == dec("1")`, "no matching overload for 'dec'"},
		"int and string":   {`1 == "1"`, "no matching overload for '=='"},
		"decimal and int":  {`dec("1") > 0`, "no matching overload for '>'"},
		"unknown name":     {`params.x == 1`, "undeclared reference to 'params'"},
		"unknown function": {`env("HOME") == "x"`, "undeclared reference to 'env'"},
		"syntax":           {`predicate.x ==`, "Syntax error"},
		"all of a string":  {`"abc".all(x, true)`, "no matching overload for 'all()'"},
		"long":             {`true` + strings.Repeat(" || true", 600), "exceeds"},
		"deep":             {strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300), "p.yaml:14:12: where: "},
	} {
		t.Run(name, func(t *testing.T) {
			loadFails(t, policyText(quoted(c.where)), "p.yaml:14:12: where: ")
			loadFails(t, policyText(quoted(c.where)), c.message)
		})
	}
}
