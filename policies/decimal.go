package policies

import (
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"strconv"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/mlseal/mlseal/internal/lazyregexp"
)

// MaxDecimalDigits bounds a number when it is written without an exponent, so that a statement
// cannot make the policy compute with 1e999999999.
const MaxDecimalDigits = 100

var decimalType = cel.OpaqueType("decimal")

// decimal is an exact number. There are no floats in the language: 0.7 has no float, and 2^53+1
// has none either.
type decimal struct{ rat *big.Rat }

// RFC 8259 section 6, "number".
var decimalText = lazyregexp.New(`^(-?)(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]{1,6}))?$`)

// parseDecimal reads a JSON number exactly.
func parseDecimal(s string) (decimal, error) {
	if len(s) > 2*MaxDecimalDigits {
		return decimal{}, fmt.Errorf("a number of %d characters; at most %d digits are read", len(s), MaxDecimalDigits)
	}
	m := decimalText.FindStringSubmatch(s)
	if m == nil {
		return decimal{}, fmt.Errorf("%q is not a decimal number", s)
	}
	exponent, _ := strconv.Atoi(m[4]) // "" is 0
	before, behind := len(m[2])+exponent, len(m[3])-exponent
	if max(before, 1)+max(behind, 0) > MaxDecimalDigits {
		return decimal{}, fmt.Errorf("%q has more than %d digits", s, MaxDecimalDigits)
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return decimal{}, fmt.Errorf("%q is not a decimal number", s)
	}
	return decimal{r}, nil
}

// number gives a JSON number its value in CEL: an int when it is one that fits, whichever way
// it is written (1, 1.0, 1e0), and an exact decimal otherwise.
func number(n json.Number) ref.Val {
	// Most numbers are small and plain, and an expression may read them a million times.
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil && strconv.FormatInt(i, 10) == n.String() {
		return types.Int(i)
	}
	d, err := parseDecimal(n.String())
	if err != nil {
		return types.WrapErr(err)
	}
	if d.rat.IsInt() && d.rat.Num().IsInt64() {
		return types.Int(d.rat.Num().Int64())
	}
	return d
}

// toDecimal is the function dec.
func toDecimal(v ref.Val) ref.Val {
	switch v := v.(type) {
	case types.String:
		d, err := parseDecimal(string(v))
		if err != nil {
			return types.WrapErr(err)
		}
		return d
	case types.Int:
		return decimal{new(big.Rat).SetInt64(int64(v))}
	case decimal:
		return v
	}
	return types.MaybeNoSuchOverloadErr(v)
}

// ConvertToNative implements ref.Val; a decimal never leaves CEL.
func (d decimal) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a decimal does not convert to %v", t)
}

// ConvertToType implements ref.Val.
func (d decimal) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return decimalType
	}
	return types.NewErr("a decimal does not convert to %s", t.TypeName())
}

// Equal implements ref.Val, for decimals inside lists and maps that are compared as a whole.
func (d decimal) Equal(other ref.Val) ref.Val {
	o, ok := other.(decimal)
	return types.Bool(ok && d.rat.Cmp(o.rat) == 0)
}

// Type implements ref.Val.
func (d decimal) Type() ref.Type { return decimalType }

// Value implements ref.Val.
func (d decimal) Value() any { return d.rat }
