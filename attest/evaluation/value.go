package evaluation

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Bounds of a result file.
const (
	// MaxReportBytes is the size of the largest result file that is read.
	MaxReportBytes = 64 << 20
	// MaxValues is how many values it may hold. A log with all its samples may have more: the .eval form of it is read without them.
	MaxValues = 1 << 20
	// MaxDepth is its deepest nesting.
	MaxDepth = 64
)

// value is a JSON value whose numbers keep the text that they have in the file, and whose objects keep the order of their keys.
type value struct {
	kind byte // '{', '[', '"', '0' for a number, 'b' for a boolean, 'n' for null
	text string
	yes  bool
	list []*value
	keys []string
	at   map[string]*value
}

// get follows keys; nil when something on the way is not there. Its methods take that for null.
func (v *value) get(keys ...string) *value {
	for _, key := range keys {
		if v == nil {
			return nil
		}
		v = v.at[key]
	}
	return v
}

func (v *value) is(kind byte) bool { return v != nil && v.kind == kind }

// str is the text of a string; empty for anything else.
func (v *value) str() string {
	if v.is('"') {
		return v.text
	}
	return ""
}

// number is the text of a number; empty for anything else.
func (v *value) number() string {
	if v.is('0') {
		return v.text
	}
	return ""
}

// scalar is the text of a string or a number.
func (v *value) scalar() string {
	if v.is('0') || v.is('"') {
		return v.text
	}
	return ""
}

// decode reads one JSON value as Python writes it. A key that stands twice is refused. Keys that differ by case or by a hyphen are
// two keys, other than in a statement: the classes 1 and -1 are the commonest of all.
func decode(data []byte) (*value, error) {
	if len(data) > MaxReportBytes {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(data), MaxReportBytes)
	}
	if !utf8.Valid(data) {
		return nil, errors.New("it is not UTF-8 text")
	}
	dec := json.NewDecoder(bytes.NewReader(quoteNotNumbers(data)))
	dec.UseNumber()
	left := MaxValues
	v, err := decodeValue(dec, MaxDepth, &left)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is text behind the JSON value")
	}
	return v, nil
}

func decodeValue(dec *json.Decoder, depth int, left *int) (*value, error) {
	if depth == 0 {
		return nil, fmt.Errorf("nested deeper than %d levels", MaxDepth)
	}
	if *left--; *left < 0 {
		return nil, fmt.Errorf("more than %d values", MaxValues)
	}
	token, err := dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	switch token := token.(type) {
	case json.Delim:
		v := &value{kind: byte(token)}
		if token == '{' {
			return v, v.decodeObject(dec, depth, left)
		}
		return v, v.decodeList(dec, depth, left)
	case string:
		return &value{kind: '"', text: token}, nil
	case json.Number:
		return &value{kind: '0', text: token.String()}, nil
	case bool:
		return &value{kind: 'b', yes: token}, nil
	}
	return &value{kind: 'n'}, nil
}

func (v *value) decodeObject(dec *json.Decoder, depth int, left *int) error {
	v.at = map[string]*value{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return fmt.Errorf("not JSON: %w", err)
		}
		key, _ := token.(string) // the decoder admits no other
		if _, twice := v.at[key]; twice {
			return fmt.Errorf("the key %q stands twice in an object", key)
		}
		if v.at[key], err = decodeValue(dec, depth-1, left); err != nil {
			return err
		}
		v.keys = append(v.keys, key)
	}
	return end(dec)
}

func (v *value) decodeList(dec *json.Decoder, depth int, left *int) error {
	for dec.More() {
		entry, err := decodeValue(dec, depth-1, left)
		if err != nil {
			return err
		}
		v.list = append(v.list, entry)
	}
	return end(dec)
}

// end takes the closing bracket.
func end(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	return nil
}

// notNumbers are what Python's json writes for floats that are no numbers, and JSON does not have.
var notNumbers = []string{"NaN", "-Infinity", "Infinity"}

// quoteNotNumbers makes strings of NaN and Infinity, so that the rest of the file can be read.
func quoteNotNumbers(data []byte) []byte {
	if !bytes.Contains(data, []byte("NaN")) && !bytes.Contains(data, []byte("Infinity")) {
		return data
	}
	var out bytes.Buffer
	inString := false
scan:
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch {
		case inString && c == '\\' && i+1 < len(data):
			out.WriteByte(c)
			i++
			c = data[i]
		case c == '"':
			inString = !inString
		case !inString:
			for _, word := range notNumbers {
				if bytes.HasPrefix(data[i:], []byte(word)) {
					out.WriteString(`"` + word + `"`)
					i += len(word) - 1
					continue scan
				}
			}
		}
		out.WriteByte(c)
	}
	return out.Bytes()
}
