package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// tree reads a value with Object, Array and String alone.
func tree(data []byte) (any, error) {
	data = bytes.TrimSpace(data)
	switch {
	case bytes.HasPrefix(data, []byte("{")):
		object := map[string]any{}
		return object, Object(data, func(key string, value []byte) (err error) {
			object[key], err = tree(value)
			return err
		})
	case bytes.HasPrefix(data, []byte("[")):
		array := []any{}
		err := Array(data, func(value []byte) error {
			v, err := tree(value)
			array = append(array, v)
			return err
		})
		return array, err
	case bytes.HasPrefix(data, []byte(`"`)):
		return String(data)
	}
	var v any
	err := json.Unmarshal(data, &v)
	return v, err
}

var texts = []string{
	`{}`, `[]`, ` { "a" : 1 , "b" : [ true , null , -1.5e3 ] } `, `{"a":{"b":{"c":"}\"]"}},"d":"\\"}`, `["\\\\","\\\"",""]`, `"x"`, `12`,
	`{"\u0061\n":"\ud83d\ude00"}`, "[1\t,\r\n2]", `[[],{},[{}]]`, `{"a":"` + strings.Repeat(`\\`, 50) + `"}`,
}

func TestObjectAndArray(t *testing.T) {
	for _, text := range texts {
		if err := sameTree([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// sameTree compares what is read part by part with what encoding/json reads, of a text that Check passes.
func sameTree(data []byte) error {
	var want any
	if err := json.Unmarshal(data, &want); err != nil {
		return err
	}
	got, err := tree(data)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(normal(got), normal(want)) {
		return fmt.Errorf("read as %v, want %v", got, want)
	}
	return nil
}

func normal(v any) string {
	data, _ := json.Marshal(v)
	return string(data)
}

// TestPartsOfOthers: data of another kind, or none, is an error and no surprise.
func TestPartsOfOthers(t *testing.T) {
	ignore := func([]byte) error { return nil }
	member := func(string, []byte) error { return nil }
	for _, text := range []string{``, ` `, `[]`, `null`, `"{}"`, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{a:1}`, `{"a" 1}`, `{"a":}`, `{"a":1 "b":2}`, `{"a":[}`, `{"a":]}`, `{"\x":1}`} {
		if err := Object([]byte(text), member); !errors.Is(err, ErrSyntax) {
			t.Errorf("object %q: %v", text, err)
		}
	}
	for _, text := range []string{``, `{}`, `null`, `[`, `[1`, `[1,`, `[1,]`, `[,]`, `[1 2]`, `["a]`} {
		if err := Array([]byte(text), ignore); !errors.Is(err, ErrSyntax) {
			t.Errorf("array %q: %v", text, err)
		}
	}
	for _, text := range []string{``, `"`, `1`, `null`, `{"a":"` + strings.Repeat("x", 100) + `"}`, `"\x"`} {
		if _, err := String([]byte(text)); !errors.Is(err, ErrSyntax) || len(err.Error()) > 200 {
			t.Errorf("string %q: %v", text, err)
		}
	}
}

func TestPartsEndEarly(t *testing.T) {
	stop := errors.New("stop")
	calls := 0
	if err := Object([]byte(`{"a":1,"b":2}`), func(string, []byte) error { calls++; return stop }); !errors.Is(err, stop) || calls != 1 {
		t.Errorf("%v after %d members", err, calls)
	}
	if err := Array([]byte(`[1,2]`), func([]byte) error { calls++; return stop }); !errors.Is(err, stop) || calls != 2 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// TestEscapesCostNothing: the end of a string is found in one pass over it, whatever is escaped in it.
func TestEscapesCostNothing(t *testing.T) {
	for _, unit := range []string{`\\`, `\"`, `\n`} {
		text := []byte(`"` + strings.Repeat(unit, 4<<20) + `"`)
		if err := Check(text, Limits{}); err != nil {
			t.Error(err)
		}
		if end := StringEnd(text, 0); end != len(text) {
			t.Errorf("%s: the string ends at %d of %d", unit, end, len(text))
		}
	}
}

// FuzzParts: a text that Check passes reads the same part by part as by encoding/json; no text makes it panic.
func FuzzParts(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if Check(data, Limits{}) != nil {
			_, _ = tree(data)
			return
		}
		if err := sameTree(data); err != nil {
			t.Error(err)
		}
	})
}
