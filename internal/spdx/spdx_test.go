package spdx

import (
	"errors"
	"strings"
	"testing"
)

var wellFormed = []string{
	"MIT", "GPL-2.0+", "Apache-2.0 OR MIT", "(MIT AND BSD-3-Clause) OR GPL-3.0-only WITH Classpath-exception-2.0", "LicenseRef-llama-3.1",
	"DocumentRef-spdx-tool-1.2:LicenseRef-MIT-Style-2", "MIT and Apache-2.0", "((MIT))", "NONE", "NOASSERTION", "GPL-2.0-only WITH AdditionRef-own",
	"GPL-2.0-only with DocumentRef-x:AdditionRef-own OR 0BSD",
}

var illFormed = []string{
	"", " ", "MIT OR", "OR MIT", "MIT MIT", "(MIT", "MIT)", "()", "MIT And Apache-2.0", "llama 3", "a_b", "LicenseRef-", "MIT WITH", "MIT WITH (x)", "NONE OR MIT",
	"AND", "MIT WITH LicenseRef-x", "AdditionRef-x", "XLicenseRef-y", "MIT++", "+", strings.Repeat("(", 100) + "MIT" + strings.Repeat(")", 100), strings.Repeat("a", MaxBytes+1),
	"MIT\x00", "MIT;rm",
}

func TestCheck(t *testing.T) {
	for _, text := range wellFormed {
		if err := Check(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range illFormed {
		if err := Check(text); !errors.Is(err, ErrExpression) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// FuzzCheck: two expressions joined are one, and nothing joined with what is none is.
func FuzzCheck(f *testing.F) {
	for _, text := range append(wellFormed, illFormed...) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ok := Check(text) == nil
		word := text == None || text == NoAssertion
		if len(text) > MaxBytes-20 {
			return
		}
		if joined := Check("MIT AND ("+text+")") == nil; joined != (ok && !word) && strings.Count(text, "(") < maxDepth && balanced(text) {
			t.Errorf("%q: alone %t, joined %t", text, ok, joined)
		}
	})
}

// balanced reports that no parenthesis of text closes one outside of it.
func balanced(text string) bool {
	open := 0
	for _, c := range text {
		switch c {
		case '(':
			open++
		case ')':
			if open--; open < 0 {
				return false
			}
		}
	}
	return open == 0
}
