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

	"github.com/mlseal/mlseal/verify/trust"
)

// ErrFailed is wrapped by the error of every check that finished and said no.
var ErrFailed = errors.New("verification failed")

// Status is how a check ended. The zero value is NotDone.
type Status = trust.Status

// The ways in which a check ends.
const (
	NotDone = trust.NotDone
	Passed  = trust.Passed
	Failed  = trust.Failed
)

// Check is one thing that was looked at, or was not and why.
type Check = trust.Check
