// Package objecttest is an object store on a loopback address that speaks what package objectstore asks of S3, for tests, with faults that
// no real one shows when asked to.
package objecttest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bucket is the one bucket that there is.
const Bucket = "bucket"

// Store is the server. Its fields are changed before requests are made, or with Change.
type Store struct {
	URL string

	mu      sync.Mutex
	Objects map[string]string // contents by key
	Endless bool              // lists go on without end, and without an object
	// List, when it is not nil, gives the answer to each request for a list, in XML.
	List   func(query url.Values) string
	Page   int    // objects on one page of a list; 0 for a thousand
	Cut    int    // a connection for contents breaks off after so many bytes; 0 for never
	Busy   int    // so many requests get 503 first
	Denied bool   // nobody may list or read
	Hidden string // a key that is listed and may not be read
	// Replaced are the contents that an object has from the second request for its contents on, by key. A conditional request for the
	// earlier ones is refused, unless the server knows no conditions.
	Replaced      map[string]string
	Unconditional bool
	IgnoreRange   bool              // answer with all of an object whatever part is asked for
	SHA256        map[string]string // the hex sha256 that is stated of an object, by key
	CRC32C        bool              // the crc32c of the contents in Objects is stated; the wrong one for a key in Wrong
	Wrong         map[string]bool

	asked    map[string]int // requests for contents, by key
	unpinned int
}

// Start starts a store; closing is told what ends it.
func Start(closing func(func())) *Store {
	s := &Store{Objects: map[string]string{}, Replaced: map[string]string{}, SHA256: map[string]string{}, Wrong: map[string]bool{}, asked: map[string]int{}}
	server := httptest.NewServer(s)
	closing(server.Close)
	s.URL = server.URL
	return s
}

// Address is the address of a prefix.
func (s *Store) Address(prefix string) string {
	return "s3://" + Bucket + "/" + prefix + "?region=us-east-1&use_path_style=true&endpoint=" + url.QueryEscape(s.URL)
}

// Change changes fields while requests may be made.
func (s *Store) Change(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// Asked is how often contents were asked for, by key, since the last time.
func (s *Store) Asked() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = map[string]int{}
	return asked
}

// Unpinned is how often an object was asked for without a condition.
func (s *Store) Unpinned() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unpinned
}

// ServeHTTP implements http.Handler.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case s.Busy > 0:
		s.Busy--
		refuse(w, http.StatusServiceUnavailable, "SlowDown")
	case bucket != Bucket:
		refuse(w, http.StatusNotFound, "NoSuchBucket")
	case s.Denied || key != "" && key == s.Hidden:
		refuse(w, http.StatusForbidden, "AccessDenied")
	case key == "":
		s.list(w, r.URL.Query())
	default:
		s.object(w, r, key)
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>said the store</Message></Error>", code)
}

type listed struct {
	Key          string
	LastModified string
	ETag         string
	Size         int
}

func (s *Store) list(w http.ResponseWriter, query url.Values) {
	var keys []string
	for key := range s.Objects {
		if strings.HasPrefix(key, query.Get("prefix")) && key > query.Get("continuation-token") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	result := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []listed
	}{}
	if s.List != nil {
		w.Header().Set("Content-Type", "application/xml")
		_, _ = io.WriteString(w, s.List(query))
		return
	}
	if s.Endless {
		keys, result.IsTruncated, result.NextContinuationToken = nil, true, "more"
	}
	for _, key := range keys {
		if s.Page > 0 && len(result.Contents) == s.Page {
			result.IsTruncated, result.NextContinuationToken = true, result.Contents[s.Page-1].Key
			break
		}
		result.Contents = append(result.Contents, listed{key, "2026-01-02T03:04:05.000Z", etag(s.Objects[key]), len(s.Objects[key])})
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(result)
}

// checksum is computed at each request: it has to be quick.
func checksum(contents string) uint32 { return crc32.Checksum([]byte(contents), castagnoli) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func etag(contents string) string {
	return fmt.Sprintf(`"%08x-%x"`, checksum(contents), len(contents))
}

func (s *Store) object(w http.ResponseWriter, r *http.Request, key string) {
	contents, ok := s.Objects[key]
	if !ok {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	if r.Method == http.MethodGet {
		s.asked[key]++
	}
	if r.Header.Get("If-Match") == "" {
		s.unpinned++
	}
	if now, replaced := s.Replaced[key]; replaced && s.asked[key] > 1 {
		contents = now
	}
	if s.Unconditional {
		r.Header.Del("If-Match")
	}
	if s.IgnoreRange {
		r.Header.Del("Range")
	}
	w.Header().Set("ETag", etag(contents))
	if r.Header.Get("x-amz-checksum-mode") == "ENABLED" && r.Header.Get("Range") == "" {
		s.state(w.Header(), key, contents)
	}
	if s.Cut > 0 && r.Method == http.MethodGet {
		w = &cutting{ResponseWriter: w, left: s.Cut}
	}
	http.ServeContent(w, r, "", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), strings.NewReader(contents))
}

// state says what the store says of an object as a whole.
func (s *Store) state(h http.Header, key, contents string) {
	if raw, err := hex.DecodeString(s.SHA256[key]); err == nil && len(raw) > 0 {
		h.Set("x-amz-checksum-sha256", base64.StdEncoding.EncodeToString(raw))
		h.Set("x-amz-checksum-type", "FULL_OBJECT")
	}
	if !s.CRC32C {
		return
	}
	sum := checksum(contents)
	if s.Wrong[key] {
		sum++
	}
	h.Set("x-amz-checksum-crc32c", base64.StdEncoding.EncodeToString([]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)}))
	h.Set("x-amz-checksum-type", "FULL_OBJECT")
}

// cutting breaks a connection off.
type cutting struct {
	http.ResponseWriter
	left int
}

// Write implements io.Writer.
func (c *cutting) Write(p []byte) (int, error) {
	if len(p) <= c.left {
		c.left -= len(p)
		return c.ResponseWriter.Write(p)
	}
	_, _ = c.ResponseWriter.Write(p[:c.left])
	if f, ok := c.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler)
}
