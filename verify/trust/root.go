package trust

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/internal/tufclient"
	"github.com/mlseal/mlseal/verify"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// MaxRootBytes bounds the text of a trusted root.
const MaxRootBytes = 4 << 20

// Root is a Sigstore trusted root: the certificate authorities, logs and timestamp authorities of one or
// several Sigstore instances.
type Root struct {
	material root.TrustedMaterial
}

// ParseRoot reads a trusted root (protobuf-specs sigstore_trustroot.proto, TrustedRoot as JSON), or the one inside a
// client trust configuration (ClientTrustConfig). The error wraps verify.ErrRoot.
func ParseRoot(data []byte) (*Root, error) {
	var outer map[string]any
	if err := strictjson.Unmarshal(data, &outer, strictjson.Limits{MaxBytes: MaxRootBytes}); err != nil {
		return nil, fmt.Errorf("trust: %w: %w", verify.ErrRoot, err)
	}
	if inner, ok := outer["trustedRoot"]; ok {
		var err error
		if data, err = json.Marshal(inner); err != nil {
			return nil, fmt.Errorf("trust: %w: %w", verify.ErrRoot, err)
		}
	}
	material, err := root.NewTrustedRootFromJSON(bytes.TrimSpace(data))
	if err != nil {
		return nil, fmt.Errorf("trust: %w: %w", verify.ErrRoot, err)
	}
	return &Root{material: material}, nil
}

// FetchRoot gets the trusted root of Sigstore's public-good instance, or of its staging instance, with TUF. The error wraps
// verify.ErrNoRoot.
func FetchRoot(ctx context.Context, staging bool) (*Root, error) {
	text, err := tufclient.Fetch(ctx, staging, "trusted_root.json")
	if err != nil {
		return nil, fmt.Errorf("trust: %w: TUF: %w", verify.ErrNoRoot, err)
	}
	return ParseRoot(text)
}
