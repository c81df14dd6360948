// Package filelock keeps processes apart with a lock on an open file.
package filelock

import (
	"context"
	"os"
	"time"
)

const poll = 10 * time.Millisecond

// Wait takes an exclusive lock on f that ends when f is closed, or fails when ctx ends first.
func Wait(ctx context.Context, f *os.File) error {
	for {
		held, err := Try(f)
		if err != nil || !held {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(poll):
		}
	}
}
