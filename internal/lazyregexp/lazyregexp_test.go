package lazyregexp

import (
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
)

func TestRegexp(t *testing.T) {
	const text = `([a-z]+)-([0-9]+)`
	const in = "ab-1 cd-22"
	lazy, eager := New(text), regexp.MustCompile(text)
	for name, pair := range map[string][2]any{
		"String":                  {lazy.String(), eager.String()},
		"MatchString":             {lazy.MatchString(in), eager.MatchString(in)},
		"FindAllString":           {lazy.FindAllString(in, -1), eager.FindAllString(in, -1)},
		"FindStringSubmatch":      {lazy.FindStringSubmatch(in), eager.FindStringSubmatch(in)},
		"FindStringSubmatchIndex": {lazy.FindStringSubmatchIndex(in), eager.FindStringSubmatchIndex(in)},
		"FindAllStringSubmatch":   {lazy.FindAllStringSubmatch(in, 1), eager.FindAllStringSubmatch(in, 1)},
		"ReplaceAllString":        {lazy.ReplaceAllString(in, "$2"), eager.ReplaceAllString(in, "$2")},
		"ReplaceAllStringFunc":    {lazy.ReplaceAllStringFunc(in, strings.ToUpper), eager.ReplaceAllStringFunc(in, strings.ToUpper)},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: %v, regexp has %v", name, pair[0], pair[1])
		}
	}
}

// TestFirstUse: many may be the first to use one; and a wrong one panics no earlier.
func TestFirstUse(t *testing.T) {
	lazy := New(`^a+$`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if !lazy.MatchString("aaa") {
				t.Error("no match")
			}
		})
	}
	wg.Wait()
	wrong := New(`(`)
	defer func() {
		if recover() == nil {
			t.Error("a wrong expression was used")
		}
	}()
	wrong.MatchString("")
}

var kept *Regexp

// TestNewIsFree: what it takes to have an expression does not grow with the expression.
func TestNewIsFree(t *testing.T) {
	if n := testing.AllocsPerRun(10, func() { kept = New(`([a-z]{1,100}){1,10}`) }); n > 1 {
		t.Errorf("New makes %v allocations", n)
	}
}
