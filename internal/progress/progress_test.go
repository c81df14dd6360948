package progress

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.0 kB", 1500: "1.5 kB", 999_949: "999.9 kB", 999_950: "1.0 MB", 2_147_483_648: "2.1 GB", 5_000_000_000_000_000: "5.0 PB", 5_000_000_000_000_000_000: "5000.0 PB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) is %q, want %q", n, got, want)
		}
	}
}

func TestMeter(t *testing.T) {
	var quick bytes.Buffer
	m := New(&quick, "hashing", 100)
	m.Add(50)
	m.Done()
	if quick.Len() != 0 {
		t.Errorf("quick work shows %q", quick.String())
	}
	var long bytes.Buffer
	m = New(&long, "hashing", 4000)
	m.started = time.Now().Add(-2 * time.Second)
	m.Add(2000)
	m.Add(1) // too soon to be shown
	m.Done()
	if out := long.String(); strings.Count(out, "hashing") != 1 || !strings.Contains(out, "2.0 kB of 4.0 kB  ") || !strings.HasSuffix(out, "2s left\r\x1b[K") {
		t.Errorf("shown: %q", out)
	}
}

func TestMeterWritesLines(t *testing.T) {
	var log bytes.Buffer
	m := NewLines(&log, "hashing", 4000)
	m.started = time.Now().Add(-9 * time.Second)
	m.Add(500)
	if log.Len() != 0 {
		t.Errorf("shown before ten seconds: %q", log.String())
	}
	m.started = time.Now().Add(-10 * time.Second)
	m.Add(1500)
	m.Add(1) // too soon to be shown
	m.shown = m.shown.Add(-10 * time.Second)
	m.Add(499)
	m.Done()
	lines := strings.SplitAfter(log.String(), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "hashing 2.0 kB of 4.0 kB  ") || !strings.HasSuffix(lines[0], " 10s left\n") || !strings.HasPrefix(lines[1], "hashing 2.5 kB of 4.0 kB") || lines[2] != "" {
		t.Errorf("lines: %q", lines)
	}
}
