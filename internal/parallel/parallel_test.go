package parallel

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
)

func TestDo(t *testing.T) {
	var done, running, most atomic.Int64
	err := Do(context.Background(), 100, 3, func(context.Context, int) error {
		now := running.Add(1)
		for {
			old := most.Load()
			if now <= old || most.CompareAndSwap(old, now) {
				break
			}
		}
		done.Add(1)
		running.Add(-1)
		return nil
	})
	if err != nil || done.Load() != 100 || most.Load() > 3 {
		t.Errorf("%d done, %d at once, error %v", done.Load(), most.Load(), err)
	}
	failure := errors.New("no")
	done.Store(0)
	err = Do(context.Background(), 1000, 1, func(_ context.Context, i int) error {
		done.Add(1)
		if i == 5 {
			return failure
		}
		return nil
	})
	if !errors.Is(err, failure) || done.Load() > 10 {
		t.Errorf("%d done after a failure, error %v", done.Load(), err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Do(ctx, 3, 0, func(context.Context, int) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestPanicReachesTheCaller(t *testing.T) {
	defer func() {
		if p, ok := recover().(string); !ok || !strings.HasPrefix(p, "boom") {
			t.Errorf("recovered %q", p)
		}
	}()
	_ = Do(context.Background(), 3, 2, func(context.Context, int) error { panic("boom") })
	t.Error("no panic")
}
