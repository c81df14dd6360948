package attest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/mlseal/mlseal/internal/gcroom"
	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/manifest"
)

// Predicate types of OpenSSF Model Signing.
const (
	// OMSPredicateType is that of OMS v1.0 section 5.1.
	OMSPredicateType = "https://model_signing/signature/v1.0"
	// OMSLegacyPredicateType is what model-signing 0.2 wrote, in an envelope of its own kind.
	OMSLegacyPredicateType = "https://model_signing/Digests/v0.1"
)

// The serialization methods of OMS v1.0 section 6.3.
const (
	methodFiles  = "files"
	methodShards = "shards"
)

// Refusals of an OMS statement that callers branch on. Each error also wraps ErrOMS.
var (
	// ErrOMS says that a statement is no OMS statement that is understood.
	ErrOMS = errors.New("not a usable OMS statement")
	// ErrOMSRoot says that the subject's root digest is not that of the resources.
	ErrOMSRoot = errors.New("the root digest does not match the resources")
)

// OMS is the content of an OpenSSF Model Signing statement: the files of a tree.
type OMS struct {
	Name        string   // the subject's name: the base name of what was signed
	Root        string   // root digest, recomputed from the resources; empty in a Legacy statement
	IgnorePaths []string // what the signer left out, by the signer's choice
	// Serialization says what the resources are and whether links were followed.
	Serialization manifest.Serialization
	// Resources is sorted by path and start, whatever the listed order was.
	Resources []manifest.Resource
	// SingleFile says that a bare file was signed, under the name ".": the reference
	// implementation's form, where the specification says the base name.
	SingleFile bool
	// Legacy says that model-signing 0.2 made the statement: it has no root digest and names no tree.
	Legacy bool
}

// Files lists the paths of the signed files, sorted. Files without contents are missing where shards were signed.
func (o *OMS) Files() []string {
	names := make([]string, 0, len(o.Resources))
	for _, r := range o.Resources {
		if len(names) == 0 || names[len(names)-1] != r.Path {
			names = append(names, r.Path)
		}
	}
	return names
}

// DirHash is the dirHash of the tree that the statement describes. The error wraps ErrOMS where that does not follow from
// the statement alone: its digests are not the files' sha256, or it followed links, so that what the tree holds can change
// without it.
func (o *OMS) DirHash() (string, error) {
	switch {
	case o.Serialization.AllowSymlinks:
		return "", fmt.Errorf("attest: %w: it was made with allow_symlinks: what a link points to can change without the tree", ErrOMS)
	case o.Serialization.ShardSize != 0:
		return "", fmt.Errorf("attest: %w: it lists shards, from which no dirHash follows", ErrOMS)
	case !o.Serialization.NamesFiles():
		return "", fmt.Errorf("attest: %w: it lists %s digests, from which no dirHash follows", ErrOMS, o.Serialization.HashType())
	}
	files := make([]manifest.File, len(o.Resources))
	for i, r := range o.Resources {
		files[i] = manifest.File{Path: r.Path, Digest: r.Digest}
	}
	m, err := manifest.New(files)
	if err != nil {
		return "", fmt.Errorf("attest: %w: %w", ErrOMS, err)
	}
	return m.DirHash(), nil
}

type omsResource struct {
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"`
	Digest    string `json:"digest"`
}

type omsSerialization struct {
	Method        string          `json:"method"`
	HashType      string          `json:"hash_type"`
	AllowSymlinks *bool           `json:"allow_symlinks"`
	IgnorePaths   ignorePaths     `json:"ignore_paths,omitempty"`
	ShardSize     json.RawMessage `json:"shard_size,omitempty"`
}

// ignorePaths are counted before they are read.
type ignorePaths []string

func (p *ignorePaths) UnmarshalJSON(data []byte) error {
	return decodeList(data, (*[]string)(p), MaxIgnorePaths, "ignore_paths")
}

// exact decodes an object and refuses keys that are known ones in another spelling.
func exact(data []byte, v any, known strictjson.Keys) error {
	if err := known.CheckAll(data); err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// omsBareFile is the resource name of a bare file in the reference implementation.
const omsBareFile = "."

// NewOMSStatement returns the OMS v1.0 statement for a tree, in the serialization that m was built with: name is the base
// name of what is signed, ignore the paths that the walk left out beside the files in m.
func NewOMSStatement(m *manifest.Manifest, name string, ignore []string) (*Statement, error) {
	payload, err := omsPayload(m, name, ignore)
	if err != nil {
		return nil, err
	}
	return ParseStatement(payload)
}

// SignOMS signs the statement that NewOMSStatement returns, as Sign does, and holds the list of a large tree less often than both.
func SignOMS(ctx context.Context, m *manifest.Manifest, name string, ignore []string, signer Signer) (*Bundle, error) {
	payload, err := omsPayload(m, name, ignore)
	if err != nil {
		return nil, err
	}
	return signPayload(ctx, payload, signer)
}

func omsPayload(m *manifest.Manifest, name string, ignore []string) ([]byte, error) {
	ignore = slices.Clone(ignore)
	sort.Strings(ignore)
	for _, path := range ignore {
		// OMS v1.0 section 6.2.1: "Ignore path entries MUST NOT contain glob characters".
		if strings.ContainsAny(path, "*?[") {
			return nil, fmt.Errorf("attest: %w: ignore_paths: %q holds a character that others could take for a pattern", ErrOMS, path)
		}
	}
	// What encoding/json writes for bytes that are no text is another name.
	if !utf8.ValidString(name) {
		return nil, fmt.Errorf("attest: %w: the name %q is not UTF-8: %w", ErrOMS, name, manifest.ErrName)
	}
	if len(ignore) > MaxIgnorePaths {
		return nil, fmt.Errorf("attest: %w: %d ignore_paths, and verifiers read %d", ErrOMS, len(ignore), MaxIgnorePaths)
	}
	if err := checkIgnored(ignore); err != nil {
		return nil, fmt.Errorf("attest: %w: %w", ErrOMS, err)
	}
	if err := checkListed(ignore, m.EachResource); err != nil {
		return nil, fmt.Errorf("attest: %w: %w", ErrOMS, err)
	}
	payload, err := writeOMS(m, name, newOMSSerialization(m.Serialization, slices.Compact(ignore)))
	if err != nil {
		return nil, fmt.Errorf("attest: %w: %w", ErrOMS, err)
	}
	return payload, nil
}

// writeOMS writes the statement with the predicate of OMS v1.0 section 5.2, resource by resource: they can be hundreds of thousands.
func writeOMS(m *manifest.Manifest, name string, s omsSerialization) ([]byte, error) {
	head, err := marshalHead(&Statement{Type: StatementType, Subject: []ResourceDescriptor{{Name: name, Digest: DigestSet{"sha256": m.OMSRoot()}}}, PredicateType: OMSPredicateType})
	if err != nil {
		return nil, err
	}
	size := len(head) + omsPredicateSize(m)
	gcroom.Make(size)
	var b bytes.Buffer
	b.Grow(size)
	b.Write(head)
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	write := func(separator string, v any) error {
		b.WriteString(separator)
		err := enc.Encode(v)
		b.Truncate(b.Len() - len("\n"))
		return err
	}
	separator := `{"resources":[`
	for r := range m.EachResource {
		// OMS v1.0 section 6.3.2: "algorithm: the same algorithm identifier as the hash_type field".
		if err := write(separator, omsResource{r.Name(), s.HashType, r.Digest.Encoded()}); err != nil {
			return nil, err
		}
		separator = ","
	}
	if b.Len() == len(head) {
		// OMS v1.0 section 6.1: an empty model MUST be rejected; so must one of empty files, of which there are no shards.
		return nil, errors.New("the tree is empty")
	}
	if err := write(`],"serialization":`, s); err != nil {
		return nil, err
	}
	b.WriteString("}}")
	return b.Bytes(), nil
}

// omsPredicateSize is about how many bytes writeOMS writes of the predicate.
func omsPredicateSize(m *manifest.Manifest) int {
	const around = 64 // keys, quotes and the algorithm
	size := 1024
	for r := range m.EachResource {
		size += around + len(r.Path) + len(r.Digest)
	}
	return size
}

func newOMSSerialization(s manifest.Serialization, ignore []string) omsSerialization {
	out := omsSerialization{Method: methodFiles, HashType: string(s.HashType()), AllowSymlinks: &s.AllowSymlinks, IgnorePaths: ignore}
	if s.ShardSize > 0 {
		out.Method, out.ShardSize = methodShards, fmt.Appendf(nil, "%d", s.ShardSize)
	}
	return out
}
