package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"sort"

	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/manifest"
	"github.com/opencontainers/go-digest"
)

// OMSPredicateType is that of OpenSSF Model Signing v1.0 (section 4.3).
const OMSPredicateType = "https://model_signing/signature/v1.0"

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
	Root        string   // root digest, recomputed from the resources
	IgnorePaths []string // what the signer left out, by the signer's choice
	Manifest    *manifest.Manifest
	// SingleFile says that a bare file was signed, under the name ".": the reference
	// implementation's form, where the specification says the base name.
	SingleFile bool
}

type omsPredicate struct {
	Resources     []omsResource    `json:"resources"`
	Serialization omsSerialization `json:"serialization"`
}

type omsResource struct {
	Name      string `json:"name"`
	Algorithm string `json:"algorithm"`
	Digest    string `json:"digest"`
}

type omsSerialization struct {
	Method        string      `json:"method"`
	HashType      string      `json:"hash_type"`
	AllowSymlinks *bool       `json:"allow_symlinks"`
	IgnorePaths   []string    `json:"ignore_paths,omitempty"`
	ShardSize     json.Number `json:"shard_size,omitempty"`
}

func (r *omsResource) UnmarshalJSON(data []byte) error {
	type plain omsResource
	return exact(data, (*plain)(r), "name", "algorithm", "digest")
}

func (s *omsSerialization) UnmarshalJSON(data []byte) error {
	type plain omsSerialization
	return exact(data, (*plain)(s), "method", "hash_type", "allow_symlinks", "ignore_paths", "shard_size")
}

// exact decodes an object and refuses keys that are known ones in another spelling.
func exact(data []byte, v any, known ...string) error {
	if err := strictjson.CheckKeys(data, known...); err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// omsBareFile is the resource name of a bare file in the reference implementation.
const omsBareFile = "."

// NewOMSStatement returns the OMS v1.0 statement for a tree: name is the base name of what is
// signed, ignore the paths that the walk left out beside the files in m.
func NewOMSStatement(m *manifest.Manifest, name string, ignore []string) (*Statement, error) {
	if len(m.Files) == 0 {
		// OMS v1.0 section 5.1: an empty model MUST be rejected.
		return nil, fmt.Errorf("attest: %w: the tree is empty", ErrOMS)
	}
	ignore = slices.Clone(ignore)
	sort.Strings(ignore)
	symlinks := false
	p := omsPredicate{Serialization: omsSerialization{
		Method: "files", HashType: "sha256", AllowSymlinks: &symlinks, IgnorePaths: slices.Compact(ignore)}}
	for _, f := range m.Files {
		p.Resources = append(p.Resources, omsResource{f.Path, "sha256", f.Digest.Encoded()})
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		return nil, fmt.Errorf("attest: %w: %w", ErrOMS, err)
	}
	subject := ResourceDescriptor{Name: name, Digest: DigestSet{"sha256": m.OMSRoot()}}
	return NewStatement([]ResourceDescriptor{subject}, OMSPredicateType, bytes.TrimSpace(b.Bytes()))
}

// ParseOMS reads an OMS statement and recomputes its root digest. It takes the files method with
// sha256, in any order of resources: the root is over the listed order. The error wraps
// ErrStatement and ErrOMS, and ErrOMSRoot when the root does not match.
func ParseOMS(s *Statement) (*OMS, error) {
	o, err := parseOMS(s)
	if err != nil {
		return nil, fmt.Errorf("attest: %w: %w: %w", ErrStatement, ErrOMS, err)
	}
	return o, nil
}

func parseOMS(s *Statement) (*OMS, error) {
	if s.PredicateType != OMSPredicateType {
		return nil, fmt.Errorf("predicateType is %q, want %q", s.PredicateType, OMSPredicateType)
	}
	if len(s.Subject) != 1 {
		return nil, fmt.Errorf("%d subjects, want exactly one", len(s.Subject))
	}
	p, err := parseOMSPredicate(s.Predicate)
	if err != nil {
		return nil, err
	}
	for _, name := range p.Serialization.IgnorePaths {
		if err := manifest.CheckName(path.Clean(name)); err != nil {
			return nil, fmt.Errorf("ignore_paths: %w", err)
		}
	}
	o := &OMS{Name: s.Subject[0].Name, IgnorePaths: p.Serialization.IgnorePaths}
	o.SingleFile = len(p.Resources) == 1 && p.Resources[0].Name == omsBareFile
	if o.Root, err = omsRoot(p.Resources); err != nil {
		return nil, err
	}
	// OMS v1.0 section 6.3: the subject's digest is the sha256 over the resources' raw digests.
	if got := s.Subject[0].Digest["sha256"]; got != o.Root {
		return nil, fmt.Errorf("%w: the subject says sha256:%s, the resources give sha256:%s", ErrOMSRoot, got, o.Root)
	}
	if o.Manifest, err = omsManifest(o, p.Resources); err != nil {
		return nil, err
	}
	return o, nil
}

func parseOMSPredicate(data []byte) (*omsPredicate, error) {
	var p omsPredicate
	if err := exact(data, &p, "resources", "serialization"); err != nil {
		return nil, err
	}
	ser := p.Serialization
	switch {
	case len(p.Resources) == 0:
		return nil, errors.New("it lists no resources")
	case ser.Method != "files":
		return nil, fmt.Errorf("serialization method %q is not read by this version, only \"files\"", ser.Method)
	case ser.HashType != "sha256":
		return nil, fmt.Errorf("hash_type %q is not read by this version, only \"sha256\"", ser.HashType)
	case ser.ShardSize != "":
		return nil, errors.New("shard_size stands beside the method \"files\"")
	case ser.AllowSymlinks == nil:
		return nil, errors.New("serialization.allow_symlinks is missing")
	case *ser.AllowSymlinks:
		return nil, errors.New("it was made with allow_symlinks: what a link points to can change without the tree")
	}
	return &p, nil
}

func omsRoot(resources []omsResource) (string, error) {
	h := sha256.New()
	for _, r := range resources {
		if r.Algorithm != "sha256" {
			return "", fmt.Errorf("resource %q: algorithm %q, want \"sha256\"", r.Name, r.Algorithm)
		}
		if !isLowerHex(r.Digest) || len(r.Digest) != 2*sha256.Size {
			return "", fmt.Errorf("resource %q: %q is not a sha256 digest", r.Name, r.Digest)
		}
		raw, err := hex.DecodeString(r.Digest)
		if err != nil {
			return "", err
		}
		_, _ = h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// omsManifest lists the resources as files; a bare file gets the subject's name. Sizes are not
// known to OMS and stay 0.
func omsManifest(o *OMS, resources []omsResource) (*manifest.Manifest, error) {
	files := make([]manifest.File, len(resources))
	for i, r := range resources {
		name := r.Name
		if o.SingleFile {
			name = o.Name
		}
		files[i] = manifest.File{Path: name, Digest: digest.NewDigestFromEncoded(digest.SHA256, r.Digest)}
	}
	return manifest.New(files)
}
