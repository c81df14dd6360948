// Package parallel runs pieces of work a few at a time. A panic in one of them is raised again in the
// caller, where it can be recovered: in a goroutine of its own it would end the process.
package parallel

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Do calls do for 0 to n-1, at most limit at once (0 means one for each processor), and returns the first
// error, after which no more are started. It panics when a piece of work did.
func Do(ctx context.Context, n, limit int, do func(ctx context.Context, i int) error) error {
	if limit <= 0 {
		limit = runtime.GOMAXPROCS(0)
	}
	g, workers := errgroup.WithContext(ctx)
	var once sync.Once
	var panicked any
	guarded := func(i int) (err error) {
		defer func() {
			if p := recover(); p != nil {
				once.Do(func() { panicked = fmt.Sprintf("%v\n%s", p, debug.Stack()) })
				err = fmt.Errorf("panic: %v", p)
			}
		}()
		return do(workers, i)
	}
	// A goroutine does one piece after another: with one for each piece, a hundred thousand small files grow as many stacks.
	var next atomic.Int64
	for range min(n, limit) {
		g.Go(func() error {
			for workers.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := guarded(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	if panicked != nil {
		panic(panicked)
	}
	if err != nil {
		return err
	}
	return ctx.Err()
}
