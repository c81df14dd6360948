package strictjson

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Object calls member for each member of the JSON object data, in the order of the text: with the key as it reads and the value as it
// stands there, a part of data and no copy, so that a large text is read without being held twice. It is for data that Check passed; of
// other data it takes what it can. The error is member's own, or wraps ErrSyntax where data is no object.
func Object(data []byte, member func(key string, value []byte) error) error {
	i, err := open(data, '{', "an object")
	if err != nil {
		return err
	}
	for data[i] != '}' {
		if data[i] != '"' {
			return cut(data)
		}
		end := StringEnd(data, i)
		key, err := String(data[i:end])
		if err != nil {
			return err
		}
		if end = skipSpace(data, end); end >= len(data) || data[end] != ':' {
			return cut(data)
		}
		start := skipSpace(data, end+1)
		if end, i, err = value(data, start, '}'); err != nil {
			return err
		}
		if err := member(key, data[start:end]); err != nil {
			return err
		}
	}
	return nil
}

// Array calls element for each element of the JSON array data, as Object does for members.
func Array(data []byte, element func(value []byte) error) error {
	i, err := open(data, '[', "an array")
	if err != nil {
		return err
	}
	for data[i] != ']' {
		start, end := i, 0
		if end, i, err = value(data, start, ']'); err != nil {
			return err
		}
		if err := element(data[start:end]); err != nil {
			return err
		}
	}
	return nil
}

// String reads a JSON string. The error wraps ErrSyntax when it is none.
func String(value []byte) (string, error) {
	n := len(value)
	if n >= 2 && value[0] == '"' && value[n-1] == '"' && bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : n-1]), nil
	}
	if n == 0 || value[0] != '"' {
		return "", fmt.Errorf("%w: %s stands where a string is meant", ErrSyntax, brief(value))
	}
	var s string
	if err := json.Unmarshal(value, &s); err != nil {
		return "", syntax(err)
	}
	return s, nil
}

// open is the index of the first member or element, or of the closing bracket where there is none.
func open(data []byte, bracket byte, what string) (int, error) {
	i := skipSpace(data, 0)
	if i >= len(data) || data[i] != bracket {
		return 0, fmt.Errorf("%w: %s stands where %s is meant", ErrSyntax, brief(data[min(i, len(data)):]), what)
	}
	if i = skipSpace(data, i+1); i >= len(data) {
		return 0, cut(data)
	}
	return i, nil
}

// value finds the end of the value that starts at data[start], and where the next member or element starts, or the closing bracket.
func value(data []byte, start int, closing byte) (end, next int, err error) {
	if end = valueEnd(data, start); end == start {
		return 0, 0, cut(data)
	}
	switch next = skipSpace(data, end); {
	case next >= len(data):
		return 0, 0, cut(data)
	case data[next] == closing:
		return end, next, nil
	case data[next] != ',':
		return 0, 0, cut(data)
	}
	if next = skipSpace(data, next+1); next >= len(data) || data[next] == closing {
		return 0, 0, cut(data)
	}
	return end, next, nil
}

// valueEnd is the index behind the value that starts at data[start]; start itself where none does.
func valueEnd(data []byte, start int) int {
	depth := 0
	for i := start; i < len(data); {
		switch data[i] {
		case '"':
			i = StringEnd(data, i)
		case '{', '[':
			depth++
			i++
			continue
		case '}', ']':
			if depth == 0 {
				return i
			}
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
			i++
			continue
		default: // a number, true, false or null
			i++
			continue
		}
		if depth == 0 {
			return min(i, len(data))
		}
	}
	return len(data)
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\t' || data[i] == '\n' || data[i] == '\r') {
		i++
	}
	return i
}

// cut is the error for a text in which something is missing.
func cut(data []byte) error {
	if err := checkSyntax(data); err != nil {
		return err
	}
	return fmt.Errorf("%w: %s", ErrSyntax, brief(data))
}

// brief is the beginning of a value, for an error.
func brief(value []byte) string {
	const most = 40
	if len(value) == 0 {
		return "nothing"
	}
	if len(value) > most {
		return fmt.Sprintf("%.*q…", most, value)
	}
	return fmt.Sprintf("%q", value)
}
