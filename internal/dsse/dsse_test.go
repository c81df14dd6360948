package dsse

import "testing"

// TestHeader has the example of DSSE v1.0, protocol.md.
func TestHeader(t *testing.T) {
	if got, want := Header("http://example.com/HelloWorld", len("hello world"))+"hello world", "DSSEv1 29 http://example.com/HelloWorld 11 hello world"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
