package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/signer"
	"github.com/mlseal/mlseal/internal/atomicfile"
	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/objectstore"
	"github.com/mlseal/mlseal/manifest/oci"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
)

// TestExitStatus has every sentinel that reaches the command line, wrapped as it is there.
func TestExitStatus(t *testing.T) {
	for status, errs := range map[int][]error{
		statusDone: {nil},
		statusNo: {
			policies.ErrDenied, verify.ErrFailed, attest.ErrBundle, attest.ErrStatement, attest.ErrPredicate, attest.ErrOMS,
			strictjson.ErrSyntax, strictjson.ErrAmbiguous, strictjson.ErrLimit,
			oci.ErrContent, oci.ErrNotPackage, oci.ErrLimit, oci.ErrExtra, oci.ErrNotFound, oci.ErrNotLayout, errTooLarge, errMixed,
			manifest.ErrName, manifest.ErrEmpty, manifest.ErrSymlink, manifest.ErrSpecial, manifest.ErrChanged, manifest.ErrTooMany, objectstore.ErrListing,
		},
		statusUsage: {
			usage(errors.New("flag")), policies.ErrPolicy, oci.ErrReference, signer.ErrKey, signer.ErrCertificate,
			signer.ErrPassword, signer.ErrPasswordNeeded, verify.ErrKey, atomicfile.ErrExists, missing(oci.ErrNotFound),
		},
		statusNotDecided: {oci.ErrUnavailable, fs.ErrPermission, syscall.ENOSPC, context.Canceled, errors.New("anything else")},
	} {
		for _, err := range errs {
			wrapped := err
			if err != nil {
				wrapped = fmt.Errorf("somewhere: %w", fmt.Errorf("deeper: %w", err))
			}
			if got := exitStatus(wrapped); got != status {
				t.Errorf("%v: status %d, want %d", err, got, status)
			}
		}
	}
}
