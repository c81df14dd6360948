//go:build !nokms

package signer

import (
	"errors"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature/kms/gcp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func init() {
	registerKMS(kmsService{
		prefix:  gcp.ReferenceScheme,
		check:   checkGCP,
		pin:     load,
		gone:    func(err error) bool { return status.Code(err) == codes.NotFound },
		needs:   "gcpkms:// is reached as Google's libraries find credentials: GOOGLE_APPLICATION_CREDENTIALS or `gcloud auth application-default login`",
		secrets: func() []string { return nil }, // the environment names files only
	})
}

// checkGCP wants a version: sigstore's client would look for the latest one again every five minutes, and not say which it found.
func checkGCP(ref string) error {
	if err := gcp.ValidReference(ref); err != nil {
		return err
	}
	if parts := strings.Split(ref, "/"); len(parts) != 12 {
		return errors.New("name the version of the key: …/cryptoKeyVersions/N")
	}
	return nil
}
