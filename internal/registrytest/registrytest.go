// Package registrytest is a small registry for tests (OCI distribution-spec v1.1), which fails in the ways that registries
// and networks fail: connections cut at given bytes, refusals, lies. It keeps what was uploaded before a cut.
package registrytest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// Registry is an http.Handler. Its fields are set before the first request, or between two with Change.
type Registry struct {
	NoReferrers  bool    // there is no referrers API
	NoDelete     bool    // manifests and tags cannot be deleted
	NoRanges     bool    // blobs are sent whole only
	NoChunks     bool    // PATCH is refused
	NoStatus     bool    // an upload cannot be asked about
	NoMount      bool    // blobs are not mounted
	MinChunk     int64   // bytes that a chunk must have, but for the last one
	CutUploads   []int64 // bytes of bodies received in all, at each of which a connection is cut
	CutDownloads []int64 // bytes of blobs sent in all, at each of which a connection is cut
	User         string  // of basic authentication; empty for none
	Password     string
	// Answer may answer a request itself, and reports whether it did.
	Answer func(w http.ResponseWriter, r *http.Request) bool

	mu        sync.Mutex
	uploads   map[string][]byte
	repos     map[string]*repo
	requests  map[string]int
	got, sent int64
	last      int
}

type repo struct {
	blobs     map[string][]byte
	manifests map[string]manifest
	tags      map[string]string
}

type manifest struct {
	mediaType string
	data      []byte
}

// Change changes the registry's faults while it serves.
func (g *Registry) Change(do func(*Registry)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do(g)
}

// Requests counts the requests so far by method and what they were about: blobs, uploads, manifests, tags or referrers.
func (g *Registry) Requests(method, about string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.requests[method+" "+about]
}

// Received is the number of bytes of blobs that were received, those of cut connections too.
func (g *Registry) Received() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.got
}

// Sent is the number of bytes of blobs that were sent.
func (g *Registry) Sent() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sent
}

// Tags lists the tags of a repository, those of the referrers fallback too.
func (g *Registry) Tags(name string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.repo(name).tagList()
}

var route = regexp.MustCompile(`^/v2/(.+)/(blobs/uploads|blobs|manifests|tags|referrers)/(.*)$`)

// ServeHTTP implements http.Handler.
func (g *Registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts := route.FindStringSubmatch(r.URL.Path)
	about := ""
	if parts != nil {
		about = parts[2][strings.LastIndexByte(parts[2], '/')+1:]
	}
	g.mu.Lock()
	if g.requests == nil {
		g.requests, g.uploads, g.repos = map[string]int{}, map[string][]byte{}, map[string]*repo{}
	}
	g.requests[r.Method+" "+about]++
	answer := g.Answer
	g.mu.Unlock()
	if g.User != "" {
		if user, password, _ := r.BasicAuth(); user != g.User || password != g.Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
			return
		}
	}
	switch {
	case answer != nil && answer(w, r):
	case r.URL.Path == "/v2/":
		_, _ = io.WriteString(w, "{}")
	case parts == nil:
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN")
	case about == "uploads":
		g.upload(w, r, parts[1], parts[3])
	case about == "blobs":
		g.blob(w, r, parts[1], parts[3])
	case about == "manifests":
		g.manifest(w, r, parts[1], parts[3])
	case about == "tags":
		g.tags(w, parts[1])
	default:
		g.referrers(w, parts[1], parts[3])
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"refused by the test"}]}`, code)
}

// repo must be called with the lock held.
func (g *Registry) repo(name string) *repo {
	if g.repos[name] == nil {
		g.repos[name] = &repo{map[string][]byte{}, map[string]manifest{}, map[string]string{}}
	}
	return g.repos[name]
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// receive reads a body into keep, and cuts the connection where that is due.
func (g *Registry) receive(r *http.Request, keep func([]byte)) {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(buf)
		g.mu.Lock()
		cut := int64(-1)
		if len(g.CutUploads) > 0 && g.got+int64(n) >= g.CutUploads[0] {
			cut = max(0, g.CutUploads[0]-g.got)
			g.CutUploads = g.CutUploads[1:]
			n = int(cut)
		}
		g.got += int64(n)
		keep(buf[:n])
		g.mu.Unlock()
		if cut >= 0 {
			panic(http.ErrAbortHandler)
		}
		if err != nil {
			return
		}
	}
}

func (g *Registry) upload(w http.ResponseWriter, r *http.Request, name, id string) {
	at := func() string {
		g.mu.Lock()
		defer g.mu.Unlock()
		w.Header().Set("Location", "/v2/"+name+"/blobs/uploads/"+id+"?state=secret")
		return fmt.Sprintf("0-%d", max(0, len(g.uploads[id])-1))
	}
	g.mu.Lock()
	data, known := g.uploads[id]
	g.mu.Unlock()
	switch {
	case r.Method == http.MethodPost:
		if g.mounts(w, r, name) {
			return
		}
		g.mu.Lock()
		g.last++
		id = strconv.Itoa(g.last)
		g.uploads[id] = []byte{}
		least := g.MinChunk
		g.mu.Unlock()
		if least > 0 {
			w.Header().Set("OCI-Chunk-Min-Length", strconv.FormatInt(least, 10))
		}
		at()
		w.WriteHeader(http.StatusAccepted)
	case !known:
		refuse(w, http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
	case r.Method == http.MethodPatch && g.NoChunks:
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED")
	case r.Method == http.MethodPatch:
		if first, _, _ := strings.Cut(r.Header.Get("Content-Range"), "-"); first != "" && first != strconv.Itoa(len(data)) {
			refuse(w, http.StatusRequestedRangeNotSatisfiable, "BLOB_UPLOAD_INVALID")
			return
		}
		g.receive(r, func(p []byte) { g.uploads[id] = append(g.uploads[id], p...) })
		w.Header().Set("Range", at())
		w.WriteHeader(http.StatusAccepted)
	case r.Method == http.MethodGet && g.NoStatus:
		refuse(w, http.StatusNotFound, "UNSUPPORTED")
	case r.Method == http.MethodGet:
		w.Header().Set("Range", at())
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodDelete:
		g.mu.Lock()
		delete(g.uploads, id)
		g.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		whole := slices.Clone(data)
		g.receive(r, func(p []byte) { whole = append(whole, p...) })
		want := r.URL.Query().Get("digest")
		if digestOf(whole) != want {
			refuse(w, http.StatusBadRequest, "DIGEST_INVALID")
			return
		}
		g.mu.Lock()
		g.repo(name).blobs[want] = whole
		delete(g.uploads, id)
		g.mu.Unlock()
		w.Header().Set("Docker-Content-Digest", want)
		w.WriteHeader(http.StatusCreated)
	}
}

func (g *Registry) mounts(w http.ResponseWriter, r *http.Request, name string) bool {
	digest, from := r.URL.Query().Get("mount"), r.URL.Query().Get("from")
	g.mu.Lock()
	defer g.mu.Unlock()
	data, ok := g.repo(from).blobs[digest]
	if digest == "" || !ok || g.NoMount {
		return false
	}
	g.repo(name).blobs[digest] = data
	w.Header().Set("Docker-Content-Digest", digest)
	w.WriteHeader(http.StatusCreated)
	return true
}

func (g *Registry) blob(w http.ResponseWriter, r *http.Request, name, digest string) {
	g.mu.Lock()
	data, ok := g.repo(name).blobs[digest]
	noRanges := g.NoRanges
	g.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN")
		return
	}
	status, first := http.StatusOK, 0
	if !noRanges {
		w.Header().Set("Accept-Ranges", "bytes")
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first); n == 1 {
			status = http.StatusPartialContent
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, len(data)-1, len(data)))
		}
	}
	w.Header().Set("Docker-Content-Digest", digest)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)-first))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		g.send(w, data[first:])
	}
}

// send writes a body, and cuts the connection where that is due.
func (g *Registry) send(w http.ResponseWriter, data []byte) {
	for len(data) > 0 {
		n := min(len(data), 32<<10)
		g.mu.Lock()
		cut := len(g.CutDownloads) > 0 && g.sent+int64(n) >= g.CutDownloads[0]
		if cut {
			n = int(max(0, g.CutDownloads[0]-g.sent))
			g.CutDownloads = g.CutDownloads[1:]
		}
		g.sent += int64(n)
		g.mu.Unlock()
		if _, err := w.Write(data[:n]); err != nil {
			return
		}
		if data = data[n:]; cut {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}
}

func (g *Registry) manifest(w http.ResponseWriter, r *http.Request, name, reference string) {
	data, _ := io.ReadAll(r.Body)
	g.mu.Lock()
	defer g.mu.Unlock()
	repo := g.repo(name)
	digest, isTag := repo.tags[reference]
	if !isTag {
		digest = reference
	}
	switch r.Method {
	case http.MethodPut:
		digest = digestOf(data)
		repo.manifests[digest] = manifest{r.Header.Get("Content-Type"), data}
		if !strings.HasPrefix(reference, "sha256:") {
			repo.tags[reference] = digest
		}
		if subject := subjectOf(data); subject != "" && !g.NoReferrers {
			w.Header().Set("OCI-Subject", subject)
		}
		w.Header().Set("Docker-Content-Digest", digest)
		w.WriteHeader(http.StatusCreated)
	case http.MethodDelete:
		switch _, ok := repo.manifests[digest]; {
		case g.NoDelete:
			refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED")
			return
		case !ok:
			refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN")
			return
		case isTag:
			delete(repo.tags, reference)
		default:
			delete(repo.manifests, digest)
			for tag, d := range repo.tags {
				if d == digest {
					delete(repo.tags, tag)
				}
			}
		}
		w.WriteHeader(http.StatusAccepted)
	default:
		m, ok := repo.manifests[digest]
		if !ok {
			refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN")
			return
		}
		w.Header().Set("Content-Type", m.mediaType)
		w.Header().Set("Docker-Content-Digest", digest)
		w.Header().Set("Content-Length", strconv.Itoa(len(m.data)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(m.data)
		}
	}
}

func subjectOf(data []byte) string {
	var m struct {
		Subject struct {
			Digest string `json:"digest"`
		} `json:"subject"`
	}
	_ = json.Unmarshal(data, &m)
	return m.Subject.Digest
}

func (r *repo) tagList() []string {
	tags := []string{}
	for tag := range r.tags {
		tags = append(tags, tag)
	}
	sort.Strings(tags)
	return tags
}

func (g *Registry) tags(w http.ResponseWriter, name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = json.NewEncoder(w).Encode(map[string]any{"name": name, "tags": g.repo(name).tagList()})
}

func (g *Registry) referrers(w http.ResponseWriter, name, digest string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.NoReferrers {
		refuse(w, http.StatusNotFound, "UNSUPPORTED")
		return
	}
	list := []map[string]any{}
	for d, m := range g.repo(name).manifests {
		if subjectOf(m.data) == digest {
			list = append(list, map[string]any{"mediaType": m.mediaType, "digest": d, "size": len(m.data)})
		}
	}
	w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	_ = json.NewEncoder(w).Encode(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": list})
}
