package oci

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// impatient shortens the limits for one test.
func impatient(t *testing.T) {
	t.Helper()
	old := usualPatience
	usualPatience = patience{400 * time.Millisecond, 800 * time.Millisecond, 400 * time.Millisecond}
	t.Cleanup(func() { usualPatience = old })
}

// silent accepts connections and never answers.
func silent(t *testing.T) Target {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	r := newRegistry(t, true)
	r.host = listener.Addr().String()
	return r.open(t)
}

func inTime(t *testing.T, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it hangs")
	}
}

func TestSilentRegistry(t *testing.T) {
	impatient(t)
	target := silent(t)
	desc := describeBytes("application/octet-stream", []byte(strings.Repeat("x", 16<<20)))
	for name, do := range map[string]func() error{
		"resolve": func() error { _, err := target.Resolve(t.Context(), "v1"); return err },
		"fetch":   func() error { _, err := target.Fetch(t.Context(), desc); return err },
		"push":    func() error { return target.Push(t.Context(), desc, strings.NewReader("x")) },
		"list":    func() error { _, err := Bundles(t.Context(), target, desc); return err },
	} {
		inTime(t, func() {
			if err := do(); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no answer within") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// stall answers the requests that the method names with begin and then holds the connection.
func stall(t *testing.T, r *testRegistry, method string, begin func(http.ResponseWriter)) {
	t.Helper()
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	r.answerWith(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != method {
			return false
		}
		begin(w)
		<-end
		return true
	})
}

func TestBodyThatStandsStill(t *testing.T) {
	impatient(t)
	r := newRegistry(t, true)
	target := r.open(t)
	desc := pack(t, target, sampleTree, PackOptions{Tag: "v1"})
	stall(t, r, http.MethodGet, func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		_, _ = io.WriteString(w, `{"schemaVersion":`)
		w.(http.Flusher).Flush()
	})
	desc.Size = 1000
	inTime(t, func() {
		_, err := FetchPackage(t.Context(), target, desc)
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no bytes for") {
			t.Errorf("%v", err)
		}
	})
}

func TestUploadThatNobodyTakes(t *testing.T) {
	impatient(t)
	r := newRegistry(t, true)
	target := r.open(t)
	stall(t, r, http.MethodPut, func(http.ResponseWriter) {})
	for size, want := range map[int]string{32 << 20: "the upload stood still for", 10: "no answer within 400ms", 0: "no answer within 800ms"} {
		data := []byte(strings.Repeat("x", size))
		inTime(t, func() {
			err := target.Push(t.Context(), describeBytes("application/octet-stream", data), strings.NewReader(string(data)))
			if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), want) {
				t.Errorf("%d bytes: %v", size, err)
			}
		})
	}
	// A blob that was taken as a whole has more time to be stored.
	r = newRegistry(t, true)
	r.answerWith(func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPut {
			return false
		}
		_, _ = io.Copy(io.Discard, req.Body)
		time.Sleep(560 * time.Millisecond)
		w.WriteHeader(http.StatusCreated)
		return true
	})
	usualPatience.commit, usualPatience.idle = time.Minute, time.Minute
	data := strings.Repeat("y", bufferedBlob+1)
	err := r.open(t).Push(t.Context(), describeBytes("application/octet-stream", []byte(data)), strings.NewReader(data))
	if err != nil {
		t.Errorf("slow to store: %v", err)
	}
}

// Whatever the cause, a cancelled call wraps context.Canceled. signal.NotifyContext has one of its own.
func TestCancelledRequests(t *testing.T) {
	target := silent(t)
	r := newRegistry(t, true)
	flowing := r.open(t)
	desc := pack(t, flowing, sampleTree, PackOptions{Tag: "v1"})
	begun := make(chan struct{}, 10)
	stall(t, r, http.MethodGet, func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
		_, _ = io.WriteString(w, `{`)
		w.(http.Flusher).Flush()
		begun <- struct{}{}
	})
	desc.Size = 1000
	for name, do := range map[string]func(context.Context) error{
		"before the answer": func(ctx context.Context) error { _, err := target.Resolve(ctx, "v1"); return err },
		"in the body":       func(ctx context.Context) error { _, err := FetchPackage(ctx, flowing, desc); return err },
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			if name == "in the body" {
				<-begun
			}
			time.Sleep(50 * time.Millisecond)
			cancel(errors.New("interrupt signal received"))
		}()
		inTime(t, func() {
			if err := do(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}
