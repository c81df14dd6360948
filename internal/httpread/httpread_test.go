package httpread

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

var errBusy = errors.New("busy")

// patient does not wait; it keeps the times that it would have waited.
func patient(waits *[]time.Duration) Retry {
	return Retry{MaxWait: 5 * time.Second, Wait: func(_ context.Context, d time.Duration) error { *waits = append(*waits, d); return nil }}
}

func TestRetry(t *testing.T) {
	var waits []time.Duration
	var notes []string
	r := patient(&waits)
	r.Note = func(text string) { notes = append(notes, text) }
	for failures, want := range []error{nil, nil, errBusy} {
		waits, notes = nil, nil
		failures *= MaxAttempts - 1
		n := 0
		err := r.Do(t.Context(), func() error {
			if n++; n > failures {
				return nil
			}
			return fmt.Errorf("far: %w", Again{Err: errBusy})
		})
		if !errors.Is(err, want) {
			t.Errorf("%d failures: %v, want %v", failures, err, want)
		}
		var again Again
		if errors.As(err, &again) {
			t.Error("whoever calls it could take it for one that is worth trying again")
		}
		if len(waits) != min(failures, MaxAttempts-1) || len(notes) != len(waits) || !slices.IsSorted(waits) {
			t.Errorf("%d failures: waited %v, noted %q", failures, waits, notes)
		}
	}
	if slices.Max(waits) > r.MaxWait || waits[0] < firstWait || notes[0] != "busy; trying again" {
		t.Errorf("waited %v, noted %q", waits, notes)
	}
}

func TestRetryAsked(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{3 * time.Second: 3 * time.Second, time.Hour: 5 * time.Second} {
		var waits []time.Duration
		_ = patient(&waits).Do(t.Context(), func() error {
			if len(waits) > 0 {
				return nil
			}
			return Again{errBusy, asked}
		})
		if !slices.Equal(waits, []time.Duration{want}) {
			t.Errorf("asked for %v, waited %v", asked, waits)
		}
	}
}

func TestRetryEnds(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	defer cancel(why)
	for _, wait := range []func(context.Context, time.Duration) error{nil, func(context.Context, time.Duration) error { return why }} {
		err := Retry{MaxWait: time.Hour, Wait: wait}.Do(ctx, func() error {
			time.AfterFunc(time.Millisecond, func() { cancel(why) })
			return Again{errBusy, time.Hour}
		})
		if !errors.Is(err, why) {
			t.Error(err)
		}
	}
	if err := (Retry{}).Do(ctx, func() error { return errBusy }); !errors.Is(err, errBusy) {
		t.Errorf("an error that is no Again: %v", err)
	}
	if err := (Retry{}).Do(ctx, func() error { return Again{Err: errBusy} }); !errors.Is(err, why) {
		t.Errorf("after the end: %v", err)
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:80": true, "127.0.0.1": true, "127.9.0.1:5000": true, "::1": true, "[::1]": true, "[::1]:80": true,
		"": false, "example.test": false, "localhost.example.test": false, "10.0.0.1:80": false, "0.0.0.0": false, "[fe80::1]:80": false,
	} {
		if got := IsLoopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

// TestClient: a redirect is an answer, and what fails says nothing of the address.
func TestClient(t *testing.T) {
	s := httptest.NewServer(http.RedirectHandler("https://example.test/elsewhere", http.StatusFound))
	client := NewClient(NewTransport())
	resp, err := client.Get(s.URL)
	if err != nil || resp.StatusCode != http.StatusFound {
		t.Fatalf("%v, %v", resp, err)
	}
	_ = resp.Body.Close()
	s.Close()
	_, err = client.Get(s.URL + "/?signature=hidden")
	if err == nil || !strings.Contains(err.Error(), "hidden") || strings.Contains(WithoutURL(err).Error(), "hidden") || !errors.Is(WithoutURL(errBusy), errBusy) {
		t.Error(err)
	}
}
