// Package compose makes the predicates that people write: approvals, license reviews, revocations, waivers and inventories of evidence.
//
// A Form knows which values its predicate has, which of them must be there, and how each is written. Answers come from flags, and what is missing
// from an Asker, which asks a person; the package itself knows no terminal, no clock and no store. What Build returns satisfies the schema of its
// type (attest.CheckPredicate).
package compose

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
)

// Errors that callers branch on.
var (
	// ErrAnswer says that a value is not what the form takes.
	ErrAnswer = errors.New("not a usable value")
	// ErrMissing says that values are missing and that nobody can be asked.
	ErrMissing = errors.New("values are missing")
)

// maxAttempts is how often one question is asked: an Asker that answers the same for ever must not keep a command from ending.
const maxAttempts = 20

// Facts are what a form builds on beside its answers.
type Facts struct {
	Now time.Time
	// Artifact are the digests of what the statement is about, as far as they are known before it is signed.
	Artifact map[string]string
	// Statements are those about the artifact, as they were found: an inventory lists them, an approver chooses those that were read.
	Statements []Statement
	// Resolve makes a resource of the name of an artifact; nil where names stand for themselves.
	Resolve func(name string) (Resource, error)
}

// Statement is one that was found with an artifact.
type Statement struct {
	PredicateType string
	Digest        string // attest.ID of its bundle: "sha256:<hex>"
	MediaType     string // of the bundle
	// SignedBy says for people who signed it, or that this was not verified.
	SignedBy string
}

// Resource names something by its address, its digests or both (in-toto ResourceDescriptor).
type Resource struct {
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

// Question is one value of a predicate.
type Question struct {
	Name    string   // of the flag, and of the answer
	About   string   // what it is, for people
	Show    []string // lines that are shown before it is asked
	Choices []string
	Default string // what no answer means; nothing where it is empty
	// Optional questions may stay without an answer. Asked ones are asked for all the same.
	Optional, Asked bool
	Repeated        bool // several answers are taken

	need  func(Answers) bool // whether an optional one must be answered, by the answers before; nil for never
	check func(string) error // nil takes any text
	key   string             // in the predicate; empty when the form's own build puts it there
	value func(string) (any, error)
}

// Answers are the values given, by the name of the question.
type Answers map[string][]string

// first is the only answer to a question; empty when there is none.
func (a Answers) first(name string) string {
	if len(a[name]) == 0 {
		return ""
	}
	return a[name][0]
}

// Form makes predicates of one type.
type Form struct {
	Name      string // short name of the type
	About     string
	Questions []Question

	facts Facts
	build func(Answers, map[string]any) error // what the questions alone do not say; nil for nothing
}

// Asker asks a person.
type Asker interface {
	// Ask returns the line that answers the question; empty for none. problem says what was wrong with the answer before.
	Ask(ctx context.Context, q Question, problem string) (string, error)
}

// Kinds lists the names of all forms, as ShortNames of package attest has them.
func Kinds() []string {
	return []string{"approval", "license-review", "evidence-set", "revocation", "waiver"}
}

// New returns the form of a kind, nil for a kind that has none.
func New(kind string, facts Facts) *Form {
	facts.Now = facts.Now.UTC().Truncate(time.Second)
	switch kind {
	case "approval":
		return approval(facts)
	case "license-review":
		return licenseReview(facts)
	case "evidence-set":
		return evidenceSet(facts)
	case "revocation":
		return revocation(facts)
	case "waiver":
		return waiver(facts)
	}
	return nil
}

// Fill checks the answers that are given and has the others asked for. Without an asker the error says all that is missing at once,
// and wraps ErrMissing; about an answer that was given it wraps ErrAnswer.
func (f *Form) Fill(ctx context.Context, given Answers, asker Asker) (Answers, error) {
	answers := Answers{}
	var missing []string
	for _, q := range f.Questions {
		if q.need != nil && q.need(answers) {
			q.Optional = false
		}
		values, err := f.answer(ctx, q, given[q.Name], asker)
		switch {
		case errors.Is(err, ErrMissing):
			missing = append(missing, "--"+q.Name)
		case err != nil:
			return nil, err
		case len(values) > 0:
			answers[q.Name] = values
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%s: %w: %s", f.Name, ErrMissing, strings.Join(missing, ", "))
	}
	return answers, nil
}

// answer is what was given for a question, or what a person says.
func (f *Form) answer(ctx context.Context, q Question, given []string, asker Asker) ([]string, error) {
	given = slices.DeleteFunc(slices.Clone(given), func(s string) bool { return strings.TrimSpace(s) == "" })
	if len(given) > 0 {
		for _, value := range given {
			if err := q.Check(value); err != nil {
				return nil, fmt.Errorf("--%s %s: %w", q.Name, value, err)
			}
		}
		return given, nil
	}
	if asker == nil || q.Optional && !q.Asked {
		return q.none()
	}
	problem := ""
	for range maxAttempts {
		line, err := asker.Ask(ctx, q, problem)
		if err != nil {
			return nil, err
		}
		line = strings.TrimSpace(line)
		if line == "" {
			if values, err := q.none(); err == nil {
				return values, nil
			}
			problem = "an answer is needed"
			continue
		}
		if err := q.Check(line); err != nil {
			problem = err.Error()
			continue
		}
		return []string{line}, nil
	}
	return nil, fmt.Errorf("--%s: %w: asked %d times: %s", q.Name, ErrAnswer, maxAttempts, problem)
}

// none is what no answer means.
func (q Question) none() ([]string, error) {
	switch {
	case q.Default != "":
		return []string{q.Default}, nil
	case q.Optional:
		return nil, nil
	}
	return nil, ErrMissing
}

// Check reports how value is no answer; the error wraps ErrAnswer.
func (q Question) Check(value string) error {
	if len(value) > maxText {
		return fmt.Errorf("%w: longer than %d bytes", ErrAnswer, maxText)
	}
	if len(q.Choices) > 0 && !slices.Contains(q.Choices, value) {
		return fmt.Errorf("%w: want one of %s", ErrAnswer, strings.Join(q.Choices, ", "))
	}
	if q.check != nil {
		if err := q.check(value); err != nil {
			return fmt.Errorf("%w: %w", ErrAnswer, err)
		}
	}
	return nil
}

// maxText is what the schemas allow for a text.
const maxText = 4096

// Build makes the predicate of answers that Fill returned. It holds it to its schema.
func (f *Form) Build(answers Answers) (json.RawMessage, error) {
	predicate := map[string]any{"timestamp": stamp(f.facts.Now)}
	for _, q := range f.Questions {
		if q.key == "" || len(answers[q.Name]) == 0 {
			continue
		}
		var values []any
		for _, text := range answers[q.Name] {
			value := any(text)
			if q.value != nil {
				var err error
				if value, err = q.value(text); err != nil {
					return nil, fmt.Errorf("--%s %s: %w", q.Name, text, err)
				}
			}
			values = append(values, value)
		}
		if q.Repeated {
			predicate[q.key] = values
		} else {
			predicate[q.key] = values[0]
		}
	}
	if f.build != nil {
		if err := f.build(answers, predicate); err != nil {
			return nil, err
		}
	}
	data, err := json.Marshal(predicate)
	if err != nil {
		return nil, err
	}
	uri, _ := attest.PredicateType(f.Name)
	return data, attest.CheckPredicate(uri, data)
}

// stamp writes a time as the schemas have it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// digestSet writes "sha256:<hex>" as a DigestSet.
func digestSet(id string) map[string]string {
	return map[string]string{"sha256": strings.TrimPrefix(id, "sha256:")}
}
