package trust

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/verify"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tuf"
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

// FetchTimeout bounds how long FetchRoot waits for the network.
const FetchTimeout = 30 * time.Second

// FetchRoot gets the trusted root of Sigstore's public-good instance, or of its staging instance, with TUF: from the
// network, checked against the root of TUF that sigstore-go carries and kept in TUF's cache below the home
// directory. The error wraps verify.ErrNoRoot.
func FetchRoot(ctx context.Context, staging bool) (*Root, error) {
	ctx, cancel := context.WithTimeout(ctx, FetchTimeout)
	defer cancel()
	opts := tuf.DefaultOptions().WithContext(ctx)
	if staging {
		opts = opts.WithRoot(tuf.StagingRoot()).WithRepositoryBaseURL(tuf.StagingMirror)
	}
	type outcome struct {
		material root.TrustedMaterial
		err      error
	}
	done := make(chan outcome, 1) // TUF's downloads do not heed the context
	go func() {
		material, err := root.FetchTrustedRootWithOptions(opts)
		done <- outcome{material, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, fmt.Errorf("trust: %w: TUF: %w", verify.ErrNoRoot, o.err)
		}
		return &Root{material: o.material}, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("trust: %w: TUF: %w", verify.ErrNoRoot, ctx.Err())
	}
}
