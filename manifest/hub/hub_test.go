package hub

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mlseal/mlseal/internal/hubtest"
	"github.com/mlseal/mlseal/manifest"
	"github.com/mlseal/mlseal/manifest/origin"
)

var files = map[string]string{
	"README.md": "# A model\n", "config.json": "{}", "empty.txt": "", "a b/100%.txt": "odd", "sub/deep/x.bin": strings.Repeat("deep", 1000),
	"model.safetensors": strings.Repeat("0123456789", 5000), ".gitattributes": "*.bin filter=lfs\n",
}

func newHub(t *testing.T) *hubtest.Hub {
	h := hubtest.New(t)
	h.Repositories["models/acme/llm"] = &hubtest.Repository{Files: files, LFS: []string{"*.safetensors", "*.bin"}, Token: "sesame"}
	h.Repositories["datasets/acme/data"] = &hubtest.Repository{Files: map[string]string{"train.jsonl": "{}\n"}}
	return h
}

// client returns a client that does not wait, and where it writes the times that it would have waited.
func client(t *testing.T, h *hubtest.Hub) (*Client, *[]time.Duration) {
	t.Helper()
	var waits []time.Duration
	c, err := New(Options{Endpoint: h.URL, Token: "sesame", Wait: func(ctx context.Context, d time.Duration) error {
		waits = append(waits, d)
		return ctx.Err()
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c, &waits
}

func build(t *testing.T, c *Client, ref string) (*manifest.Manifest, error) {
	t.Helper()
	parsed, err := ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Snapshot(t.Context(), parsed)
	if err != nil {
		return nil, err
	}
	return manifest.Build(t.Context(), s.FS(t.Context()), manifest.Options{Concurrency: 1})
}

// want is the manifest of the same files from memory.
func want(t *testing.T) *manifest.Manifest {
	t.Helper()
	m := fstest.MapFS{}
	for name, data := range files {
		m[name] = &fstest.MapFile{Data: []byte(data)}
	}
	built, err := manifest.Build(t.Context(), m, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return built
}

func TestBuild(t *testing.T) {
	h := newHub(t)
	c, waits := client(t, h)
	for _, ref := range []string{"hf://acme/llm", "hf://models/acme/llm@" + hubtest.Commit, "hf://acme/llm@refs/pr/1"} {
		m, err := build(t, c, ref)
		if err != nil {
			t.Fatal(err)
		}
		if m.DirHash() != want(t).DirHash() {
			t.Errorf("%s: another dirHash", ref)
		}
	}
	if h.Leaked() != 0 || len(*waits) != 0 {
		t.Errorf("%d tokens leaked, %d waits", h.Leaked(), len(*waits))
	}
	if m, err := build(t, c, "hf://datasets/acme/data"); err != nil || len(m.Files) != 1 {
		t.Errorf("dataset: %v", err)
	}
}

func TestFS(t *testing.T) {
	h := newHub(t)
	c, _ := client(t, h)
	s, err := c.Snapshot(t.Context(), Reference{"model", "acme/llm", "main"})
	if err != nil {
		t.Fatal(err)
	}
	before := h.Requests()
	if err := fs.WalkDir(s.FS(t.Context()), ".", func(string, fs.DirEntry, error) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if h.Requests() != before {
		t.Error("a walk asked the hub")
	}
	data, err := fs.ReadFile(s.FS(t.Context()), "a b/100%.txt")
	if err != nil || string(data) != "odd" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := fs.Stat(s.FS(t.Context()), "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if got := s.URI(); got != "git+"+h.URL+"/acme/llm@"+hubtest.Commit {
		t.Error(got)
	}
}

func TestPages(t *testing.T) {
	h := newHub(t)
	h.PageSize = 2
	c, _ := client(t, h)
	if m, err := build(t, c, "hf://acme/llm"); err != nil || m.DirHash() != want(t).DirHash() {
		t.Errorf("%v", err)
	}
	h.NextPage = h.CDN
	if _, err := build(t, c, "hf://acme/llm"); !errors.Is(err, ErrAnswer) {
		t.Errorf("a page elsewhere: %v", err)
	}
	if h.Leaked() != 0 {
		t.Error("the token went to the other host")
	}
}

func TestResumes(t *testing.T) {
	h := newHub(t)
	h.Cut = 7001
	c, _ := client(t, h)
	m, err := build(t, c, "hf://acme/llm")
	if err != nil || m.DirHash() != want(t).DirHash() {
		t.Fatalf("%v", err)
	}
	if h.Ranges() < 7 {
		t.Errorf("%d ranges", h.Ranges())
	}
	if h.Leaked() != 0 {
		t.Error("the token went to the other host")
	}
	// A host that ignores ranges is read from the start each time: nothing comes after the first piece.
	h.Change(func() { h.IgnoreRange = true })
	if _, err := build(t, c, "hf://acme/llm"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without ranges: %v", err)
	}
}

// TestResumesWithOtherBytes holds the parts of several connections to the digest together.
func TestResumesWithOtherBytes(t *testing.T) {
	h := newHub(t)
	h.Cut = 20000
	c, _ := client(t, h)
	s, err := c.Snapshot(t.Context(), Reference{"model", "acme/llm", "main"})
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.FS(t.Context()).Open("model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if _, err := f.Read(buf); err != nil {
		t.Fatal(err)
	}
	h.Change(func() {
		h.Contents = map[string]string{"model.safetensors": strings.Repeat("012345678X", 5000)}
	})
	for err == nil {
		_, err = f.Read(buf)
	}
	if !errors.Is(err, origin.ErrMismatch) {
		t.Error(err)
	}
}

func TestLies(t *testing.T) {
	for name, tc := range map[string]struct {
		lie  func(h *hubtest.Hub)
		want error
	}{
		"contents of git-lfs": {func(h *hubtest.Hub) {
			h.Contents = map[string]string{"model.safetensors": strings.Repeat("012345678X", 5000)}
		}, origin.ErrMismatch},
		"contents of git":    {func(h *hubtest.Hub) { h.Contents = map[string]string{"config.json": "[]"} }, origin.ErrMismatch},
		"longer":             {func(h *hubtest.Hub) { h.Contents = map[string]string{"config.json": "{} "} }, origin.ErrMismatch},
		"shorter":            {func(h *hubtest.Hub) { h.Contents = map[string]string{"config.json": "{"} }, origin.ErrMismatch},
		"nothing":            {func(h *hubtest.Hub) { h.Contents = map[string]string{"model.safetensors": ""} }, origin.ErrMismatch},
		"not empty":          {func(h *hubtest.Hub) { h.Contents = map[string]string{"empty.txt": "x"} }, origin.ErrMismatch},
		"digest":             {func(h *hubtest.Hub) { h.OIDs = map[string]string{"config.json": hubtest.GitOID("x")} }, origin.ErrMismatch},
		"digest of git-lfs":  {func(h *hubtest.Hub) { h.OIDs = map[string]string{"model.safetensors": hubtest.SHA256("x")} }, origin.ErrMismatch},
		"no digest":          {func(h *hubtest.Hub) { h.OIDs = map[string]string{"config.json": "W/abc"} }, ErrAnswer},
		"short digest":       {func(h *hubtest.Hub) { h.OIDs = map[string]string{"model.safetensors": hubtest.GitOID("x")} }, ErrAnswer},
		"digest in a head":   {func(h *hubtest.Hub) { h.HeadOID = hubtest.SHA256("x") }, origin.ErrMismatch},
		"part of a file":     {func(h *hubtest.Hub) { h.Cut, h.WrongRange = 7001, true }, ErrAnswer},
		"another commit":     {func(h *hubtest.Hub) { h.HeadCommit = strings.Repeat("f", 40) }, ErrAnswer},
		"parent":             {func(h *hubtest.Hub) { h.Names = []string{"../x"} }, ErrAnswer},
		"absolute":           {func(h *hubtest.Hub) { h.Names = []string{"/etc/x"} }, ErrAnswer},
		"backslash":          {func(h *hubtest.Hub) { h.Names = []string{`a\..\b`} }, ErrAnswer},
		"twice":              {func(h *hubtest.Hub) { h.Names = []string{"config.json"} }, ErrAnswer},
		"file and directory": {func(h *hubtest.Hub) { h.Names = []string{"sub"} }, ErrAnswer},
		"listed, not there":  {func(h *hubtest.Hub) { h.Names = []string{"zzz"} }, ErrAnswer},
		"gated":              {func(h *hubtest.Hub) { h.Repositories["models/acme/llm"].Gated = true }, ErrDenied},
		"other token":        {func(h *hubtest.Hub) { h.Repositories["models/acme/llm"].Token = "x" }, ErrDenied},
		"no commit":          {func(h *hubtest.Hub) { h.Repositories["models/acme/llm"].Commit = "main" }, ErrAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			tc.lie(h)
			c, waits := client(t, h)
			if _, err := build(t, c, "hf://acme/llm"); !errors.Is(err, tc.want) {
				t.Errorf("%v", err)
			}
			if len(*waits) != 0 && h.Cut == 0 {
				t.Errorf("tried again %d times", len(*waits))
			}
		})
	}
}

// TestListed refuses a list before any file is asked for.
func TestListed(t *testing.T) {
	for _, name := range []string{"sub", "sub/deep", "config.json", "../x"} {
		h := newHub(t)
		h.Names = []string{name}
		c, _ := client(t, h)
		if s, err := c.Snapshot(t.Context(), Reference{"model", "acme/llm", "main"}); !errors.Is(err, ErrAnswer) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

// TestOtherCommit asks for a commit and gets another one.
func TestOtherCommit(t *testing.T) {
	h := newHub(t)
	c, _ := client(t, h)
	h.Resolves = strings.Repeat("e", 40)
	if _, err := build(t, c, "hf://acme/llm@"+hubtest.Commit); !errors.Is(err, ErrAnswer) {
		t.Error(err)
	}
}

// TestMovedRevision changes the branch between the list and the files: the commit was resolved once.
func TestMovedRevision(t *testing.T) {
	h := newHub(t)
	c, _ := client(t, h)
	s, err := c.Snapshot(t.Context(), Reference{"model", "acme/llm", "main"})
	if err != nil {
		t.Fatal(err)
	}
	h.Change(func() {
		h.Repositories["models/acme/llm"] = &hubtest.Repository{Commit: strings.Repeat("e", 40), Files: map[string]string{"config.json": "[]"}}
	})
	if data, err := fs.ReadFile(s.FS(t.Context()), "config.json"); !errors.Is(err, ErrAnswer) {
		t.Errorf("%q, %v", data, err)
	}
}

func TestMissing(t *testing.T) {
	h := newHub(t)
	c, _ := client(t, h)
	for _, ref := range []string{"hf://acme/none", "hf://acme/llm@v9", "hf://acme/data"} {
		if _, err := build(t, c, ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if _, err := c.Snapshot(t.Context(), Reference{"model", "acme/llm", strings.Repeat("e", 40)}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestBusy(t *testing.T) {
	h := newHub(t)
	h.Busy = MaxAttempts - 1
	c, waits := client(t, h)
	if _, err := build(t, c, "hf://acme/llm"); err != nil {
		t.Error(err)
	}
	if len(*waits) != MaxAttempts-1 || (*waits)[0] != time.Second {
		t.Errorf("waited %v, and Retry-After is 1", *waits)
	}
	h.Busy = 1000
	if _, err := build(t, c, "hf://acme/llm"); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	if n := len(*waits); n != 2*(MaxAttempts-1) {
		t.Errorf("%d waits", n)
	}
}

func TestCancelled(t *testing.T) {
	h := newHub(t)
	c, _ := client(t, h)
	s, err := c.Snapshot(t.Context(), Reference{"model", "acme/llm", "main"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fs.ReadFile(s.FS(ctx), "config.json"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestRedirects(t *testing.T) {
	c, err := New(Options{Endpoint: "https://hub.example/base/"})
	if err != nil {
		t.Fatal(err)
	}
	from := c.endpoint.JoinPath("x")
	for location, ok := range map[string]bool{
		"https://cdn.example/y": true, "/z": true, "http://cdn.example/y": false, "ftp://cdn.example/y": false, "": false, "https://u:p@cdn.example/y": false,
	} {
		if _, err := c.next(from, location); (err == nil) != ok {
			t.Errorf("%q: %v", location, err)
		}
	}
	for address, hub := range map[string]bool{"https://hub.example/x": true, "https://hub.example:8443/x": false, "http://hub.example/x": false, "https://cdn.hub.example/": false} {
		u, _ := from.Parse(address)
		if c.isHub(u) != hub {
			t.Errorf("%s: %t", address, !hub)
		}
	}
}

func TestEndpoints(t *testing.T) {
	for endpoint, ok := range map[string]bool{
		"": true, "https://hub.example": true, "http://127.0.0.1:8080": true, "http://localhost": true, "http://hub.example": false,
		"hub.example": false, "https://u:p@hub.example": false, "ftp://hub.example": false, "https://hub.example?x": false,
	} {
		if _, err := New(Options{Endpoint: endpoint}); (err == nil) != ok || err != nil && !errors.Is(err, ErrEndpoint) {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	if _, err := New(Options{Endpoint: "http://hub.example", PlainHTTP: true}); err != nil {
		t.Error(err)
	}
}

func TestParseReference(t *testing.T) {
	for text, want := range map[string]string{
		"hf://acme/llm": "hf://acme/llm@main", "hf://acme/llm@v1.0": "hf://acme/llm@v1.0", "hf://datasets/acme/d": "hf://datasets/acme/d@main",
		"hf://gpt2": "hf://gpt2@main", "hf://models/acme/llm@refs/pr/1": "hf://acme/llm@refs/pr/1",
	} {
		ref, err := ParseReference(text)
		if err != nil || ref.String() != want {
			t.Errorf("%s: %v, %v", text, ref, err)
		}
	}
	for _, text := range []string{"acme/llm", "hf://", "hf://acme/llm@", "hf://a/b/c", "hf://../x", "hf://acme/../x", "hf://acme/l--m", "hf://acme/llm@a..b",
		"hf://acme/llm@-x", "hf://acme/ll m", "hf://acme/llm?x", "hf://spaces/acme/x", "hf:///x", "hf://acme/llm@a\nb"} {
		if ref, err := ParseReference(text); !errors.Is(err, ErrReference) {
			t.Errorf("%s: %v, %v", text, ref, err)
		}
	}
}
