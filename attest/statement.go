package attest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/internal/gcroom"
	"github.com/mlseal/mlseal/internal/strictjson"
)

// Statement is an in-toto Statement v1: it says something (the predicate) about artifacts (the
// subjects) named by digest. The Predicate of one that was parsed is a part of the payload, and is not to be modified.
type Statement struct {
	Type          string               `json:"_type"`
	Subject       []ResourceDescriptor `json:"subject"`
	PredicateType string               `json:"predicateType"`
	Predicate     json.RawMessage      `json:"predicate"`
}

// ResourceDescriptor names an artifact (in-toto ResourceDescriptor v1).
type ResourceDescriptor struct {
	Name             string         `json:"name,omitempty"`
	URI              string         `json:"uri,omitempty"`
	Digest           DigestSet      `json:"digest,omitempty"`
	Content          []byte         `json:"content,omitempty"`
	DownloadLocation string         `json:"downloadLocation,omitempty"`
	MediaType        string         `json:"mediaType,omitempty"`
	Annotations      map[string]any `json:"annotations,omitempty"`
}

var (
	statementKeys = strictjson.NewKeys("_type", "subject", "predicateType", "predicate")
	resourceKeys  = strictjson.NewKeys("name", "uri", "digest", "content", "downloadLocation", "mediaType", "annotations")
	// algorithms lists digest algorithms with the length of their hexadecimal form.
	algorithms = map[string]int{
		"sha1": 40, "sha224": 56, "sha256": 64, "sha384": 96, "sha512": 128,
		"sha3_224": 56, "sha3_256": 64, "sha3_384": 96, "sha3_512": 128,
		"blake2b": 128, "blake3": 64, "md5": 32, "dirHash": 64,
		"gitCommit": 0, "gitTree": 0, "gitBlob": 0, "gitTag": 0, // SHA-1 or SHA-256
	}
	algorithmKeys = strictjson.NewKeys(slices.Collect(maps.Keys(algorithms))...)
)

// NewStatement returns a statement about subjects. It fails as ParseStatement would.
func NewStatement(subjects []ResourceDescriptor, predicateType string, predicate json.RawMessage) (*Statement, error) {
	s := &Statement{Type: StatementType, Subject: subjects, PredicateType: predicateType, Predicate: predicate}
	payload, err := s.Marshal()
	if err != nil {
		return nil, err
	}
	return ParseStatement(payload)
}

// Marshal returns the statement as compact JSON: the bytes that are signed.
func (s *Statement) Marshal() ([]byte, error) {
	data, err := s.marshal()
	if err != nil {
		return nil, fmt.Errorf("attest: %w: %w", ErrStatement, err)
	}
	return data, nil
}

// marshal puts the predicate, which can be as large as the list of a tree's files, behind the rest in one copy.
func (s *Statement) marshal() ([]byte, error) {
	head, err := marshalHead(s)
	if err != nil {
		return nil, err
	}
	predicate := s.Predicate
	if predicate == nil {
		predicate = json.RawMessage("null")
	}
	size := len(head) + len(predicate) + len("}")
	gcroom.Make(size)
	var b bytes.Buffer
	b.Grow(size)
	b.Write(head)
	if err := json.Compact(&b, predicate); err != nil {
		return nil, err
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// marshalHead writes the statement up to its predicate.
func marshalHead(s *Statement) ([]byte, error) {
	head, err := marshal(struct {
		Type          string               `json:"_type"`
		Subject       []ResourceDescriptor `json:"subject"`
		PredicateType string               `json:"predicateType"`
	}{s.Type, s.Subject, s.PredicateType})
	if err != nil {
		return nil, err
	}
	return append(bytes.TrimSuffix(head, []byte("}")), `,"predicate":`...), nil
}

// marshal writes compact JSON in which `<`, `>` and `&` stay readable.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// ParseStatement reads the payload of an envelope. Its _type must be one of types, or StatementType when
// none are given: other versions have the same fields and are accepted only by those who ask for them. The
// error wraps ErrStatement and, where the text itself is at fault, strictjson's ErrSyntax, ErrAmbiguous or ErrLimit.
func ParseStatement(payload []byte, types ...string) (*Statement, error) {
	if len(types) == 0 {
		types = []string{StatementType}
	}
	s, err := parseStatement(payload, types)
	if err != nil {
		return nil, fmt.Errorf("attest: %w: %w", ErrStatement, err)
	}
	return s, nil
}

func parseStatement(payload []byte, types []string) (*Statement, error) {
	if err := strictjson.Check(payload, strictjson.Limits{MaxBytes: MaxStatementBytes, MaxDepth: MaxStatementDepth}); err != nil {
		return nil, err
	}
	s := &Statement{}
	var subjects []byte
	err := strictjson.Object(payload, func(key string, value []byte) (err error) {
		switch key {
		case "_type":
			s.Type, err = strictjson.String(value)
		case "subject":
			subjects = value
		case "predicateType":
			s.PredicateType, err = strictjson.String(value)
		case "predicate":
			s.Predicate = value[:len(value):len(value)]
		default:
			err = statementKeys.Check(key)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	// in-toto Statement v1: "_type: ... Always https://in-toto.io/Statement/v1 for this version".
	if !slices.Contains(types, s.Type) {
		return nil, fmt.Errorf("_type is %q, want %s", s.Type, strings.Join(types, " or "))
	}
	if err := checkTypeURI(s.PredicateType); err != nil {
		return nil, err
	}
	// in-toto Statement v1: "predicate: ... Unset is treated the same as set-but-empty." Cosign v2 leaves it out of plain signatures.
	if s.Predicate == nil {
		s.Predicate = json.RawMessage("{}")
	}
	if s.Predicate[0] != '{' {
		return nil, fmt.Errorf("the predicate is not an object")
	}
	s.Subject, err = parseSubjects(subjects, maxSubjects(s.PredicateType))
	return s, err
}

func parseSubjects(data []byte, most int) ([]ResourceDescriptor, error) {
	var subjects []ResourceDescriptor
	annotations := 0
	if data != nil {
		err := strictjson.Array(data, func(value []byte) error {
			if len(subjects) == most {
				return fmt.Errorf("%w: more than %d subjects", strictjson.ErrLimit, most)
			}
			n, err := checkDescriptor(value)
			if annotations += n; err == nil && annotations > MaxAnnotations {
				err = fmt.Errorf("%w: more than %d values in annotations", strictjson.ErrLimit, MaxAnnotations)
			}
			var subject ResourceDescriptor
			if err == nil {
				subject, err = parseSubject(value)
			}
			if err != nil {
				return fmt.Errorf("subject %d: %w", len(subjects), err)
			}
			subjects = append(subjects, subject)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	// in-toto Statement v1: "subject: Set of software artifacts that the attestation applies to ... MUST".
	if len(subjects) == 0 {
		return nil, fmt.Errorf("it has no subject")
	}
	return subjects, nil
}

func parseSubject(data []byte) (ResourceDescriptor, error) {
	var subject ResourceDescriptor
	if err := json.Unmarshal(data, &subject); err != nil {
		return subject, err
	}
	// in-toto Statement v1: "subject[*].digest ... REQUIRED".
	if len(subject.Digest) == 0 {
		return subject, fmt.Errorf("it has no digest")
	}
	return subject, CheckDigestSet(subject.Digest)
}

// checkDescriptor holds the text of a resource descriptor to its keys and, before it is decoded, to what encoding/json would take otherwise than
// protojson or make much of: digests are strings and few, contents are a string. It returns how many values the annotations have.
func checkDescriptor(data []byte) (annotations int, err error) {
	err = strictjson.Object(data, func(key string, value []byte) error {
		switch key {
		case "digest":
			return checkDigests(value)
		case "content":
			if value[0] != '"' && string(value) != "null" {
				return errors.New("the content is no string")
			}
		case "annotations":
			annotations = countValues(value)
		}
		return resourceKeys.Check(key)
	})
	return annotations, err
}

func checkDigests(data []byte) error {
	n := 0
	return strictjson.Object(data, func(algorithm string, value []byte) error {
		if n++; n > MaxDigestsPerSubject {
			return fmt.Errorf("%w: more than %d digests", strictjson.ErrLimit, MaxDigestsPerSubject)
		}
		if value[0] != '"' {
			return fmt.Errorf("the digest %.100q is no string", algorithm)
		}
		return nil
	})
}

// countValues is how many values there are in valid JSON at least: one more than its commas, and one for each object and array.
func countValues(data []byte) int {
	n := 1
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case ',', '{', '[':
			n++
		case '"':
			i = strictjson.StringEnd(data, i) - 1
		}
	}
	return n
}

func maxSubjects(predicateType string) int {
	if predicateType == OMSLegacyPredicateType {
		return MaxLegacySubjects
	}
	return MaxSubjects
}

// CheckDigestSet refuses a digest set that two readers could understand differently: an
// algorithm spelled otherwise than in-toto DigestSet v1 spells it (`SHA256`, `sha-256`), a value that is not
// lower-case hexadecimal or has the wrong length for its algorithm, too many entries. Algorithms
// that are not known pass; nothing ever matches by them.
func CheckDigestSet(set DigestSet) error {
	if len(set) > MaxDigestsPerSubject {
		return fmt.Errorf("%w: %d digests, at most %d", strictjson.ErrLimit, len(set), MaxDigestsPerSubject)
	}
	for alg, value := range set {
		length, known := algorithms[alg]
		if !known {
			if err := algorithmKeys.Check(alg); err != nil {
				return fmt.Errorf("digest algorithm: %w", err)
			}
			continue
		}
		if !isLowerHex(value) || length != 0 && len(value) != length {
			return fmt.Errorf("digest %s:%q is not %d digits of lower-case hexadecimal", alg, value, length)
		}
	}
	return nil
}

func isLowerHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdef") == ""
}

// checkTypeURI holds a predicate type to what in-toto calls a TypeURI: absolute, without the
// characters that look like nothing.
func checkTypeURI(s string) error {
	for _, r := range s {
		if r <= ' ' || r > '~' {
			return fmt.Errorf("predicateType %q holds a character that no URI holds", s)
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" {
		return fmt.Errorf("predicateType %q is not a URI", s)
	}
	return nil
}

// Signer makes a Sigstore bundle of a payload.
type Signer interface {
	// SignBundle signs the DSSE pre-authentication encoding of payload and returns the bundle as JSON.
	SignBundle(ctx context.Context, payloadType string, payload []byte) ([]byte, error)
}

// Sign signs the statement and returns the bundle, which it has parsed again. It refuses a statement
// that ParseStatement would not take back.
func Sign(ctx context.Context, s *Statement, signer Signer) (*Bundle, error) {
	payload, err := s.Marshal()
	if err != nil {
		return nil, err
	}
	return signPayload(ctx, payload, signer)
}

func signPayload(ctx context.Context, payload []byte, signer Signer) (*Bundle, error) {
	if _, err := ParseStatement(payload); err != nil {
		return nil, err
	}
	data, err := signer.SignBundle(ctx, PayloadType, payload)
	if err != nil {
		return nil, fmt.Errorf("attest: sign: %w", err)
	}
	return Parse(data)
}
