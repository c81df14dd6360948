// Package spdx reads SPDX license expressions (SPDX 3.0.1, Annex B). It checks how an expression is written, and does not know
// which licenses are on SPDX's list: that list grows, and a reviewer may be ahead of it.
package spdx

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Limits of an expression.
const (
	MaxBytes = 4096
	maxDepth = 64
)

// ErrExpression says that a text is no license expression.
var ErrExpression = errors.New("not an SPDX license expression")

// Words that stand in place of an expression: there is no license, and nobody says which.
const (
	None        = "NONE"
	NoAssertion = "NOASSERTION"
)

var (
	// SPDX 3.0.1 Annex B.2: idstring = 1*(ALPHA / DIGIT / "-" / "." ).
	identifier = compiledOnce(`^[A-Za-z0-9.-]+$`)
	token      = compiledOnce(`[()]|[^\s()]+`)
	// "LicenseRef-"(idstring), and with the document that defines it "DocumentRef-"(idstring)":" before it; exceptions have AdditionRef- likewise.
	reference = compiledOnce(`^(DocumentRef-[A-Za-z0-9.-]+:)?(LicenseRef|AdditionRef)-[A-Za-z0-9.-]+$`)
)

// compiledOnce leaves the work to the first use: most commands read no license.
func compiledOnce(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

// Check reports how text fails to be a license expression, NONE or NOASSERTION; the error wraps ErrExpression.
func Check(text string) error {
	if text == None || text == NoAssertion {
		return nil
	}
	if len(text) > MaxBytes {
		return fmt.Errorf("%w: longer than %d bytes", ErrExpression, MaxBytes)
	}
	p := &parser{tokens: token().FindAllString(text, -1)}
	if err := p.expression(0); err != nil {
		return err
	}
	if t := p.peek(); t != "" {
		return fmt.Errorf("%w: %q: AND, OR or nothing is wanted before %q", ErrExpression, text, t)
	}
	return nil
}

type parser struct{ tokens []string }

func (p *parser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *parser) next() string {
	t := p.peek()
	if t != "" {
		p.tokens = p.tokens[1:]
	}
	return t
}

// operator takes one of the words, which Annex B.2 wants all upper or all lower case.
func (p *parser) operator(words ...string) bool {
	for _, word := range words {
		if t := p.peek(); t == word || t == strings.ToLower(word) {
			p.next()
			return true
		}
	}
	return false
}

// expression is terms with AND or OR between them. Which of both binds more strongly makes no difference to whether it is well formed.
func (p *parser) expression(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: more than %d parentheses in one another", ErrExpression, maxDepth)
	}
	for {
		if err := p.term(depth); err != nil {
			return err
		}
		if !p.operator("AND", "OR") {
			return nil
		}
	}
}

// term is a license, with an exception or without, or an expression in parentheses.
func (p *parser) term(depth int) error {
	t := p.next()
	switch {
	case t == "":
		return fmt.Errorf("%w: a license is missing at its end", ErrExpression)
	case t == "(":
		if err := p.expression(depth + 1); err != nil {
			return err
		}
		if p.next() != ")" {
			return fmt.Errorf("%w: a closing parenthesis is missing", ErrExpression)
		}
		return nil
	case !isLicense(t):
		return fmt.Errorf("%w: %q is no license identifier: letters, digits, `-` and `.` only; one that SPDX does not list is written LicenseRef-NAME", ErrExpression, t)
	}
	if !p.operator("WITH") {
		return nil
	}
	if t := p.next(); !isException(t) {
		return fmt.Errorf("%w: an exception is wanted behind WITH, not %q", ErrExpression, t)
	}
	return nil
}

// isLicense tells simple expressions: an identifier, one with "+" for later versions too, or a reference.
func isLicense(t string) bool {
	if strings.Contains(t, "Ref-") {
		return reference().MatchString(t) && !strings.Contains(t, "AdditionRef-")
	}
	return isName(strings.TrimSuffix(t, "+"))
}

// isException tells what stands behind WITH: an identifier, or a reference to an addition.
func isException(t string) bool {
	if strings.Contains(t, "Ref-") {
		return reference().MatchString(t) && strings.Contains(t, "AdditionRef-")
	}
	return isName(t)
}

// isName tells identifiers from the words of the language.
func isName(t string) bool {
	switch strings.ToUpper(t) {
	case "AND", "OR", "WITH", None, NoAssertion:
		return false
	}
	return identifier().MatchString(t)
}
