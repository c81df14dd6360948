package record

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/mlseal/mlseal/attest/link"
)

func TestLink(t *testing.T) {
	p := testPlan(t, "make")
	p.Ready = func(rec *Record) error {
		_, err := rec.Link("x")
		return err
	}
	rec, err := Run(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	l, err := rec.Link("train")
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(l.Products)); !slices.Equal(got, []string{"out/model.bin"}) {
		t.Errorf("products %q", got)
	}
	for _, name := range []string{"base.gguf", "data/a.txt"} {
		if l.Materials[name]["sha256"] == "" {
			t.Errorf("no material %s: %v", name, l.Materials)
		}
	}
	if l.Environment["mlseal_command"] != nil || l.Step != "train" || len(l.Command) == 0 {
		t.Errorf("%+v", l)
	}
}

// TestLinkReadyRefuses: what could not be written is told before the command runs.
func TestLinkReadyRefuses(t *testing.T) {
	p := testPlan(t, "make")
	p.Ready = func(*Record) error { return link.ErrLink }
	if _, err := Run(context.Background(), p); !errors.Is(err, link.ErrLink) {
		t.Fatal(err)
	}
	if _, err := openPath("out"); err == nil {
		t.Error("the command ran")
	}
}
