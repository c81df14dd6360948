// Package tufclient gets files of Sigstore's public-good or staging instance with TUF.
package tufclient

import (
	"context"
	"time"

	"github.com/sigstore/sigstore-go/pkg/tuf"
)

// Timeout bounds how long Fetch waits for the network.
const Timeout = 30 * time.Second

// Fetch gets a target file from the network, checked against the root of TUF that sigstore-go carries and
// kept in TUF's cache below the home directory (The Update Framework specification, section 5).
func Fetch(ctx context.Context, staging bool, target string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	opts := tuf.DefaultOptions().WithContext(ctx)
	if staging {
		opts = opts.WithRoot(tuf.StagingRoot()).WithRepositoryBaseURL(tuf.StagingMirror)
	}
	type outcome struct {
		data []byte
		err  error
	}
	done := make(chan outcome, 1) // TUF's downloads do not heed the context
	go func() {
		client, err := tuf.New(opts)
		if err != nil {
			done <- outcome{err: err}
			return
		}
		data, err := client.GetTarget(target)
		done <- outcome{data, err}
	}()
	select {
	case o := <-done:
		return o.data, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
