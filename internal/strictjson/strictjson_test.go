package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
)

func TestCheck(t *testing.T) {
	var many []string
	for i := range 3 * fewKeys {
		many = append(many, fmt.Sprintf(`"k%d":%d`, i, i))
	}
	manyKeys := strings.Join(many, ",")
	for name, tc := range map[string]struct {
		text string
		want error
	}{
		"object":                     {`{"a":{"b":[1,{"c":"}"}]},"d":"\"{"}`, nil},
		"scalar":                     {` "x" `, nil},
		"array of equal objects":     {`[{"a":1},{"a":1}]`, nil},
		"same key at two depths":     {`{"a":{"a":{"a":1}}}`, nil},
		"key as a value":             {`{"a":"b","b":"a","c":["a","b"]}`, nil},
		"surrogate pair":             {`{"\ud83d\ude00":1}`, nil},
		"many keys":                  {`{` + manyKeys + `}`, nil},
		"duplicate":                  {`{"a":1,"a":2}`, ErrAmbiguous},
		"duplicate among many":       {`{` + manyKeys + `,"k3":0}`, ErrAmbiguous},
		"case twin among many":       {`{` + manyKeys + `,"K20":0}`, ErrAmbiguous},
		"duplicate behind an object": {`{"a":{"x":1},"b":[{}],"a":2}`, ErrAmbiguous},
		"duplicate by escape":        {`{"a":1,"\u0061":2}`, ErrAmbiguous},
		"case twin":                  {`{"predicateType":1,"PREDICATETYPE":2}`, ErrAmbiguous},
		"snake twin":                 {`{"predicateType":1,"predicate_type":2}`, ErrAmbiguous},
		"hyphen twin":                {`{"sha256":1,"sha-256":2}`, ErrAmbiguous},
		"long s":                     {`{"subject":1,"\u017fubject":2}`, ErrAmbiguous},
		"Kelvin sign":                {"{\"key\":1,\"\u212aey\":2}", ErrAmbiguous},
		"case twin in Greek":         {`{"σ":1,"ς":2}`, ErrAmbiguous},
		"nested in array":            {`[[{"a":1,"a":1}]]`, ErrAmbiguous},
		"second value":               {`{} {}`, ErrAmbiguous},
		"trailing word":              {`{}x`, ErrAmbiguous},
		"byte order mark":            {"\xef\xbb\xbf{}", ErrAmbiguous},
		"not UTF-8":                  {"\"\xff\"", ErrAmbiguous},
		"lone surrogate":             {`"\udc00"`, ErrAmbiguous},
		"half a pair":                {`"\ud800x"`, ErrAmbiguous},
		"high surrogate twice":       {`"\ud800\ud800"`, ErrAmbiguous},
		"escaped backslash before u": {`"\\ud800"`, nil},
		"NUL in a key":               {`{"a\u0000":1}`, ErrAmbiguous},
		"truncated":                  {`{"a":`, ErrSyntax},
		"broken escape":              {`"\u12"`, ErrSyntax},
		"empty":                      {``, ErrSyntax},
		"comma":                      {`{"a":1,}`, ErrSyntax},
		"depth at the limit":         {strings.Repeat("[", DefaultMaxDepth) + strings.Repeat("]", DefaultMaxDepth), nil},
		"deeper":                     {strings.Repeat("[", DefaultMaxDepth+1) + strings.Repeat("]", DefaultMaxDepth+1), ErrLimit},
		"brackets in a string":       {`"` + strings.Repeat("[", 100) + `"`, nil},
		"longer than the limit":      {`"` + strings.Repeat("x", 1000) + `"`, ErrLimit},
	} {
		if err := Check([]byte(tc.text), Limits{MaxBytes: 1000}); !errors.Is(err, tc.want) {
			t.Errorf("%s: error is %v, want %v", name, err, tc.want)
		}
	}
}

func TestCheckKeys(t *testing.T) {
	for text, ok := range map[string]bool{`{"predicateType":1,"x":2}`: true, `{"predicate_type":1}`: false, `{"PredicateType":1}`: false, `{"\u017fubject":1}`: false, `[]`: false} {
		if err := CheckKeys([]byte(text), "predicateType", "subject"); (err == nil) != ok {
			t.Errorf("%s: error is %v", text, err)
		}
	}
}

// TestFoldIsNoFinerThanEncodingJSON has every letter and what encoding/json takes for it.
func TestFoldIsNoFinerThanEncodingJSON(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		for _, other := range []rune{unicode.SimpleFold(r), unicode.ToLower(r)} {
			if r != other && Fold(string(r)) != Fold(string(other)) {
				t.Errorf("%q and %q are twins, and fold to %q and %q", r, other, Fold(string(r)), Fold(string(other)))
			}
		}
	}
}

// FuzzCheck holds what passes to the property that matters: decoding loses no key.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"a":1,"b":{"a":[1,"x",null]}}`, `{"a":1,"A":2}`, `[{"a":"\ud83d\ude00"}]`, `"x"`, `{"a":"\\","b":"\""}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if Check(data, Limits{}) != nil {
			return
		}
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatalf("passes and does not decode: %v", err)
		}
		checkNoTwins(t, v)
		if got, want := countKeys(v), bytes.Count(stripStrings(data), []byte(":")); got != want {
			t.Errorf("%q: %d keys after decoding, %d in the text", data, got, want)
		}
	})
}

// checkNoTwins compares the keys of each object as encoding/json does for the fields of a struct.
func checkNoTwins(t *testing.T, v any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		for key, item := range v {
			for other := range v {
				if key != other && strings.EqualFold(key, other) {
					t.Errorf("%q and %q stand in one object", key, other)
				}
			}
			checkNoTwins(t, item)
		}
	case []any:
		for _, item := range v {
			checkNoTwins(t, item)
		}
	}
}

func countKeys(v any) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			n += 1 + countKeys(item)
		}
	case []any:
		for _, item := range v {
			n += countKeys(item)
		}
	}
	return n
}

// stripStrings leaves the structure: every ":" in it stands behind a key.
func stripStrings(data []byte) []byte {
	var out []byte
	for i := 0; i < len(data); i++ {
		if data[i] == '"' {
			i = StringEnd(data, i) - 1
			continue
		}
		out = append(out, data[i])
	}
	return out
}

func BenchmarkCheck(b *testing.B) {
	text := []byte(`[` + strings.TrimSuffix(strings.Repeat(`{"name":"model-00001.safetensors","algorithm":"sha256","digest":"6c1c5a1a2f4ed6b7c1f3f2fd9e1c0b6a1d2e3f405162738495a6b7c8d9e0f102"},`, 10000), ",") + `]`)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if err := Check(text, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
