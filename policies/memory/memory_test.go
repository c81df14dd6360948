package memory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var at = time.Date(2026, 11, 18, 12, 0, 0, 0, time.UTC)

func gate(version int) Policy {
	return Policy{Name: "gate", Signer: "office", Version: version, Document: fmt.Sprint("d", version), Artifact: fmt.Sprint("a", version), Place: "r.example/p:prod"}
}

func TestAccept(t *testing.T) {
	edit := func(version int, change func(*Policy)) Policy {
		p := gate(version)
		change(&p)
		return p
	}
	for name, c := range map[string]struct {
		then Policy
		err  error
		note string
	}{
		"again":                           {gate(3), nil, ""},
		"higher":                          {gate(4), nil, ""},
		"62 lower version":                {gate(2), ErrRollback, ""},
		"62 lower version, other place":   {edit(2, func(p *Policy) { p.Place = "r.example/q:prod" }), ErrRollback, ""},
		"62 lower version, by its digest": {edit(2, func(p *Policy) { p.Place = "" }), ErrRollback, ""},
		"62 one version, another policy":  {edit(3, func(p *Policy) { p.Artifact = "x" }), ErrRollback, ""},
		"62 no version":                   {edit(0, func(p *Policy) { p.Name, p.Place = "new", "" }), ErrRollback, ""},
		"62 another policy at the place":  {edit(9, func(p *Policy) { p.Name = "lax" }), ErrMisplaced, ""},
		"another policy elsewhere":        {edit(1, func(p *Policy) { p.Name, p.Place = "lax", "r.example/p:lax" }), nil, ""},
		"another signer":                  {edit(1, func(p *Policy) { p.Signer = "others" }), nil, ""},
		"follows":                         {edit(4, func(p *Policy) { p.Previous = "d3" }), nil, ""},
		"62 follows another":              {edit(4, func(p *Policy) { p.Previous = "d2" }), ErrRollback, ""},
		"follows what was not seen":       {edit(5, func(p *Policy) { p.Previous = "d4" }), nil, "which was not seen here"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "state", "policies.json")
			if _, err := Accept(t.Context(), file, gate(3), at); err != nil {
				t.Fatal(err)
			}
			before := content(t, file)
			out, err := Accept(t.Context(), file, c.then, at.Add(time.Hour))
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) || !strings.Contains(out.Note, c.note) || (out.Note == "") != (c.note == "") || out.NotKept != nil {
				t.Fatalf("%+v, %v", out, err)
			}
			if (err != nil || name == "again") != (content(t, file) == before) {
				t.Errorf("the memory is now %s", content(t, file))
			}
			if err != nil {
				return
			}
			older := c.then
			older.Version, older.Place = older.Version-1, ""
			if _, err := Accept(t.Context(), file, older, at); !errors.Is(err, ErrRollback) {
				t.Errorf("it was not remembered: %v", err)
			}
		})
	}
}

func content(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Nobody knows what a memory holds that cannot be read: it is not empty.
func TestUnreadable(t *testing.T) {
	good := filepath.Join(t.TempDir(), "good.json")
	if _, err := Accept(t.Context(), good, gate(3), at); err != nil {
		t.Fatal(err)
	}
	text := content(t, good)
	entry := text[strings.Index(text, "{\n   \"name\""):strings.Index(text, "\n  }\n ],")] + "\n  }"
	for name, broken := range map[string]string{
		"empty":            "",
		"cut":              text[:len(text)/2],
		"not JSON":         "version 7",
		"another document": text + text,
		"duplicate key":    strings.Replace(text, `"version": 3`, `"version": 9, "version": 3`, 1),
		"other format":     strings.Replace(text, "/v1", "/v2", 1),
		"no format":        "{}",
		"no version":       strings.Replace(text, `"version": 3`, `"version": 0`, 1),
		"no name":          strings.Replace(text, `"name": "gate"`, `"name": ""`, 1),
		"no digest":        strings.Replace(text, `"artifact": "a3"`, `"artifact": ""`, 1),
		"twice":            strings.Replace(text, entry, entry+","+entry, 1),
		"too large":        strings.Replace(text, `"format"`, strings.Repeat(" ", MaxBytes)+`"format"`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "policies.json")
			if broken == text {
				t.Fatal("nothing is broken")
			}
			if err := os.WriteFile(file, []byte(broken), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Accept(t.Context(), file, gate(4), at); !errors.Is(err, ErrUnreadable) {
				t.Errorf("%v", err)
			}
			if content(t, file) != broken {
				t.Error("it was written over")
			}
		})
	}
	if _, err := Accept(t.Context(), t.TempDir(), gate(4), at); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a directory: %v", err)
	}
	if _, err := Accept(t.Context(), filepath.Join(good, "x.json"), gate(4), at); !errors.Is(err, ErrUnreadable) {
		t.Errorf("below a file: %v", err)
	}
}

// Where nothing can be written a policy is compared all the same.
func TestReadOnly(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policies.json")
	if _, err := Accept(t.Context(), file, gate(3), at); err != nil {
		t.Fatal(err)
	}
	defer func(before func(string) (*os.File, error)) { openLock = before }(openLock)
	openLock = func(name string) (*os.File, error) {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.EROFS}
	}
	if out, err := Accept(t.Context(), file, gate(4), at); err != nil || !errors.Is(out.NotKept, syscall.EROFS) {
		t.Errorf("%+v %v", out, err)
	}
	if _, err := Accept(t.Context(), file, gate(2), at); !errors.Is(err, ErrRollback) {
		t.Errorf("%v", err)
	}
	if out, err := Accept(t.Context(), file, gate(3), at); err != nil || out.NotKept != nil {
		t.Errorf("what is kept already needs no writing: %+v %v", out, err)
	}
	if out, err := Accept(t.Context(), filepath.Join(filepath.Dir(file), "none.json"), gate(3), at); err != nil || out.NotKept == nil {
		t.Errorf("%+v %v", out, err)
	}
	openLock = func(name string) (*os.File, error) {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.EIO}
	}
	if _, err := Accept(t.Context(), file, gate(4), at); !errors.Is(err, ErrUnreadable) {
		t.Errorf("%v", err)
	}
}

// Many processes at one time lose nothing.
func TestTogether(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policies.json")
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			p := Policy{Name: fmt.Sprint("p", i), Signer: "office", Version: 2, Document: "d", Artifact: "a"}
			if out, err := Accept(context.Background(), file, p, at); err != nil || out.NotKept != nil {
				t.Errorf("%+v %v", out, err)
			}
		}()
	}
	wait.Wait()
	for i := range 20 {
		p := Policy{Name: fmt.Sprint("p", i), Signer: "office", Version: 1, Document: "d", Artifact: "a"}
		if _, err := Accept(t.Context(), file, p, at); !errors.Is(err, ErrRollback) {
			t.Errorf("p%d was forgotten: %v", i, err)
		}
	}
}

func TestBounds(t *testing.T) {
	m := &memory{Format: format}
	for i := range MaxPolicies {
		m.Policies = append(m.Policies, accepted{Name: fmt.Sprint(i)})
	}
	if _, _, err := m.accept(gate(1), at); !errors.Is(err, ErrUnreadable) {
		t.Errorf("%v", err)
	}
}
