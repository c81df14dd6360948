// Package verify answers: are these the bytes that were signed, who says what about them, and
// does the policy allow them? It turns bundles into evidence, binds evidence to the artifact by digest,
// follows lineage one step, and lets the policy decide. It opens no network connection and no file: statements
// about dependencies come from a Source that the caller provides, and who signed a bundle is said by an Anchor, of which
// verify/trust has several kinds: this package knows no cryptography.
//
// Three kinds of outcome are kept apart: a decision or check that says no (an error that wraps
// ErrFailed or policies.ErrDenied), input that is not understood (which is a no as well), and
// not having been able to look (every other error).
package verify

import "errors"

// ErrFailed is wrapped by the error of every check that finished and said no.
var ErrFailed = errors.New("verification failed")
