package policies

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"github.com/mlseal/mlseal/internal/escape"
)

// Bounds of a `where` expression.
const (
	// MaxExpressionLength is the number of characters of the longest expression that is compiled.
	MaxExpressionLength = 4096
	// MaxExpressionCost is what one evaluation may cost, in CEL's units: about one a step.
	MaxExpressionCost = 1_000_000
)

// condition is one `where` expression, compiled.
type condition struct {
	text    string
	line    int
	program cel.Program
	traced  *traced
}

// facts are what an expression may ask about.
type facts struct {
	evidence *Evidence
	subject  Subject
	now      time.Time
	params   map[string]param
}

// environment is built once; it holds no state.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	opts := []cel.EnvOption{
		cel.CustomTypeAdapter(exactAdapter{types.DefaultTypeAdapter}),
		cel.ParserExpressionSizeLimit(MaxExpressionLength),
		cel.ParserRecursionLimit(50),
		cel.Variable("predicate", cel.DynType),
		cel.Variable("statement", cel.DynType),
		cel.Variable("subject", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("signer", cel.ListType(cel.StringType)),
		cel.Variable("now", cel.TimestampType),
		cel.Variable("timestamp", cel.TimestampType),
		cel.Function("dec",
			cel.Overload("dec_string", []*cel.Type{cel.StringType}, decimalType),
			cel.Overload("dec_int", []*cel.Type{cel.IntType}, decimalType),
			cel.Overload("dec_decimal", []*cel.Type{decimalType}, decimalType),
			cel.SingletonUnaryBinding(toDecimal)),
	}
	return cel.NewEnv(append(opts, strictOptions()...)...)
})

// compile accepts expressions that are certain to be a bool.
func (l *loader) compile(text string) (condition, error) {
	if l.env == nil {
		env, err := environment()
		if err != nil {
			return condition{}, err
		}
		var params []cel.EnvOption
		for _, name := range slices.Sorted(maps.Keys(l.policy.params)) {
			params = append(params, cel.Variable("params."+name, l.policy.params[name].kind.celType()))
		}
		if l.env, err = env.Extend(params...); err != nil {
			return condition{}, err
		}
	}
	env := l.env
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		return condition{}, firstIssue(issues)
	}
	if err := checkFloats(parsed); err != nil {
		return condition{}, err
	}
	checked, issues := env.Check(parsed)
	if issues.Err() != nil {
		return condition{}, firstIssue(issues)
	}
	switch t := checked.OutputType(); {
	case t.IsExactType(cel.DynType):
		return condition{}, errors.New("the expression may be anything; it must be a bool: compare it, as in predicate.passed == true")
	case !t.IsExactType(cel.BoolType):
		return condition{}, fmt.Errorf("the expression is a %s; it must be a bool", t)
	}
	if estimate, err := env.EstimateCost(checked, noHints{}); err == nil && estimate.Min > MaxExpressionCost {
		return condition{}, fmt.Errorf("the expression takes at least %d steps, whatever the statement is; the limit is %d", estimate.Min, MaxExpressionCost)
	}
	program, err := env.Program(checked, cel.CostLimit(MaxExpressionCost), cel.CostTracking(strictCosts()))
	if err != nil {
		return condition{}, err
	}
	return condition{text: oneLine(text), program: program, traced: &traced{env: env, ast: checked}}, nil
}

// checkFloats refuses what would make a float: 0.7 is another number as a float, and a
// threshold must not depend on it.
func checkFloats(parsed *cel.Ast) error {
	var err error
	ast.PostOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch {
		case e.Kind() == ast.LiteralKind && e.AsLiteral().Type() == types.DoubleType:
			err = errors.New(`a floating-point literal; write dec("0.70"), which is exact`)
		case e.Kind() == ast.CallKind && e.AsCall().FunctionName() == "double":
			err = errors.New("double() makes a floating-point number; use dec(), which is exact")
		}
	}))
	return err
}

// firstIssue is the checker's first complaint with its place in the expression.
func firstIssue(issues *cel.Issues) error {
	if all := issues.Errors(); len(all) > 0 {
		return fmt.Errorf("%d:%d: %s", all[0].Location.Line(), all[0].Location.Column()+1, all[0].Message)
	}
	return issues.Err()
}

// holds evaluates the expression. An error is never a yes: a missing key is a claim that was
// not made.
func (c condition) holds(f facts) (Code, string) {
	code, reason, _ := c.evaluate(f)
	return code, reason
}

// evaluate says whether the condition holds, and what it cost to find out.
func (c condition) evaluate(f facts) (code Code, reason string, cost uint64) {
	out, details, err := c.program.Eval(f.variables())
	if cost = MaxExpressionCost; details != nil && details.ActualCost() != nil {
		cost = *details.ActualCost()
	}
	switch {
	case err != nil:
		return ConditionError, escape.Line(fmt.Sprintf("%s: %v", c.text, err)), cost
	case out == types.True:
		return "", "", cost
	case out == types.False:
		return ConditionFalse, escape.Line(c.text) + " is false", cost
	}
	return ConditionError, escape.Line(c.text) + ": the value is not a bool", cost
}

func (f facts) variables() map[string]any {
	digests := map[string]any{}
	for k, v := range f.subject.Digests {
		digests[k] = v
	}
	var at any = types.NewErr("nothing says when the statement was made")
	if f.evidence.timed() {
		at = f.evidence.Time
	}
	out := map[string]any{
		"statement": f.evidence.Statement,
		"predicate": f.evidence.Statement["predicate"],
		"subject":   map[string]any{"name": f.subject.Name, "digests": digests},
		"signer":    f.evidence.SignedBy,
		"now":       f.now,
		"timestamp": at,
	}
	addParams(out, f.params)
	return out
}

// exactAdapter lets expressions read decoded JSON in place, numbers without loss.
type exactAdapter struct{ types.Adapter }

// NativeToValue implements types.Adapter.
func (a exactAdapter) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case json.Number:
		return number(v)
	case map[string]any:
		return types.NewStringInterfaceMap(a, v)
	case []any:
		return types.NewDynamicList(a, v)
	case float32, float64:
		return types.NewErr("the statement was decoded with floating-point numbers")
	}
	return a.Adapter.NativeToValue(v)
}

// oneLine shows an expression of several lines in one.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
