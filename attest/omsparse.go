package attest

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/mlseal/mlseal/internal/gcroom"
	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/manifest"
	"github.com/opencontainers/go-digest"
)

// ParseOMS reads an OMS statement and recomputes its root digest. It takes both methods and all hash types
// of OMS v1.0, in any order of resources: the root is over the listed order, as the reference implementation and the specification
// sort differently. It takes statements that followed links as well; whoever trusts one must look at
// Serialization.AllowSymlinks. A statement of model-signing 0.2 is read too (see OMS.Legacy). The error wraps
// ErrStatement and ErrOMS, and ErrOMSRoot when the root does not match.
func ParseOMS(s *Statement) (*OMS, error) {
	parse := parseOMS
	if s.PredicateType == OMSLegacyPredicateType {
		parse = parseLegacyOMS
	}
	o, err := parse(s)
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
	var resources, serialization []byte
	err := strictjson.Object(s.Predicate, func(key string, value []byte) error {
		switch key {
		case "resources":
			resources = value
		case "serialization":
			serialization = value
		}
		return omsPredicateKeys.Check(key)
	})
	if err != nil {
		return nil, err
	}
	o := &OMS{Name: s.Subject[0].Name}
	if err := o.parseSerialization(serialization); err != nil {
		return nil, err
	}
	if o.Resources, err = parseResources(resources, o.Serialization); err != nil {
		return nil, err
	}
	if len(o.Resources) == 0 {
		// OMS v1.0 section 5.2.1: "The resources array MUST contain at least one entry".
		return nil, errors.New("it lists no resources")
	}
	o.Root = omsRoot(o.Resources)
	// OMS v1.0 section 6.5.1: the subject's digest is the sha256 over the resources' raw digests, as they are listed.
	if got := s.Subject[0].Digest["sha256"]; got != o.Root {
		return nil, fmt.Errorf("%w: the subject says sha256:%s, the resources give sha256:%s", ErrOMSRoot, got, o.Root)
	}
	if err := checkListed(o.IgnorePaths, slices.Values(o.Resources)); err != nil { // before a bare file gets its name, which may be that of one that a tree leaves out
		return nil, err
	}
	o.nameBareFile()
	return o, o.Serialization.SortResources(o.Resources)
}

var (
	omsPredicateKeys     = strictjson.NewKeys("resources", "serialization")
	omsResourceKeys      = strictjson.NewKeys("name", "algorithm", "digest")
	omsSerializationKeys = strictjson.NewKeys("method", "hash_type", "allow_symlinks", "ignore_paths", "shard_size")
)

func (o *OMS) parseSerialization(data []byte) (err error) {
	var s omsSerialization
	if data != nil {
		if err := exact(data, &s, omsSerializationKeys); err != nil {
			return err
		}
	}
	o.IgnorePaths = s.IgnorePaths
	o.Serialization, err = s.parse()
	return err
}

// parse reads the serialization object of OMS v1.0 section 5.2.2.
func (s omsSerialization) parse() (manifest.Serialization, error) {
	var out manifest.Serialization
	var err error
	if out.Hash, err = manifest.ParseHashType(s.HashType); err != nil {
		return out, err
	}
	switch {
	case s.Method != methodFiles && s.Method != methodShards:
		return out, fmt.Errorf("serialization method %q is not \"files\" or \"shards\"", s.Method)
	case s.Method == methodFiles && s.ShardSize != nil:
		return out, errors.New("shard_size stands beside the method \"files\"")
	case s.Method == methodShards:
		if out.ShardSize, err = parseShardSize(s.ShardSize); err != nil {
			return out, err
		}
	}
	if s.AllowSymlinks == nil {
		return out, errors.New("serialization.allow_symlinks is missing")
	}
	out.AllowSymlinks = *s.AllowSymlinks
	return out, checkIgnored(s.IgnorePaths)
}

// checkListed refuses resources that the ignored paths leave out.
func checkListed(ignore []string, resources iter.Seq[manifest.Resource]) error {
	ignored := manifest.NewPathSet(ignore)
	for r := range resources {
		if ignored.Covers(r.Path) {
			return fmt.Errorf("it lists %q, which its ignore_paths leave out", r.Path)
		}
	}
	return nil
}

func checkIgnored(paths []string) error {
	for _, name := range paths {
		if err := manifest.CheckName(path.Clean(name)); err != nil {
			return fmt.Errorf("ignore_paths: %w", err)
		}
	}
	return nil
}

// shardSizeGrammar is a positive integer, also as Python's protobuf writes it: 1000000000.0.
var shardSizeGrammar = lazyregexp.New(`^([1-9][0-9]{0,18})(\.0+)?$`)

func parseShardSize(text []byte) (int64, error) {
	match := shardSizeGrammar.FindStringSubmatch(string(text))
	if match == nil {
		return 0, fmt.Errorf("shard_size %q is not a positive integer", text)
	}
	n, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("shard_size %q is too large", text)
	}
	return n, nil
}

// parseResources reads the resources of a tree that was serialized so. It keeps the listed order, which the root digest is over.
func parseResources(data []byte, s manifest.Serialization) ([]manifest.Resource, error) {
	if data == nil {
		return nil, nil
	}
	n := 0
	if err := strictjson.Array(data, func([]byte) error { n++; return nil }); err != nil {
		return nil, err
	}
	gcroom.Make(len(data))
	out := make([]manifest.Resource, 0, n)
	err := strictjson.Array(data, func(value []byte) error {
		r, err := parseResource(value, s)
		out = append(out, r)
		return err
	})
	return out, err
}

func parseResource(data []byte, s manifest.Serialization) (manifest.Resource, error) {
	r, err := parseOMSResource(data)
	if err != nil {
		return manifest.Resource{}, err
	}
	if r.Algorithm != string(s.HashType()) && (s.ShardSize == 0 || r.Algorithm != s.ShardAlgorithm()) {
		return manifest.Resource{}, fmt.Errorf("resource %q: algorithm %q, want %q", r.Name, r.Algorithm, s.HashType())
	}
	if !isLowerHex(r.Digest) || len(r.Digest) != 2*s.HashType().Size() {
		return manifest.Resource{}, fmt.Errorf("resource %q: %q is not a %s digest", r.Name, r.Digest, s.HashType())
	}
	out := manifest.Resource{Path: r.Name, Digest: digest.Digest(string(s.HashType()) + ":" + r.Digest)}
	if s.ShardSize == 0 {
		return out, nil
	}
	if out.Path, out.Start, out.End, err = manifest.ParseShardName(r.Name); err != nil {
		return out, fmt.Errorf("resource: %w", err)
	}
	if out.End == 0 {
		return out, fmt.Errorf("resource %q: the shard is empty", r.Name)
	}
	return out, nil
}

func parseOMSResource(data []byte) (omsResource, error) {
	var r omsResource
	err := strictjson.Object(data, func(key string, value []byte) (err error) {
		switch key {
		case "name":
			r.Name, err = strictjson.String(value)
		case "algorithm":
			r.Algorithm, err = strictjson.String(value)
		case "digest":
			r.Digest, err = strictjson.String(value)
		default:
			err = omsResourceKeys.Check(key)
		}
		return err
	})
	return r, err
}

func omsRoot(resources []manifest.Resource) string {
	h := sha256.New()
	for _, r := range resources {
		raw, _ := hex.DecodeString(r.Digest.Encoded()) // hexadecimal was checked
		_, _ = h.Write(raw)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// nameBareFile gives a bare file, which the reference implementation names ".", the subject's name.
func (o *OMS) nameBareFile() {
	for _, r := range o.Resources {
		if r.Path != omsBareFile {
			return
		}
	}
	o.SingleFile = true
	for i := range o.Resources {
		o.Resources[i].Path = o.Name
	}
}

// parseLegacyOMS reads what model-signing 0.2 wrote (OMS v1.0 section 11): one subject a file, always sha256, and a predicate
// that says nothing. There is no root digest, and nothing says what was left out.
func parseLegacyOMS(s *Statement) (*OMS, error) {
	o := &OMS{Legacy: true, Resources: make([]manifest.Resource, len(s.Subject))}
	for i, subject := range s.Subject {
		sum, ok := subject.Digest["sha256"]
		if !ok {
			return nil, fmt.Errorf("subject %q has no sha256 digest", subject.Name)
		}
		if kind, ok := subject.Annotations[legacyAlgorithmKey]; ok && kind != legacyAlgorithm {
			return nil, fmt.Errorf("subject %q: %s is %q, want %q", subject.Name, legacyAlgorithmKey, kind, legacyAlgorithm)
		}
		o.Resources[i] = manifest.Resource{Path: subject.Name, Digest: digest.NewDigestFromEncoded(digest.SHA256, sum)}
	}
	o.nameBareFile()
	if o.SingleFile {
		return nil, errors.New("a bare file without a name was signed")
	}
	return o, o.Serialization.SortResources(o.Resources)
}

// The annotation in which model-signing 0.2 said what its digest is of; shards and trees of digests had other values.
const (
	legacyAlgorithmKey = "actual_hash_algorithm"
	legacyAlgorithm    = "file-sha256"
)

// LegacyPAE is what model-signing 0.2 signed instead of DSSE's pre-authentication encoding: "DSSEV1" in capitals, and the
// payload as Python writes a bytes literal, b'...', while its length is that of the payload itself.
func LegacyPAE(payloadType string, payload []byte) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "DSSEV1 %d %s %d b", len(payloadType), payloadType, len(payload))
	quote := byte('\'')
	// Python takes double quotes for bytes that hold single quotes and no double ones.
	if strings.Contains(string(payload), "'") && !strings.Contains(string(payload), `"`) {
		quote = '"'
	}
	b.WriteByte(quote)
	for _, c := range payload {
		switch {
		case c == quote || c == '\\':
			b.Write([]byte{'\\', c})
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte(quote)
	return []byte(b.String())
}
