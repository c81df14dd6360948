package policies

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

const (
	maxExplained = 20 // conditions that one decision explains
	maxValues    = 8  // comparisons of one condition that are shown
	// explainCost is what the evaluation that failed may have cost: noting every value takes far longer than computing it, and CEL
	// does not hold such an evaluation to a limit.
	explainCost = 5000
)

// traced is a condition that is evaluated once more, to say why it failed. It costs time and memory, and is made when it is
// needed.
type traced struct {
	env     *cel.Env
	ast     *cel.Ast
	once    sync.Once
	program cel.Program
}

// noHints estimates the cost of an expression for a statement of which nothing is known.
type noHints struct{}

// EstimateSize implements checker.CostEstimator.
func (noHints) EstimateSize(checker.AstNode) *checker.SizeEstimate { return nil }

// EstimateCallCost implements checker.CostEstimator.
func (noHints) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// values lists the comparisons in the condition with the values that they compared, as in dec("0.6") >= dec("0.7") -> false.
func (t *traced) values(variables map[string]any) []string {
	t.once.Do(func() {
		t.program, _ = t.env.Program(t.ast, cel.EvalOptions(cel.OptTrackState))
	})
	if t.program == nil {
		return nil
	}
	_, details, _ := t.program.Eval(variables)
	if details == nil || details.State() == nil {
		return nil
	}
	root := t.ast.NativeRep().Expr()
	repeated := map[int64]bool{}
	ast.PreOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.ComprehensionKind {
			ast.PreOrderVisit(e.AsComprehension().LoopStep(), ast.NewExprVisitor(func(inner ast.Expr) { repeated[inner.ID()] = true }))
		}
	}))
	var out []string
	ast.PreOrderVisit(root, ast.NewExprVisitor(func(e ast.Expr) {
		line, ok := comparisonLine(e, details.State())
		if !ok || len(out) == maxValues {
			return
		}
		if repeated[e.ID()] {
			line += ", for the last element that was looked at"
		}
		out = append(out, line)
	}))
	return out
}

// comparisonLine shows one comparison, if it is one and was evaluated.
func comparisonLine(e ast.Expr, state interpreter.EvalState) (string, bool) {
	if e.Kind() != ast.CallKind || len(e.AsCall().Args()) != 2 || !strictCosts()[e.AsCall().FunctionName()] {
		return "", false
	}
	result, ok := state.Value(e.ID())
	if !ok {
		return "", false
	}
	var operands []string
	for _, arg := range e.AsCall().Args() {
		v, ok := state.Value(arg.ID())
		if !ok && arg.Kind() == ast.LiteralKind {
			v, ok = arg.AsLiteral(), true
		}
		if !ok || types.IsError(v) { // the reason says it
			return "", false
		}
		operands = append(operands, valueText(v))
	}
	sign := strings.TrimSuffix(e.AsCall().FunctionName(), "()")
	return fmt.Sprintf("%s %s %s -> %s", operands[0], sign, operands[1], valueText(result)), true
}

// valueText shows a value in a line: as it would be written, or how large it is.
func valueText(v ref.Val) string {
	switch v := v.(type) {
	case decimal:
		return `dec("` + decimalString(v.rat) + `")`
	case types.String:
		return foreign(strconv.Quote(string(v)))
	case types.Timestamp:
		return v.UTC().Format(time.RFC3339)
	case types.Null:
		return "null"
	case *types.Err:
		return "error: " + foreign(v.Error())
	case traits.Lister, traits.Mapper:
		if s, ok := v.(traits.Sizer); ok {
			return fmt.Sprintf("a %s of %v", v.Type().TypeName(), s.Size().Value())
		}
	}
	return foreign(fmt.Sprint(v.Value()))
}

// decimalString writes a number without an exponent; all decimals of the language have an end.
func decimalString(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	return strings.TrimRight(r.FloatString(MaxDecimalDigits), "0")
}
