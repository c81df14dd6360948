package policies

import (
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/parser"
)

// CEL says that 1 == "1" is false and hence that 1 != "1" is true: a condition such as
// `r.result != "FAILED"` passes when a producer writes a boolean. The comparisons are therefore
// replaced, at the parser, by functions that refuse to compare values of different types, and
// that know decimals. all() is replaced in the same way: over an empty list it would be true.

// comparison is one operator and what takes its place. The function has the operator's sign as
// its name, so that the type checker's messages read as the author wrote the expression.
type comparison struct {
	operator, sign, overload string
	binding                  func(l, r ref.Val) ref.Val
}

var comparisons = []comparison{
	{operators.Equals, "==", "policy_equal", strictEqual},
	{operators.NotEquals, "!=", "policy_not_equal", strictNotEqual},
	{operators.Less, "<", "policy_less", ordered(func(c types.Int) bool { return c < 0 })},
	{operators.LessEquals, "<=", "policy_less_equal", ordered(func(c types.Int) bool { return c <= 0 })},
	{operators.Greater, ">", "policy_greater", ordered(func(c types.Int) bool { return c > 0 })},
	{operators.GreaterEquals, ">=", "policy_greater_equal", ordered(func(c types.Int) bool { return c >= 0 })},
}

const (
	inFunction  = "in()" // "in" itself is an old name of CEL's own
	allFunction = "all()"
)

// strictOptions are the parts of the environment that replace CEL's own.
func strictOptions() []cel.EnvOption {
	a, b := cel.TypeParamType("A"), cel.TypeParamType("B")
	list, dict := cel.ListType(a), cel.MapType(a, b)
	opts := []cel.EnvOption{
		cel.Function(inFunction,
			cel.Overload("policy_in_list", []*cel.Type{a, list}, cel.BoolType),
			cel.Overload("policy_in_map", []*cel.Type{a, dict}, cel.BoolType),
			cel.SingletonBinaryBinding(strictIn)),
		cel.Function(allFunction,
			cel.Overload("policy_all_list", []*cel.Type{list}, list),
			cel.Overload("policy_all_map", []*cel.Type{dict}, dict),
			cel.SingletonUnaryBinding(notEmpty)),
		cel.Macros(callInstead(operators.In, inFunction), cel.ReceiverMacro(operators.All, 2, expandAll)),
	}
	for _, c := range comparisons {
		opts = append(opts,
			cel.Function(c.sign, cel.Overload(c.overload, []*cel.Type{a, a}, cel.BoolType, cel.BinaryBinding(c.binding))),
			cel.Macros(callInstead(c.operator, c.sign)))
	}
	return opts
}

// stepCosts makes the replacements cost what they walk over; a function without a price of its
// own counts as one step. It goes by the function's name: for a dyn no overload is known.
type stepCosts map[string]bool

func strictCosts() stepCosts {
	costs := stepCosts{inFunction: true}
	for _, c := range comparisons {
		costs[c.sign] = true
	}
	return costs
}

// CallCost implements interpreter.ActualCostEstimator; nil leaves the price to CEL.
func (s stepCosts) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	if !s[function] {
		return nil
	}
	cost := uint64(1)
	for _, a := range args {
		if sizer, ok := a.(traits.Sizer); ok {
			if n, ok := sizer.Size().(types.Int); ok && n > 0 {
				cost += uint64(n)
			}
		}
	}
	return &cost
}

func callInstead(operator, function string) cel.Macro {
	return cel.GlobalMacro(operator, 2, func(eh cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *common.Error) {
		return eh.NewCall(function, args...), nil
	})
}

func expandAll(eh cel.MacroExprFactory, target ast.Expr, args []ast.Expr) (ast.Expr, *common.Error) {
	return parser.MakeAll(eh, eh.NewCall(allFunction, target), args)
}

func notEmpty(v ref.Val) ref.Val {
	if s, ok := v.(traits.Sizer); ok && s.Size() == types.IntZero {
		return types.NewErr("all() over an empty %s: nothing was checked", v.Type().TypeName())
	}
	return v
}

// exact compares two numbers of which at least one is a decimal; ok is false for all else.
func exact(l, r ref.Val) (order types.Int, ok bool) {
	if l.Type() != decimalType && r.Type() != decimalType {
		return 0, false
	}
	a, isNumber := asDecimal(l)
	b, areNumbers := asDecimal(r)
	if !isNumber || !areNumbers {
		return 0, false
	}
	return types.Int(a.rat.Cmp(b.rat)), true
}

func asDecimal(v ref.Val) (decimal, bool) {
	if v.Type() != types.IntType && v.Type() != decimalType {
		return decimal{}, false
	}
	d, ok := toDecimal(v).(decimal)
	return d, ok
}

func strictEqual(l, r ref.Val) ref.Val {
	if order, ok := exact(l, r); ok {
		return types.Bool(order == 0)
	}
	if l.Type().TypeName() != r.Type().TypeName() && l != types.NullValue && r != types.NullValue {
		return mixed(l, r)
	}
	if a, ok := l.(traits.Lister); ok {
		if b, ok := r.(traits.Lister); ok {
			return equalLists(a, b)
		}
	}
	if a, ok := l.(traits.Mapper); ok {
		if b, ok := r.(traits.Mapper); ok {
			return equalMaps(a, b)
		}
	}
	return types.Equal(l, r)
}

// equalLists compares what is in two lists as strictly as they are themselves: an element that cannot be compared is an error, unless
// another one differs.
func equalLists(a, b traits.Lister) ref.Val {
	if a.Size() != b.Size() {
		return types.False
	}
	var result ref.Val = types.True
	for i, j := a.Iterator(), b.Iterator(); i.HasNext() == types.True && j.HasNext() == types.True; {
		switch equal := strictEqual(i.Next(), j.Next()); {
		case equal == types.False:
			return types.False
		case equal != types.True:
			result = equal
		}
	}
	return result
}

func equalMaps(a, b traits.Mapper) ref.Val {
	if a.Size() != b.Size() {
		return types.False
	}
	var result ref.Val = types.True
	for i := a.Iterator(); i.HasNext() == types.True; {
		key := i.Next()
		other, ok := b.Find(key)
		if !ok {
			return types.False
		}
		switch equal := strictEqual(a.Get(key), other); {
		case equal == types.False:
			return types.False
		case equal != types.True:
			result = equal
		}
	}
	return result
}

func strictNotEqual(l, r ref.Val) ref.Val {
	equal := strictEqual(l, r)
	if b, ok := equal.(types.Bool); ok {
		return !b
	}
	return equal
}

func ordered(holds func(types.Int) bool) func(l, r ref.Val) ref.Val {
	return func(l, r ref.Val) ref.Val {
		if order, ok := exact(l, r); ok {
			return types.Bool(holds(order))
		}
		c, ok := l.(traits.Comparer)
		if !ok || l.Type().TypeName() != r.Type().TypeName() || l.Type() == types.BoolType {
			return mixed(l, r)
		}
		order, ok := c.Compare(r).(types.Int)
		if !ok {
			return mixed(l, r)
		}
		return types.Bool(holds(order))
	}
}

func mixed(l, r ref.Val) ref.Val {
	return types.WrapErr(fmt.Errorf("a %s is not compared with a %s", l.Type().TypeName(), r.Type().TypeName()))
}

// strictIn is true when an element equals v; when none does but some could not be compared, it
// is an error, so that `!(x in list)` does not pass for an x of the wrong type.
func strictIn(v, in ref.Val) ref.Val {
	if m, ok := in.(traits.Mapper); ok {
		if _, ok := v.(types.String); !ok {
			return types.NewErr("a %s is not a key", v.Type().TypeName())
		}
		return m.Contains(v)
	}
	list, ok := in.(traits.Lister)
	if !ok {
		return types.NewErr("in needs a list or a map, not a %s", in.Type().TypeName())
	}
	var result ref.Val = types.False
	for it := list.Iterator(); it.HasNext() == types.True; {
		switch equal := strictEqual(v, it.Next()); {
		case equal == types.True:
			return types.True
		case types.IsError(equal):
			result = equal
		}
	}
	return result
}
