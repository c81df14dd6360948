// Package hubtest is a Hugging Face hub on a loopback address, for tests: the parts of its API that package hub asks, a second
// host to which files of git-lfs are redirected, and faults.
package hubtest

import (
	"bytes"
	"cmp"
	"crypto/sha1" //nolint:gosec // git's name of a blob
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Commit is the commit of every repository that a test does not give another.
const Commit = "0123456789abcdef0123456789abcdef01234567"

// Repository is a model or dataset.
type Repository struct {
	Commit string            // Commit where it is empty
	Files  map[string]string // contents by path
	LFS    []string          // patterns of path.Match: base names of files that are kept in git-lfs
	Token  string            // that may read it; empty for everybody
	Gated  bool              // nobody may read it
}

// Hub is the server. Its fields are changed before requests are made, or with Change.
type Hub struct {
	URL string // of the hub
	CDN string // of the host to which files of git-lfs are redirected

	mu           sync.Mutex
	Repositories map[string]*Repository // "models/org/name", "datasets/org/name"
	PageSize     int                    // files on one page of a list; 0 for all
	Cut          int                    // a connection for contents breaks off after so many bytes; 0 for never
	Busy         int                    // so many requests get 429 first
	IgnoreRange  bool                   // answer with all of a file whatever part is asked for
	Contents     map[string]string      // other contents than the listed ones, by path
	OIDs         map[string]string      // other digests in the list, by path
	HeadCommit   string                 // other commit in X-Repo-Commit
	HeadOID      string                 // other digest in X-Linked-Etag
	WrongRange   bool                   // say that a part of a file begins elsewhere
	Resolves     string                 // other commit that every revision is resolved to
	Names        []string               // more names in the list, without contents
	NextPage     string                 // another host for the next page of a list

	fetched                  map[string]int // requests for contents, by path
	requests, ranges, leaked atomic.Int64
}

// New starts a hub that ends with the test.
func New(t testing.TB) *Hub { return Start(func(end func()) { t.Cleanup(end) }) }

// Start starts a hub and hands what ends it to atEnd.
func Start(atEnd func(end func())) *Hub {
	h := &Hub{Repositories: map[string]*Repository{}, fetched: map[string]int{}}
	hub, cdn := httptest.NewServer(http.HandlerFunc(h.serve)), httptest.NewServer(http.HandlerFunc(h.serveCDN))
	atEnd(hub.Close)
	atEnd(cdn.Close)
	h.URL, h.CDN = hub.URL, cdn.URL
	return h
}

// Change changes the hub while requests may be under way.
func (h *Hub) Change(do func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	do()
}

// Requests counts the requests, Ranges those for a part of a file, Leaked those to the second host that carried a token.
func (h *Hub) Requests() int64 { return h.requests.Load() }

// Ranges counts the requests for a part of a file.
func (h *Hub) Ranges() int64 { return h.ranges.Load() }

// Fetched counts the requests for the contents of each file since it was called before.
func (h *Hub) Fetched() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.fetched
	h.fetched = map[string]int{}
	return now
}

// Leaked counts the requests to the second host that carried credentials.
func (h *Hub) Leaked() int64 { return h.leaked.Load() }

// SHA256 is the name of contents in git-lfs.
func SHA256(data string) string {
	sum := sha256.Sum256([]byte(data))
	return hex.EncodeToString(sum[:])
}

// GitOID is the name of contents in git.
func GitOID(data string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(data), data)) //nolint:gosec // as above
	return hex.EncodeToString(sum[:])
}

// IsLFS reports whether a file is kept in git-lfs.
func (r *Repository) IsLFS(name string) bool {
	return slices.ContainsFunc(r.LFS, func(pattern string) bool {
		ok, _ := path.Match(pattern, path.Base(name))
		return ok
	})
}

func (r *Repository) commit() string {
	if r.Commit == "" {
		return Commit
	}
	return r.Commit
}

func fail(w http.ResponseWriter, code string, status int) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
	}
	http.Error(w, `{"error":"no"}`, status)
}

func (h *Hub) serve(w http.ResponseWriter, r *http.Request) {
	h.requests.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.Busy > 0 {
		h.Busy--
		w.Header().Set("Retry-After", "1")
		fail(w, "", http.StatusTooManyRequests)
		return
	}
	kind, repo, verb, rest := h.route(r)
	found := h.Repositories[kind+"/"+repo]
	switch {
	case found == nil || found.Token != "" && r.Header.Get("Authorization") == "":
		fail(w, "RepoNotFound", http.StatusUnauthorized)
	case found.Token != "" && r.Header.Get("Authorization") != "Bearer "+found.Token:
		fail(w, "", http.StatusUnauthorized)
	case verb == "revision":
		h.serveRevision(w, found, rest)
	case found.Gated:
		fail(w, "GatedRepo", http.StatusForbidden)
	case verb == "tree" && rest == found.commit():
		h.serveTree(w, r, found)
	case verb == "resolve":
		h.serveResolve(w, r, found, rest)
	default:
		fail(w, "RevisionNotFound", http.StatusNotFound)
	}
}

// route splits /api/KIND/ORG/NAME/VERB/REST and /[datasets/]ORG/NAME/resolve/REST.
func (h *Hub) route(r *http.Request) (kind, repo, verb, rest string) {
	parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if parts[0] == "api" && len(parts) >= 6 {
		rest, _ = url.PathUnescape(strings.Join(parts[5:], "/"))
		return parts[1], parts[2] + "/" + parts[3], parts[4], rest
	}
	kind = "models"
	if parts[0] == "datasets" {
		kind, parts = "datasets", parts[1:]
	}
	if len(parts) < 5 {
		return
	}
	rest, _ = url.PathUnescape(strings.Join(parts[3:], "/"))
	return kind, parts[0] + "/" + parts[1], parts[2], rest
}

func (h *Hub) serveRevision(w http.ResponseWriter, repo *Repository, revision string) {
	if revision != "main" && revision != "refs/pr/1" && revision != repo.commit() {
		fail(w, "RevisionNotFound", http.StatusNotFound)
		return
	}
	// The real hub has both keys, which differ by an underscore only.
	_ = json.NewEncoder(w).Encode(map[string]any{"_id": "1", "id": "x", "sha": cmp.Or(h.Resolves, repo.commit()), "siblings": []any{}})
}

func (h *Hub) serveTree(w http.ResponseWriter, r *http.Request, repo *Repository) {
	var names []string
	for name := range repo.Files {
		names = append(names, name)
	}
	slices.Sort(names)
	names = append(names, h.Names...)
	entries := []map[string]any{{"type": "directory", "oid": GitOID(""), "size": 0, "path": "some"}}
	start, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
	end := len(names)
	if h.PageSize > 0 {
		end = min(len(names), start+h.PageSize)
	}
	for _, name := range names[start:end] {
		entries = append(entries, h.entry(repo, name))
	}
	if end < len(names) {
		host := h.URL
		if h.NextPage != "" {
			host = h.NextPage
		}
		w.Header().Set("Link", fmt.Sprintf(`<%s%s?recursive=true&cursor=%d>; rel="next"`, host, r.URL.EscapedPath(), end))
	}
	_ = json.NewEncoder(w).Encode(entries)
}

func (h *Hub) entry(repo *Repository, name string) map[string]any {
	data := repo.Files[name]
	entry := map[string]any{"type": "file", "path": name, "size": len(data), "oid": GitOID(data)}
	oid := h.OIDs[name]
	if repo.IsLFS(name) {
		if oid == "" {
			oid = SHA256(data)
		}
		entry["oid"] = GitOID("version https://git-lfs.github.com/spec/v1\n")
		entry["lfs"] = map[string]any{"oid": oid, "size": len(data), "pointerSize": 134}
	} else if oid != "" {
		entry["oid"] = oid
	}
	return entry
}

func (h *Hub) serveResolve(w http.ResponseWriter, r *http.Request, repo *Repository, rest string) {
	commit, name, _ := strings.Cut(rest, "/")
	data, ok := repo.Files[name]
	if !ok || commit != repo.commit() {
		fail(w, "EntryNotFound", http.StatusNotFound)
		return
	}
	w.Header().Set("X-Repo-Commit", commit)
	if h.HeadCommit != "" {
		w.Header().Set("X-Repo-Commit", h.HeadCommit)
	}
	if repo.IsLFS(name) {
		w.Header().Set("X-Linked-Etag", `"`+SHA256(data)+`"`)
		w.Header().Set("X-Linked-Size", strconv.Itoa(len(data)))
		if oid := cmp.Or(h.HeadOID, h.OIDs[name]); oid != "" {
			w.Header().Set("X-Linked-Etag", `"`+oid+`"`)
		}
		query := url.Values{"oid": {SHA256(data)}, "signature": {"secret"}}
		w.Header().Set("Location", h.CDN+"/"+url.PathEscape(name)+"?"+query.Encode())
		w.WriteHeader(http.StatusFound)
		return
	}
	h.contents(w, r, name, data)
}

// serveCDN is the second host.
func (h *Hub) serveCDN(w http.ResponseWriter, r *http.Request) {
	h.requests.Add(1)
	if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
		h.leaked.Add(1)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	name, _ := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/"))
	for _, repo := range h.Repositories {
		if data, ok := repo.Files[name]; ok && repo.IsLFS(name) && r.URL.Query().Get("oid") == SHA256(data) && r.URL.Query().Get("signature") == "secret" {
			h.contents(w, r, name, data)
			return
		}
	}
	fail(w, "", http.StatusForbidden)
}

func (h *Hub) contents(w http.ResponseWriter, r *http.Request, name, data string) {
	h.fetched[name]++
	if other, ok := h.Contents[name]; ok {
		data = other
	}
	start := 0
	if asked, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		h.ranges.Add(1)
		if !h.IgnoreRange {
			start, _ = strconv.Atoi(strings.TrimSuffix(asked, "-"))
			says := start
			if h.WrongRange {
				says++
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", says, len(data)-1, len(data)))
		}
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)-start))
	if start > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	rest := []byte(data[start:])
	if h.Cut > 0 && len(rest) > h.Cut {
		_, _ = w.Write(rest[:h.Cut])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	_, _ = io.Copy(w, bytes.NewReader(rest))
}
