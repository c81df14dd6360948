package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/mlseal/mlseal/internal/registrytest"
	"github.com/mlseal/mlseal/internal/testenv"
	"github.com/mlseal/mlseal/manifest/cache"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the golden parts of the scripts anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mlseal": main})
}

// TestScripts runs every .txtar file over the real main, one process a command.
func TestScripts(t *testing.T) {
	root, mounts := testenv.Root(t), sync.OnceValues(canMount)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		UpdateScripts:       *update,
		RequireExplicitExec: false,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("MLSEAL_PASSWORD", "pw")
			env.Setenv("COSIGN_PASSWORD", "")
			env.Setenv("TESTDATA", filepath.Join(root, "testdata"))
			env.Setenv("RESULTS", filepath.Join(root, "attest", "evaluation", "testdata"))
			env.Setenv("DOCS", filepath.Join(root, "docs"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("KEYLESS", filepath.Join(root, "testdata", "keyless"))
			env.Setenv("ISSUER", "https://token.actions.githubusercontent.com")
			env.Setenv("WHO", "https://github.com/acme/llm/.github/workflows/train.yml@refs/heads/main")
			return readmeSession(root, env.WorkDir)
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "mounts":
				return mounts()
			case "remembers": // the digest cache relies on the file system of temporary directories
				return cache.New(os.TempDir()).Below(os.TempDir()) != nil, nil
			case "objectstores": // the build has their clients
				return !builtWith("noobjectstore"), nil
			case "keyservices":
				return !builtWith("nokms"), nil
			}
			return false, fmt.Errorf("no such condition: %s", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"attach":    attachBundle,
			"exits":     exits,
			"sigstore":  startSigstore(t),
			"authority": startAuthority,
			"registry":  startRegistry,
			"faulty":    startFaulty,
			"hub":       startHub,
			"objects":   startObjects,
			"foreign":   packForeign,
			"layout":    makeLayout,
			"ownlayout": ownLayout,
			"transit":   startTransit,
			"flip":      flip,
			"replace":   replaceText,
			"schema":    checkSchema(t),
			"readonly":  startReadOnly,
			"outage":    startOutage,
			"same":      sameDecisions,

			"shellblock": shellBlock,
			"containers": containers,
			"each":       each,
		},
	})
}

// readmeSession lays out a checkout with the README's test data and writes the commands of its section "One session"
// into two scripts. `make build` is left out: the scripts run the binary under test.
func readmeSession(root, dir string) error {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		return err
	}
	_, section, _ := strings.Cut(string(text), "\n## One session\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := strings.Split(section, "```sh\n")
	if len(blocks) != 3 {
		return fmt.Errorf("the README's session has %d blocks of commands, want 2", len(blocks)-1)
	}
	checkout := filepath.Join(dir, "checkout")
	if err := os.MkdirAll(checkout, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join(root, "testdata"), filepath.Join(checkout, "testdata")); err != nil {
		return err
	}
	session, _, _ := strings.Cut(blocks[1], "```")
	session, found := strings.CutPrefix(session, "make build && export PATH=$PWD/bin:$PATH\n")
	if !found {
		return errors.New("the README's session does not begin with make build")
	}
	tree, _, _ := strings.Cut(blocks[2], "```")
	return os.WriteFile(filepath.Join(checkout, "session.sh"), []byte(session+tree), 0o644)
}

// exits N COMMAND… wants the exit status N exactly.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// registry NAME starts a registry on loopback with the referrers API and puts its address into the variable NAME; with
// a second word "fallback" it has no referrers API.
func startRegistry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: registry NAME [fallback]")
	}
	api := len(args) == 1
	server := httptest.NewServer(testRegistry(api))
	ts.Defer(server.Close)
	ts.Setenv(args[0], strings.TrimPrefix(server.URL, "http://"))
}

// faulty NAME [FAULT...] starts a registry that fails as it is told to, and puts its address into the variable NAME.
func startFaulty(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: faulty NAME [FAULT...]")
	}
	g := &registrytest.Registry{}
	for _, fault := range args[1:] {
		name, value, _ := strings.Cut(fault, "=")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch name {
		case "fallback":
			g.NoReferrers = true
		case "nodelete":
			g.NoDelete = true
		case "login":
			g.User, g.Password, _ = strings.Cut(value, ":")
		case "cut":
			g.CutUploads, g.CutDownloads = append(g.CutUploads, n), append(g.CutDownloads, n)
		case "forbid":
			g.Answer = answering(value, http.StatusForbidden, "")
		case "status":
			g.Answer = answering(":", int(n), "")
		case "lie":
			g.Answer = answering(value, http.StatusOK, "something else")
		default:
			ts.Fatalf("no such fault: %s", fault)
		}
	}
	server := httptest.NewServer(g)
	ts.Defer(server.Close)
	ts.Setenv(args[0], strings.TrimPrefix(server.URL, "http://"))
}

// answering answers requests "METHOD:PATHPART" always in one way; either may be empty, for all.
func answering(what string, status int, body string) func(http.ResponseWriter, *http.Request) bool {
	method, part, _ := strings.Cut(what, ":")
	return func(w http.ResponseWriter, r *http.Request) bool {
		if method != "" && r.Method != method || !strings.Contains(r.URL.Path, part) {
			return false
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		return true
	}
}

// testRegistry mends what go-containerregistry's registry leaves out of the OCI distribution
// specification 1.1: it sends no OCI-Subject header and reports the config's media type as artifactType.
func testRegistry(referrers bool) http.Handler {
	inner := registry.New(registry.WithReferrersSupport(referrers), registry.Logger(log.New(io.Discard, "", 0)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") && referrers {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			var m struct {
				Subject *struct {
					Digest string `json:"digest"`
				} `json:"subject"`
			}
			if json.Unmarshal(body, &m) == nil && m.Subject != nil {
				w.Header().Set("OCI-Subject", m.Subject.Digest)
			}
		}
		if repo, _, ok := strings.Cut(r.URL.Path, "/referrers/"); ok && r.Method == http.MethodGet && referrers {
			listReferrers(inner, repo, w, r)
			return
		}
		inner.ServeHTTP(w, r)
	})
}

// listReferrers answers with the list of inner, in which each referrer has the artifactType of its own manifest, as the OCI distribution
// specification 1.1 says under "Listing Referrers".
func listReferrers(inner http.Handler, repo string, w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	inner.ServeHTTP(answer, r)
	body := answer.Body.Bytes()
	var index ocispec.Index
	if answer.Code == http.StatusOK && json.Unmarshal(body, &index) == nil {
		for i := range index.Manifests {
			referrer := httptest.NewRecorder()
			inner.ServeHTTP(referrer, httptest.NewRequest(http.MethodGet, repo+"/manifests/"+index.Manifests[i].Digest.String(), nil))
			var m struct {
				ArtifactType string `json:"artifactType"`
			}
			if json.Unmarshal(referrer.Body.Bytes(), &m) == nil && m.ArtifactType != "" {
				index.Manifests[i].ArtifactType = m.ArtifactType
			}
		}
		body, _ = json.Marshal(index)
	}
	w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body)
}

// flip FILE OFFSET complements one byte. A glob names the file when its name is a digest.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	files, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(files) != 1 {
		ts.Fatalf("%s names %d files", args[0], len(files))
	}
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	data, err := os.ReadFile(files[0])
	ts.Check(err)
	data[at] ^= 0xff
	ts.Check(os.Chmod(files[0], 0o644))
	ts.Check(os.WriteFile(files[0], data, 0o644))
}

// replace FILE OLD NEW replaces text in a file once.
func replaceText(ts *testscript.TestScript, _ bool, args []string) {
	name := ts.MkAbs(args[0])
	data, err := os.ReadFile(name)
	ts.Check(err)
	if !strings.Contains(string(data), args[1]) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(name, []byte(strings.Replace(string(data), args[1], args[2], 1)), 0o644))
}
