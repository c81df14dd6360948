package oci

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlseal/mlseal/internal/registrytest"
)

// quick shortens the waits between attempts for one test.
func quick(t *testing.T) {
	t.Helper()
	old := firstBackoff
	firstBackoff = time.Millisecond
	t.Cleanup(func() { firstBackoff = old })
}

// serve starts a registry that fails as it is told to.
func serve(t *testing.T, g *registrytest.Registry) (host string) {
	t.Helper()
	s := httptest.NewServer(g)
	t.Cleanup(s.Close)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(t.TempDir(), "none.json"))
	return strings.TrimPrefix(s.URL, "http://")
}

func openAt(t *testing.T, name string) *repository {
	t.Helper()
	target, err := Open(t.Context(), parse(t, name), OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return target.(*repository)
}

func randomBytes(n int) []byte {
	source := rand.NewChaCha8([32]byte{1})
	data := make([]byte, n)
	_, _ = source.Read(data)
	return data
}

// offsets are sorted random numbers below n.
func offsets(count int, n int64) []int64 {
	source := rand.New(rand.NewPCG(1, 2))
	all := make([]int64, count)
	for i := range all {
		all[i] = 1 + source.Int64N(n-1)
	}
	slices.Sort(all)
	return all
}

func openBytes(data []byte) func(int64) (io.ReadCloser, error) {
	return func(offset int64) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data[offset:])), nil }
}

// onePass uploads data without telling its digest first, as Pack does.
func onePass(t *testing.T, r *repository, data []byte) error {
	t.Helper()
	w, err := r.startBlob(t.Context(), int64(len(data)), openBytes(data))
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, bytes.NewReader(data), make([]byte, 1<<20)); err != nil {
		return err
	}
	return w.Commit(t.Context(), describeBytes("application/octet-stream", data))
}

func TestUploadIsCutAtRandomOffsets(t *testing.T) {
	quick(t)
	data := randomBytes(3*chunkBytes + 12345)
	desc := describeBytes("application/octet-stream", data)
	for name, noStatus := range map[string]bool{"goes on": false, "begins again": true} {
		t.Run(name, func(t *testing.T) {
			cuts := offsets(20, desc.Size)
			if noStatus {
				cuts = cuts[:4]
			}
			g := &registrytest.Registry{CutUploads: cuts, NoStatus: noStatus}
			r := openAt(t, serve(t, g)+"/team/model")
			if err := onePass(t, r, data); err != nil {
				t.Fatal(err)
			}
			if left := len(g.CutUploads); left != 0 {
				t.Errorf("%d connections were not cut", left)
			}
			if got := g.Received(); !noStatus && got > desc.Size {
				t.Errorf("%d bytes arrived for a blob of %d: it did not go on", got, desc.Size)
			}
			if there, err := r.Exists(t.Context(), desc); err != nil || !there {
				t.Errorf("not there: %v", err)
			}
		})
	}
}

func TestUploadForms(t *testing.T) {
	quick(t)
	large, small := randomBytes(2*chunkBytes+5), randomBytes(100)
	old := wholeOnly
	t.Cleanup(func() { wholeOnly = old })
	for _, tc := range []struct {
		name    string
		faults  *registrytest.Registry
		whole   bool // the host is one that mishandles chunks
		data    []byte
		patches int
		puts    int
	}{
		{"one chunk", &registrytest.Registry{}, false, large, 1, 1},
		{"small", &registrytest.Registry{}, false, small, 0, 1},
		{"empty", &registrytest.Registry{}, false, nil, 0, 1},
		{"no chunk", &registrytest.Registry{}, false, large[:bufferedBlob], 0, 1},
		{"chunks are refused", &registrytest.Registry{NoChunks: true}, false, large, 1, 1},
		{"known to mishandle chunks", &registrytest.Registry{}, true, large, 0, 1},
		{"larger chunks", &registrytest.Registry{MinChunk: chunkBytes + 1000}, false, large, 1, 1},
		{"requests are limited", &registrytest.Registry{Answer: tooLong(0)}, false, large, 4, 1},
		{"requests are limited, chunks too", &registrytest.Registry{MinChunk: chunkBytes + 1000, Answer: tooLong(1000)}, false, large, 3, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wholeOnly = old
			if tc.whole {
				wholeOnly = []string{"127.0.0.1"}
			}
			r := openAt(t, serve(t, tc.faults)+"/team/model")
			if err := onePass(t, r, tc.data); err != nil {
				t.Fatal(err)
			}
			patches, puts := tc.faults.Requests("PATCH", "uploads"), tc.faults.Requests("PUT", "uploads")
			if patches != tc.patches || puts != tc.puts {
				t.Errorf("%d PATCH and %d PUT, want %d and %d", patches, puts, tc.patches, tc.puts)
			}
			if there, err := r.Exists(t.Context(), describeBytes("application/octet-stream", tc.data)); err != nil || !there {
				t.Errorf("not there: %v", err)
			}
		})
	}
}

// A file that grows while it is read does not fill the memory.
func TestUploadOfMoreThanAnnounced(t *testing.T) {
	r := openAt(t, serve(t, &registrytest.Registry{})+"/team/model")
	data := randomBytes(chunkBytes + 10)
	for _, announced := range []int64{0, 5, bufferedBlob, bufferedBlob + 9} {
		inTime(t, func() {
			w := r.newBlobWriter(t.Context(), announced, openBytes(data))
			if _, err := io.Copy(w, bytes.NewReader(data)); !errors.Is(err, ErrContent) {
				t.Errorf("%d announced: %v", announced, err)
			}
		})
	}
}

// A client that is sent elsewhere, or told to log in, in the middle of a request begins it again.
func TestUploadBeginsARequestAgain(t *testing.T) {
	quick(t)
	data := randomBytes(4 << 20)
	asked := 0
	g := &registrytest.Registry{Answer: func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch || asked > 0 {
			return false
		}
		asked++
		_, _ = io.CopyN(io.Discard, r.Body, 3<<20)
		http.Redirect(w, r, r.URL.String(), http.StatusTemporaryRedirect)
		return true
	}}
	r := openAt(t, serve(t, g)+"/team/model")
	if err := onePass(t, r, data); err != nil {
		t.Fatal(err)
	}
	if there, err := r.Exists(t.Context(), describeBytes("application/octet-stream", data)); err != nil || !there || asked != 1 {
		t.Errorf("not there: %v, redirected %d times", err, asked)
	}
}

// tooLong refuses chunks of more than more bytes above chunkBytes.
func tooLong(more int64) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch || r.ContentLength <= chunkBytes+more {
			return false
		}
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return true
	}
}

// failing answers the first n requests of a method about uploads or blobs with a status.
func failing(method, about string, n, status int, header http.Header) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != method || !strings.Contains(r.URL.Path, "/"+about+"/") || n <= 0 {
			return false
		}
		n--
		for k, v := range header {
			w.Header()[k] = v
		}
		w.WriteHeader(status)
		return true
	}
}

func TestUploadIsTriedAgain(t *testing.T) {
	quick(t)
	large := randomBytes(chunkBytes + 5)
	for _, method := range []string{"POST", "PATCH", "PUT"} {
		for _, status := range []int{408, 429, 500, 502, 503, 504} {
			g := &registrytest.Registry{Answer: failing(method, "blobs/uploads", MaxFailures, status, nil)}
			if err := onePass(t, openAt(t, serve(t, g)+"/team/model"), large); err != nil {
				t.Errorf("%s %d: %v", method, status, err)
			}
		}
		g := &registrytest.Registry{Answer: failing(method, "blobs/uploads", 1000, 503, nil)}
		err := onePass(t, openAt(t, serve(t, g)+"/team/model"), large)
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrContent) || !strings.Contains(err.Error(), fmt.Sprintf("given up after %d attempts", MaxFailures+1)) {
			t.Errorf("%s: %v", method, err)
		}
	}
	// What cannot pass is not tried again.
	g := &registrytest.Registry{Answer: failing("POST", "blobs/uploads", 1000, 403, nil)}
	if err := onePass(t, openAt(t, serve(t, g)+"/team/model"), large); !errors.Is(err, ErrUnavailable) || g.Requests("POST", "uploads") != 1 {
		t.Errorf("403: %v, %d requests", err, g.Requests("POST", "uploads"))
	}
}

func TestRetryAfter(t *testing.T) {
	at := time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat)
	for text, want := range map[string]time.Duration{"": 0, "x": 0, "2": 2 * time.Second, "-1": -time.Second, at: 30 * time.Second} {
		if got := retryAfter(text); got > want || got < want-2*time.Second {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	if got := backoff(1, &answerError{nil, time.Hour}); got != MaxRetryAfter {
		t.Errorf("an hour: %v", got)
	}
	for failed := 1; failed <= MaxFailures; failed++ {
		if got, most := backoff(failed, io.EOF), firstBackoff<<failed; got <= 0 || got > most {
			t.Errorf("%d failures: %v, at most %v", failed, got, most)
		}
	}
	quick(t)
	g := &registrytest.Registry{Answer: failing("POST", "blobs/uploads", 1, 429, http.Header{"Retry-After": {"1"}})}
	begun := time.Now()
	if err := onePass(t, openAt(t, serve(t, g)+"/team/model"), []byte("x")); err != nil || time.Since(begun) < time.Second {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
}

func TestDownloadIsCutAtRandomOffsets(t *testing.T) {
	quick(t)
	data := randomBytes(3 << 20)
	desc := describeBytes("application/octet-stream", data)
	for name, noRanges := range map[string]bool{"goes on": false, "begins again": true} {
		t.Run(name, func(t *testing.T) {
			g := &registrytest.Registry{NoRanges: noRanges}
			r := openAt(t, serve(t, g)+"/team/model")
			if err := onePass(t, r, data); err != nil {
				t.Fatal(err)
			}
			cuts := offsets(20, desc.Size)
			if noRanges {
				cuts = cuts[:3]
			}
			g.Change(func(g *registrytest.Registry) { g.CutDownloads = cuts })
			var got bytes.Buffer
			if err := copyBlob(t.Context(), r, desc, &got, nil); err != nil || !bytes.Equal(got.Bytes(), data) {
				t.Fatalf("%v", err)
			}
			if len(g.CutDownloads) != 0 {
				t.Errorf("%d connections were not cut", len(g.CutDownloads))
			}
			if !noRanges && g.Sent() > desc.Size {
				t.Errorf("%d bytes were sent for a blob of %d", g.Sent(), desc.Size)
			}
		})
	}
}

func TestDownloadThatNeverEnds(t *testing.T) {
	quick(t)
	data := randomBytes(1 << 20)
	desc := describeBytes("application/octet-stream", data)
	g := &registrytest.Registry{}
	r := openAt(t, serve(t, g)+"/team/model")
	if err := onePass(t, r, data); err != nil {
		t.Fatal(err)
	}
	// One byte a connection is progress, and yet it ends.
	g.Change(func(g *registrytest.Registry) {
		for i := range int64(1000) {
			g.CutDownloads = append(g.CutDownloads, i+1)
		}
	})
	err := copyBlob(t.Context(), r, desc, io.Discard, nil)
	if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), fmt.Sprintf("given up after %d attempts", MaxTotalFailures+1)) {
		t.Errorf("%v", err)
	}
	for _, status := range []int{429, 500, 503} {
		g.Change(func(g *registrytest.Registry) {
			g.CutDownloads = nil
			g.Answer = failing("GET", "blobs", 3, status, nil)
		})
		if err := copyBlob(t.Context(), r, desc, io.Discard, nil); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		g.Change(func(g *registrytest.Registry) { g.Answer = failing("GET", "blobs", 1000, status, nil) })
		if err := copyBlob(t.Context(), r, desc, io.Discard, nil); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

// Case 56: the registry's lies are a no, never a failure of the network.
func TestRegistryThatLies(t *testing.T) {
	quick(t)
	data := randomBytes(100_000)
	desc := describeBytes("application/octet-stream", data)
	send := func(header http.Header, status int, body []byte) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet {
				return false
			}
			for k, v := range header {
				w.Header()[k] = v
			}
			w.WriteHeader(status)
			_, _ = w.Write(body)
			return true
		}
	}
	other := slices.Clone(data)
	other[5000] ^= 1
	chunked := http.Header{"Transfer-Encoding": {"chunked"}}
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"content":             send(nil, 200, other),
		"digest header":       send(http.Header{"Docker-Content-Digest": {string(describeBytes("", other).Digest)}}, 200, data),
		"broken digest":       send(http.Header{"Docker-Content-Digest": {"sha256:x"}}, 200, data),
		"shorter":             send(http.Header{"Content-Length": {"99999"}}, 200, data[1:]),
		"longer":              send(http.Header{"Content-Length": {"100001"}}, 200, append(slices.Clone(data), 0)),
		"shorter, not saying": send(chunked, 200, data[1:]),
		"longer, not saying":  send(chunked, 200, append(slices.Clone(data), 0)),
	} {
		g := &registrytest.Registry{}
		r := openAt(t, serve(t, g)+"/team/model")
		g.Change(func(g *registrytest.Registry) { g.Answer = answer })
		err := copyBlob(t.Context(), r, desc, io.Discard, nil)
		if !errors.Is(err, ErrContent) || errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		if early := name == "shorter" || name == "longer"; early && !strings.Contains(err.Error(), "the registry sends") {
			t.Errorf("%s: it is read before it is refused: %v", name, err)
		}
	}
	// Lies about where a download goes on.
	g := &registrytest.Registry{}
	r := openAt(t, serve(t, g)+"/team/model")
	for name, header := range map[string]http.Header{"from elsewhere": {"Content-Range": {"bytes 0-99999/100000"}}, "unsaid": {}} {
		g.Change(func(g *registrytest.Registry) { g.Answer = send(header, 206, data) })
		if _, err := fetchFrom(t.Context(), r, desc, 50_000); !errors.Is(err, ErrContent) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A registry that took something else, or sends the upload elsewhere.
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"another digest": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				w.Header().Set("Docker-Content-Digest", string(describeBytes("", other).Digest))
				w.WriteHeader(http.StatusCreated)
			}
			return r.Method == http.MethodPut
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				w.Header().Set("Location", "http://127.0.0.1:1/steal")
				w.WriteHeader(http.StatusAccepted)
			}
			return r.Method == http.MethodPost
		},
	} {
		g.Change(func(g *registrytest.Registry) { g.Answer = answer })
		if err := onePass(t, r, data); !errors.Is(err, ErrContent) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHangingTransfers(t *testing.T) {
	quick(t)
	impatient(t)
	usualPatience.idle = time.Minute
	data := randomBytes(chunkBytes + 1)
	for _, method := range []string{"HEAD", "POST", "PATCH", "PUT", "GET"} {
		end := make(chan struct{})
		g := &registrytest.Registry{Answer: func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == method {
				_, _ = io.Copy(io.Discard, r.Body)
				<-end
			}
			return r.Method == method
		}}
		r := openAt(t, serve(t, g)+"/team/model")
		t.Cleanup(func() { close(end) })
		inTime(t, func() {
			desc := describeBytes("application/octet-stream", data)
			_, err := r.uploadBlob(t.Context(), desc, blobSource{open: openBytes(data)})
			if method == "GET" {
				err = copyBlob(t.Context(), r, desc, io.Discard, nil)
			}
			if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "no answer within") || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", method, err) // an upload's address may hold a secret
			}
		})
	}
}

// A pull that was killed is gone on from, and what it left is not trusted.
func TestPullGoesOn(t *testing.T) {
	quick(t)
	data := string(randomBytes(1 << 20))
	g := &registrytest.Registry{}
	r := openAt(t, serve(t, g)+"/team/model")
	desc := pack(t, r, map[string]string{"a.bin": data}, PackOptions{Tag: "v1"})
	p := fetch(t, r, desc)
	temp := tempName(p.Tree.Files[0])
	changed := []byte(data[:600_000])
	changed[7] ^= 1
	for name, tc := range map[string]struct {
		left string
		sent int64
	}{
		"half":      {data[:600_000], 1<<20 - 600_000},
		"all":       {data, 0},
		"nothing":   {"", 1 << 20},
		"damaged":   {string(changed), 1<<20 - 600_000 + 1<<20},
		"too large": {data + "x", 1 << 20},
	} {
		dest := t.TempDir()
		writeTree(t, dest, map[string]string{temp: tc.left, pullPrefix + "other": "x"})
		before := g.Sent()
		if err := Pull(t.Context(), r, p, dest, PullOptions{}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if sent := g.Sent() - before; sent != tc.sent {
			t.Errorf("%s: %d bytes came, want %d", name, sent, tc.sent)
		}
		if got := tree(t, dest); len(got) != 1 || got["a.bin"] != data {
			t.Errorf("%s: wrong files: %d", name, len(got))
		}
	}
	// A file with a second name is not written to.
	dest, outside := t.TempDir(), filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(outside, []byte(data[:5]), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(outside, filepath.Join(dest, temp)); err != nil {
		t.Skip(err)
	}
	if err := Pull(t.Context(), r, p, dest, PullOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(outside); string(got) != data[:5] {
		t.Errorf("the other name holds %d bytes", len(got))
	}
}

func TestPullThatIsCutLeavesItsPart(t *testing.T) {
	quick(t)
	data := string(randomBytes(1 << 20))
	g := &registrytest.Registry{}
	r := openAt(t, serve(t, g)+"/team/model")
	p := fetch(t, r, pack(t, r, map[string]string{"a.bin": data}, PackOptions{Tag: "v1"}))
	calls := 0
	g.Change(func(g *registrytest.Registry) {
		g.CutDownloads = []int64{500_000}
		g.Answer = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
				return false
			}
			if calls++; calls > 1 {
				w.WriteHeader(http.StatusForbidden)
			}
			return calls > 1
		}
	})
	dest := t.TempDir()
	if err := Pull(t.Context(), r, p, dest, PullOptions{}); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("%v", err)
	}
	if got := tree(t, dest); len(got) != 1 || len(got[tempName(p.Tree.Files[0])]) != 500_000 {
		t.Errorf("%d files", len(got))
	}
	g.Change(func(g *registrytest.Registry) { g.Answer = nil })
	before := g.Sent()
	if err := Pull(t.Context(), r, p, dest, PullOptions{}); err != nil || g.Sent()-before != 1<<20-500_000 {
		t.Errorf("%v, %d bytes", err, g.Sent()-before)
	}
}
