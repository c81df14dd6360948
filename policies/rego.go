package policies

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Bounds of one Rego module.
const (
	MaxRegoBytes  = 256 << 10
	MaxRegoTime   = 2 * time.Second
	MaxRegoMemory = 256 << 20 // by which the heap may grow
	maxRegoShown  = 10        // messages that a decision shows
)

// regoBuiltins are the functions that a module may call: those that compute and nothing else. What is not here is not there: the
// network, the clock, chance, the environment, tracing, and those that parse other modules.
var regoBuiltins = strings.Fields(`
eq neq lt lte gt gte equal assign plus minus mul div rem round ceil floor abs and or intersection union
internal.member_2 internal.member_3 count sum product max min sort all any
array.concat array.reverse array.slice array.flatten object.get object.keys object.remove object.union object.union_n object.filter object.subset
concat contains endswith startswith indexof indexof_n lower upper replace split sprintf substring trim trim_left trim_prefix trim_right trim_space
trim_suffix strings.any_prefix_match strings.any_suffix_match strings.count strings.reverse strings.replace_n format_int to_number numbers.range
regex.match regex.is_valid regex.find_n regex.split regex.replace regex.find_all_string_submatch_n glob.match
is_array is_boolean is_null is_number is_object is_set is_string type_name
base64.decode base64.encode base64.is_valid hex.decode hex.encode json.is_valid json.marshal json.unmarshal
crypto.sha256 semver.compare semver.is_valid graph.reachable walk
time.parse_rfc3339_ns time.parse_duration_ns time.add_date time.date time.clock time.weekday time.diff time.format`)

// regoCapabilities are made once: they hold no state.
var regoCapabilities = sync.OnceValue(func() *ast.Capabilities {
	all := ast.CapabilitiesForThisVersion()
	allowed := *all
	allowed.AllowNet = []string{} // not nil, which would be everything
	allowed.Builtins = nil
	for _, b := range all.Builtins {
		if slices.Contains(regoBuiltins, b.Name) {
			allowed.Builtins = append(allowed.Builtins, b)
		}
	}
	return &allowed
})

// regoModule is one file of the policy's, compiled by itself.
type regoModule struct {
	name     string // of its package, without "data."
	digest   string // sha256 of the file
	compiler *ast.Compiler
	query    ast.Body
}

// compileRego reads a module and makes sure that it can deny: its package declares `deny contains`, and nothing in it asks for what
// is not there, which Rego would take for false.
func compileRego(file, name string, text []byte) (m *regoModule, err error) {
	defer func() {
		if r := recover(); r != nil {
			m, err = nil, fmt.Errorf("the compiler failed: %s", foreign(oneLine(fmt.Sprint(r))))
		}
	}()
	caps := regoCapabilities()
	module, err := ast.ParseModuleWithOpts(file, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: caps})
	if err != nil {
		return nil, firstRegoError(err)
	}
	path, err := ast.ParseRef("data." + name)
	if err != nil || !module.Package.Path.Equal(path) {
		return nil, fmt.Errorf("its package is %s, not %s", strings.TrimPrefix(module.Package.Path.String(), "data."), name)
	}
	if err := checkDeny(module); err != nil {
		return nil, err
	}
	if err := checkWith(module); err != nil {
		return nil, err
	}
	compiler := ast.NewCompiler().WithCapabilities(caps).WithStrict(true)
	if compiler.Compile(map[string]*ast.Module{file: module}); compiler.Failed() {
		return nil, firstRegoError(compiler.Errors)
	}
	if err := checkData(compiler.Modules[file]); err != nil {
		return nil, err
	}
	query, err := compiler.QueryCompiler().Compile(ast.NewBody(ast.Equality.Expr(ast.VarTerm("denied"), ast.NewTerm(path.Append(ast.StringTerm("deny"))))))
	if err != nil {
		return nil, firstRegoError(err)
	}
	return &regoModule{name: name, compiler: compiler, query: query}, nil
}

func firstRegoError(err error) error {
	var all ast.Errors
	if errors.As(err, &all) && len(all) > 0 {
		err = all[0]
	}
	return errors.New(foreign(oneLine(err.Error())))
}

// checkDeny asks for `deny contains`: a misspelt deny, or one that is a single value, would never deny.
func checkDeny(module *ast.Module) error {
	found := false
	for _, r := range module.Rules {
		name := r.Head.Ref().String()
		if name != "deny" && !strings.HasPrefix(name, "deny[") && !strings.HasPrefix(name, "deny.") {
			continue
		}
		if name != "deny" || r.Head.RuleKind() != ast.MultiValue || r.Default {
			return errors.New("deny is not a set; write `deny contains message if { … }`")
		}
		found = true
	}
	if !found {
		return errors.New("it does not declare `deny contains`, so that it could never deny")
	}
	return nil
}

// checkWith refuses `with`, by which a module could decide about other facts than those that it is given.
func checkWith(module *ast.Module) error {
	var err error
	ast.WalkExprs(module, func(e *ast.Expr) bool {
		if len(e.With) > 0 && err == nil {
			err = fmt.Errorf("%d:%d: `with` replaces what was verified", e.With[0].Loc().Row, e.With[0].Loc().Col)
		}
		return err != nil
	})
	return err
}

// checkData refuses references out of the package, and into it at rules that it does not have: there is no other data, and an undefined
// value makes a condition false without a word.
func checkData(module *ast.Module) error {
	rules := map[string]bool{}
	for _, r := range module.Rules {
		if name, ok := r.Head.Ref()[0].Value.(ast.Var); ok {
			rules[string(name)] = true
		}
	}
	own := module.Package.Path
	var err error
	check := func(ref ast.Ref) bool {
		if !ref[0].Equal(ast.DefaultRootDocument) || err != nil {
			return err != nil
		}
		inside := len(ref) > len(own) && ref.HasPrefix(own)
		if inside {
			name, ok := ref[len(own)].Value.(ast.String)
			inside = ok && rules[string(name)]
		}
		if !inside {
			err = fmt.Errorf("%s is not defined: a module has its own rules and input", foreign(ref.String()))
		}
		return err != nil
	}
	for _, r := range module.Rules {
		ast.WalkRefs(r, check)
	}
	return err
}

// requirementID is what a decision calls the module.
func (m *regoModule) requirementID() string { return "rego:" + m.name }

// rego asks every module about the whole evidence.
func (e *evaluation) rego() []Requirement {
	if len(e.policy.rego) == 0 {
		return nil
	}
	shown := e.regoInput()
	err := checkNumbers(shown["evidence"])
	var input ast.Value
	if err == nil {
		input, err = ast.InterfaceToValue(shown)
	}
	var out []Requirement
	for _, m := range e.policy.rego {
		r := Requirement{ID: m.requirementID(), Passed: true, Detail: "nothing to say against it"}
		var code Code
		var detail string
		if code, detail = ConditionError, "the evidence cannot be shown to it"; err == nil {
			code, detail = m.ask(input)
		} else {
			detail += ": " + foreign(oneLine(err.Error()))
		}
		if code != "" {
			r.deny(code, detail, nil)
		}
		out = append(out, r)
	}
	return out
}

// regoInput is what modules decide about: the artifact, and the statements that a signer of the policy signed.
func (e *evaluation) regoInput() map[string]any {
	evidence := []any{}
	for _, it := range e.items {
		if !it.trusted || e.policy.unwitnessed(it.Evidence) != "" {
			continue
		}
		entry := map[string]any{"id": it.ID, "predicateType": it.PredicateType, "signers": it.SignedBy, "subjects": it.Subjects,
			"statement": it.Statement, "predicate": it.Statement["predicate"]}
		if it.timed() {
			entry["time"], entry["timeSource"] = it.Time.UTC().Format(time.RFC3339), it.TimeSource
		}
		evidence = append(evidence, entry)
	}
	params := map[string]any{}
	for name, p := range e.policy.params {
		params[name] = p.value
		if _, ok := p.value.(decimal); ok {
			params[name] = p.text // a string, as in statements
		}
	}
	return map[string]any{"subject": e.subject, "evidence": evidence, "params": params, "now": e.now.UTC().Format(time.RFC3339)}
}

// maxRegoDigits bounds a number when it is written without an exponent: Rego would compute with all of its digits, and nothing
// stops it while it does. All floats of 64 bits are below.
const maxRegoDigits = 1100

// checkNumbers refuses numbers that take long to compute with.
func checkNumbers(v any) error {
	switch v := v.(type) {
	case json.Number:
		mantissa, exponent, _ := strings.Cut(strings.ToLower(v.String()), "e")
		n, err := strconv.Atoi(cmp.Or(exponent, "0"))
		if err != nil || len(mantissa) > maxRegoDigits || n > maxRegoDigits || n < -maxRegoDigits {
			return fmt.Errorf("the number %s has more than %d digits", foreign(v.String()), maxRegoDigits)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := checkNumbers(v[key]); err != nil {
				return err
			}
		}
	case []any:
		for _, e := range v {
			if err := checkNumbers(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// ask evaluates the module's deny. Whatever goes wrong denies.
func (m *regoModule) ask(input ast.Value) (code Code, detail string) {
	defer func() {
		if r := recover(); r != nil { // a bug in an interpreter must not let anything pass
			code, detail = ConditionError, "the evaluation failed: "+foreign(oneLine(fmt.Sprint(r)))
		}
	}()
	cancel := topdown.NewCancel()
	stop := limitRego(cancel)
	defer stop()
	var denied ast.Value
	err := topdown.NewQuery(m.query).WithCompiler(m.compiler).WithStore(inmem.New()).WithInput(ast.NewTerm(input)).WithCancel(cancel).
		WithStrictBuiltinErrors(true).Iter(context.Background(), func(r topdown.QueryResult) error {
		if t, ok := r["denied"]; ok {
			denied = t.Value
		}
		return nil
	})
	reason := stop()
	switch {
	case err != nil && topdown.IsCancel(err):
		return LimitExceeded, "the evaluation was stopped: " + reason
	case err != nil:
		return ConditionError, foreign(oneLine(err.Error()))
	}
	set, ok := denied.(ast.Set)
	if !ok {
		return ConditionError, "deny is undefined, or no set"
	}
	if set.Len() == 0 {
		return "", ""
	}
	var said []string
	for _, t := range set.Slice() {
		if len(said) == maxRegoShown {
			break
		}
		text := t.Value.String()
		if s, ok := t.Value.(ast.String); ok {
			text = string(s)
		}
		said = append(said, foreign(text))
	}
	return ConditionFalse, strings.Join(said, "; ")
}

// limitRego stops an evaluation that takes too long or too much memory. The function that it returns ends the watch, and says why
// it struck.
func limitRego(cancel topdown.Cancel) func() string {
	done, ended := make(chan struct{}), make(chan string)
	before := heapBytes()
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		end := time.After(MaxRegoTime)
		reason := ""
		for {
			select {
			case <-done:
				ended <- reason
				return
			case <-end:
				reason = fmt.Sprintf("it takes longer than %s", MaxRegoTime)
				cancel.Cancel()
			case <-tick.C:
				if heapBytes() > before+MaxRegoMemory {
					reason = fmt.Sprintf("it takes more than %d MiB", MaxRegoMemory>>20)
					cancel.Cancel()
				}
			}
		}
	}()
	return sync.OnceValue(func() string {
		close(done)
		return <-ended
	})
}

// heapBytes is what live and unswept objects take.
func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
