package sigstoretest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// Fault is how a service misbehaves.
type Fault int32

// The faults. The first five are of any service; a service that a later one does not name ignores it.
const (
	Sound       Fault = iota // as it should
	Refuse                   // answers 400
	Crash                    // answers 500
	Garbage                  // answers success, and something else than was asked for
	Hang                     // does not answer before the client gives up or the test ends
	NoSCT                    // Fulcio: the certificate has no SCT
	OtherKey                 // Fulcio: the certificate is for another key
	OtherDigest              // the timestamp authority: the timestamp is of another digest
)

// Server is a service on 127.0.0.1. It stops when its test ends.
type Server struct {
	URL      string // without a slash at the end
	t        testing.TB
	success  int // the status of a good answer
	fault    atomic.Int32
	requests atomic.Int64
}

// Fail makes the service misbehave from now on; Sound ends it.
func (s *Server) Fail(fault Fault) { s.fault.Store(int32(fault)) }

// Requests counts what the service was asked until now.
func (s *Server) Requests() int64 { return s.requests.Load() }

func (s *Server) fails(fault Fault) bool { return Fault(s.fault.Load()) == fault }

// start serves the routes.
func (s *Server) start(t testing.TB, success int, routes map[string]http.HandlerFunc) {
	s.t, s.success = t, success
	mux := http.NewServeMux()
	for pattern, handler := range routes {
		mux.HandleFunc(pattern, handler)
	}
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		switch Fault(s.fault.Load()) {
		case Refuse:
			http.Error(w, `{"code": 3, "message": "refused for the test"}`, http.StatusBadRequest)
		case Crash:
			http.Error(w, "broken for the test", http.StatusInternalServerError)
		case Garbage:
			w.WriteHeader(success)
			_, _ = w.Write([]byte("garbage for the test"))
		case Hang:
			select {
			case <-r.Context().Done():
			case <-ended:
			}
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(func() {
		close(ended)
		server.Close()
	})
	s.URL = server.URL
}

// answer writes a value as JSON, or the error as a bad request.
func (s *Server) answer(w http.ResponseWriter, value any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	respond(w, s.success, value)
}

func respond(w http.ResponseWriter, status int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
