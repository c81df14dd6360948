package draw

import (
	"errors"
	"strings"
	"testing"
)

func TestStyle(t *testing.T) {
	for _, m := range []Mark{Passed, Failed, Waived, Warned, NotDone, Unknown} {
		if got := (Style{}).Mark(m); got != string(m) {
			t.Errorf("%s without colours is %q", m, got)
		}
		if got := (Style{Color: true}).Mark(m); !strings.HasPrefix(got, "\x1b[3") || !strings.HasSuffix(got, string(m)+"\x1b[0m") {
			t.Errorf("%s in colour is %q", m, got)
		}
	}
	s := Style{Color: true}
	if s.Mark(Passed)[:5] == s.Mark(Failed)[:5] || s.Verdict(true, "x") == s.Verdict(false, "x") || PassedIf(true) == PassedIf(false) {
		t.Error("yes and no look the same")
	}
}

func TestDigest(t *testing.T) {
	for in, want := range map[string]string{"": "", "sha256:": "sha256:", "sha256:123456789012": "sha256:123456789012", "sha256:1234567890123": "sha256:123456789012…", "nothing here to cut off": "nothing here to cut off"} {
		if got := Digest(in); got != want {
			t.Errorf("Digest(%q) is %q, want %q", in, got, want)
		}
	}
}

type full struct{ writes int }

var errFull = errors.New("full")

func (f *full) Write([]byte) (int, error) { f.writes++; return 0, errFull }

func TestLinesStop(t *testing.T) {
	to := &full{}
	l := Lines{To: to}
	l.Line("a")
	l.Line("b")
	if to.writes != 1 || !errors.Is(l.Err, errFull) {
		t.Errorf("%d writes, %v", to.writes, l.Err)
	}
}
