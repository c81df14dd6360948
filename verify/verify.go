// Package verify answers: are these the bytes that were signed, who says what about them, and
// does the policy allow them? It turns bundles into evidence, binds evidence to the artifact by digest,
// follows lineage one step, and lets the policy decide. It opens no network connection and no file: statements
// about dependencies come from a Source that the caller provides.
//
// Three kinds of outcome are kept apart: a decision or check that says no (an error that wraps
// ErrFailed or policies.ErrDenied), input that is not understood (which is a no as well), and
// not having been able to look (every other error).
package verify

import (
	"errors"
)

// ErrFailed is wrapped by the error of every check that finished and said no.
var ErrFailed = errors.New("verification failed")

// Status is how a check ended. The zero value is NotDone.
type Status int

// The ways in which a check ends.
const (
	NotDone Status = iota
	Passed
	Failed
)

// String is "not done", "passed" or "failed".
func (s Status) String() string {
	switch s {
	case Passed:
		return "passed"
	case Failed:
		return "failed"
	}
	return "not done"
}

// MarshalText gives the status its name in JSON.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Check is one thing that was looked at, or was not and why.
type Check struct {
	Name   string `json:"check"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
}
