package policies

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

var (
	// ErrPolicy is wrapped by every error of Load: the policy document is wrong, so that no
	// decision can be asked of it.
	ErrPolicy = errors.New("invalid policy")
	// ErrDenied is wrapped by the error of a decision that does not allow.
	ErrDenied = errors.New("denied by policy")
)

// LoadError says what is wrong with a policy document, and where.
type LoadError struct {
	File         string // LoadOptions.Name
	Line, Column int    // both count from 1
	Message      string
	cause        error
}

// Error is "FILE:LINE:COLUMN: message".
func (e *LoadError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Unwrap gives ErrPolicy and, when a key file could not be read, the reader's error.
func (e *LoadError) Unwrap() []error {
	if e.cause == nil {
		return []error{ErrPolicy}
	}
	return []error{ErrPolicy, e.cause}
}

// err asks for a requirement that passed beside the verdict: a decision that was put together
// wrongly must not read as a permission.
func (d *Decision) err() error {
	if d == nil {
		return fmt.Errorf("%w: there is no decision", ErrDenied)
	}
	if d.notMatched != nil {
		return d.notMatched
	}
	var failed []string
	for _, r := range d.Requirements {
		if r.Denies() {
			failed = append(failed, fmt.Sprintf("%s: %s", r.ID, r.Code))
		}
	}
	switch {
	case len(failed) > 0:
		return fmt.Errorf("%w: %s", ErrDenied, strings.Join(failed, ", "))
	case d.Verdict != Allow || !slices.ContainsFunc(d.Requirements, func(r Requirement) bool { return r.Passed }):
		return fmt.Errorf("%w: no requirement was met", ErrDenied)
	}
	return nil
}

// Codes are all reason codes.
func Codes() []string {
	var out []string
	for _, c := range allCodes {
		out = append(out, string(c))
	}
	return out
}

// IsCode reports whether c is a reason code.
func IsCode(c Code) bool { return slices.Contains(allCodes, c) }

var allCodes = []Code{
	SignatureInvalid, SignerNotTrusted, SubjectMismatch, ContentMismatch, TypeMissing, ThresholdNotMet, EvidenceTooOld, ConditionFalse, ConditionError,
	DigestDenied, LineageGap, LineageCycle, LineageAmbiguous, OrderWrong, DutyOverlap, Revoked, PolicyExpired, PolicyRollback, WaiverExpired,
	LimitExceeded, ParseAmbiguous, StatementUnusable,
}
