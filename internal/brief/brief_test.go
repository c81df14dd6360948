package brief

import "testing"

func TestList(t *testing.T) {
	for want, names := range map[string][]string{"": nil, "a, b": {"a", "b"}, "a, b and 1 more": {"a", "b", "c"}, "a, b and 3 more": {"a", "b", "c", "d", "e"}} {
		if got := List(names, 2); got != want {
			t.Errorf("%v: %q, want %q", names, got, want)
		}
	}
}
