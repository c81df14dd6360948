// Package hub reads models and datasets from a Hugging Face hub: it resolves a revision to a commit once, lists the commit's
// files with the digests that the hub publishes of them, and gives them as a file system whose files are streamed and held
// to those digests.
//
// What it asks (as huggingface_hub does; huggingface.co/docs/hub/api):
//
//	GET /api/{models|datasets}/REPO/revision/REVISION              {"sha": COMMIT}
//	GET /api/{models|datasets}/REPO/tree/COMMIT?recursive=true     [{"type", "path", "size", "oid", "lfs": {"oid", "size"}}],
//	                                                               and more behind a Link header with rel="next"
//	GET /[datasets/]REPO/resolve/COMMIT/PATH                       the contents, often behind redirects to other hosts
//
// A file of git-lfs has a sha256, any other a sha1 of git's (see package origin). The hub's word is what counts here: it is no
// signature.
//
// The token goes to the hub's own scheme, host and port, and nowhere else: not along a redirect, not to another page of a list.
package hub

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/mlseal/mlseal/manifest/origin"
)

// DefaultEndpoint is where the hub is when HF_ENDPOINT does not say otherwise.
const DefaultEndpoint = "https://huggingface.co"

// Errors that callers branch on. What a hub answers that is not true or not readable wraps ErrAnswer, and contents that are not as
// published wrap origin.ErrMismatch.
var (
	// ErrReference says that a text names no repository on a hub.
	ErrReference = errors.New("not a repository on a hub: write hf://org/name, hf://org/name@revision or hf://datasets/org/name")
	// ErrEndpoint says that the hub's address cannot be used.
	ErrEndpoint = errors.New("not an address of a hub")
	// ErrNotFound says that the hub knows no such repository, revision or file, or does not say so to a stranger.
	ErrNotFound = errors.New("not found on the hub")
	// ErrDenied says that the hub knows who asks and does not let them, or wants to know who asks.
	ErrDenied = errors.New("the hub does not give access")
	// ErrUnavailable says that the hub, or a host that it leads to, failed, so that nothing is known.
	ErrUnavailable = errors.New("hub unavailable")
	// ErrAnswer says that an answer of the hub contradicts itself, or is none that is understood.
	ErrAnswer = errors.New("the hub's answer is not usable")
	// ErrLimit says that an answer of the hub is larger or more than this package reads.
	ErrLimit = errors.New("the hub's answer exceeds a limit")
)

// scheme begins a reference.
const scheme = "hf://"

// Reference names a repository on a hub, at a revision.
type Reference struct {
	Kind       string // "model" or "dataset"
	Repository string // "org/name", or "name"
	Revision   string // branch, tag or commit; "main" where none was written
}

var (
	repositoryGrammar = lazyregexp.New(`^([A-Za-z0-9_][A-Za-z0-9._-]*/)?[A-Za-z0-9_][A-Za-z0-9._-]*$`)
	revisionGrammar   = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9._/+-]*$`)
	commitGrammar     = lazyregexp.New(`^[0-9a-f]{40}$`)
)

// IsReference reports whether text is written like a reference to a hub.
func IsReference(text string) bool { return strings.HasPrefix(text, scheme) }

// ParseReference reads hf://[datasets/|models/]ORG/NAME[@REVISION]. The error wraps ErrReference.
func ParseReference(text string) (Reference, error) {
	rest, ok := strings.CutPrefix(text, scheme)
	if !ok {
		return Reference{}, fmt.Errorf("hub: %q: %w", text, ErrReference)
	}
	ref := Reference{Kind: "model", Revision: "main"}
	if name, revision, ok := strings.Cut(rest, "@"); ok {
		rest, ref.Revision = name, revision
	}
	switch {
	case strings.HasPrefix(rest, "datasets/"):
		ref.Kind, rest = "dataset", strings.TrimPrefix(rest, "datasets/")
	case strings.HasPrefix(rest, "models/") && strings.Count(rest, "/") == 2:
		rest = strings.TrimPrefix(rest, "models/")
	case strings.HasPrefix(rest, "spaces/") && strings.Count(rest, "/") == 2:
		return Reference{}, fmt.Errorf("hub: %q: %w; a space is neither a model nor a dataset", text, ErrReference)
	}
	ref.Repository = rest
	if !repositoryGrammar.MatchString(rest) || len(rest) > 193 || strings.Contains(rest, "--") || strings.Contains(rest, "..") {
		return Reference{}, fmt.Errorf("hub: %q: %w", text, ErrReference)
	}
	if !revisionGrammar.MatchString(ref.Revision) || len(ref.Revision) > 255 || strings.Contains(ref.Revision, "..") {
		return Reference{}, fmt.Errorf("hub: %q: %w; %q is no revision", text, ErrReference, ref.Revision)
	}
	return ref, nil
}

// String writes the reference as ParseReference reads it.
func (r Reference) String() string { return scheme + r.source("").Path() + "@" + r.Revision }

func (r Reference) source(commit string) origin.Source {
	return origin.Source{Kind: r.Kind, Repository: r.Repository, Commit: commit}
}

// api is the address of a repository in the hub's API.
func (r Reference) api(endpoint *url.URL, parts ...string) *url.URL {
	return endpoint.JoinPath(append([]string{"api", r.Kind + "s", r.Repository}, parts...)...)
}

// resolve is the address of a file.
func (r Reference) resolve(endpoint *url.URL, commit, name string) *url.URL {
	parts := []string{r.source("").Path(), "resolve", commit}
	for _, part := range strings.Split(name, "/") {
		parts = append(parts, url.PathEscape(part))
	}
	return endpoint.JoinPath(parts...)
}
