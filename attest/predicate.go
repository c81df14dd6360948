package attest

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/mlseal/mlseal/internal/jsonschema"
	"github.com/mlseal/mlseal/internal/strictjson"
)

// Predicate types that have a short name.
const (
	DatasetPredicateType    = "https://mlseal.dev/attestation/dataset/v0.1"
	EvaluationPredicateType = "https://mlseal.dev/attestation/evaluation/v0.1"
	ProvenancePredicateType = "https://slsa.dev/provenance/v1"

	ApprovalPredicateType      = "https://mlseal.dev/attestation/approval/v0.1"
	ArtifactScanPredicateType  = "https://mlseal.dev/attestation/artifact-scan/v0.1"
	LicenseReviewPredicateType = "https://mlseal.dev/attestation/license-review/v0.1"
	EvidenceSetPredicateType   = "https://mlseal.dev/attestation/evidence-set/v0.1"
	RevocationPredicateType    = "https://mlseal.dev/attestation/revocation/v0.1"
	WaiverPredicateType        = "https://mlseal.dev/attestation/waiver/v0.1"

	// ReferencePredicateType names documents by digest (in-toto).
	ReferencePredicateType = "https://in-toto.io/attestation/reference/v0.1"
	// SignaturePredicateType says nothing but "signed": what `cosign sign` of v2.6 and v3 writes.
	SignaturePredicateType = "https://sigstore.dev/cosign/sign/v1"
	// VSAPredicateType and SVRPredicateType are what `mlseal verify` can say of its decision.
	VSAPredicateType = "https://slsa.dev/verification_summary/v1"
	SVRPredicateType = "https://in-toto.io/attestation/svr/v0.2"
)

// MaxPredicateBytes bounds a predicate that is to be signed: with its envelope in base64 it
// still fits the 4 MiB that a bundle may have in a registry.
const MaxPredicateBytes = 2 << 20

//go:embed schema/*.json
var schemaFiles embed.FS

// shortNames are the names that --type and policies take instead of a URI.
var shortNames = map[string]string{
	"dataset":         DatasetPredicateType,
	"evaluation":      EvaluationPredicateType,
	"slsa-provenance": ProvenancePredicateType,
	"cyclonedx":       "https://cyclonedx.org/bom",
	"spdx":            "https://spdx.dev/Document/v3",
	"test-result":     "https://in-toto.io/attestation/test-result/v0.1",
	"vulns":           "https://in-toto.io/attestation/vulns/v0.2",
	"reference":       ReferencePredicateType,
	"vsa":             VSAPredicateType,
	"svr":             SVRPredicateType,
	"approval":        ApprovalPredicateType,
	"artifact-scan":   ArtifactScanPredicateType,
	"license-review":  LicenseReviewPredicateType,
	"evidence-set":    EvidenceSetPredicateType,
	"revocation":      RevocationPredicateType,
	"waiver":          WaiverPredicateType,
}

// schemas maps a predicate type to its schema's file.
var schemas = map[string]string{
	DatasetPredicateType:    "schema/dataset.json",
	EvaluationPredicateType: "schema/evaluation.json",
	ProvenancePredicateType: "schema/slsa-provenance.json",

	ApprovalPredicateType:      "schema/approval.json",
	ArtifactScanPredicateType:  "schema/artifact-scan.json",
	LicenseReviewPredicateType: "schema/license-review.json",
	EvidenceSetPredicateType:   "schema/evidence-set.json",
	RevocationPredicateType:    "schema/revocation.json",
	WaiverPredicateType:        "schema/waiver.json",
}

// PredicateType returns the URI for a short name, and the name itself when it is a URI.
func PredicateType(name string) (string, bool) {
	if uri, ok := shortNames[name]; ok {
		return uri, true
	}
	return name, strings.Contains(name, ":") && checkTypeURI(name) == nil
}

// ShortNames lists the short names of predicate types, sorted.
func ShortNames() []string {
	names := make([]string, 0, len(shortNames))
	for name := range shortNames {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// SchemaNames lists the short names of the predicate types that have a schema, sorted.
func SchemaNames() []string {
	var names []string
	for _, name := range ShortNames() {
		if schemas[shortNames[name]] != "" {
			names = append(names, name)
		}
	}
	return names
}

// Schema returns the JSON Schema of a predicate type, which has a URI or a short name; false when it has none.
func Schema(name string) ([]byte, bool) {
	uri, _ := PredicateType(name)
	data, err := schemaFiles.ReadFile(schemas[uri])
	return data, err == nil
}

// CheckPredicate reports how predicate fails the schema of its type, each place on a line; the error wraps
// ErrPredicate. A predicate of a type without a schema must be an object that parsers read alike.
func CheckPredicate(predicateType string, predicate []byte) error {
	if err := strictjson.Check(predicate, strictjson.Limits{MaxBytes: MaxPredicateBytes, MaxDepth: MaxStatementDepth - 1}); err != nil {
		return fmt.Errorf("attest: %w: %w", ErrPredicate, err)
	}
	value, err := jsonschema.Decode(predicate)
	if err != nil {
		return fmt.Errorf("attest: %w: %w", ErrPredicate, err)
	}
	if _, ok := value.(map[string]any); !ok {
		return fmt.Errorf("attest: %w: it is not a JSON object", ErrPredicate)
	}
	file, ok := schemas[predicateType]
	if !ok {
		return nil
	}
	schema, err := compiled(file)
	if err != nil {
		return fmt.Errorf("attest: %s: %w", file, err)
	}
	if err := schema.Validate(value); err != nil {
		return fmt.Errorf("attest: %w (%s): %w", ErrPredicate, predicateType, err)
	}
	switch predicateType {
	case EvaluationPredicateType:
		return checkPassed(predicate)
	case ArtifactScanPredicateType:
		return checkCoverage(predicate)
	}
	return nil
}

// CheckOwn holds the predicate of a statement to its schema where it is of a type that mlseal defines, or SLSA provenance of one of mlseal's build
// types. held is false for all others, which are their specification's matter.
func CheckOwn(s *Statement) (held bool, err error) {
	switch {
	case schemas[s.PredicateType] == "":
		return false, nil
	case s.PredicateType == ProvenancePredicateType:
		var p struct {
			BuildDefinition struct {
				BuildType string `json:"buildType"`
			} `json:"buildDefinition"`
		}
		if json.Unmarshal(s.Predicate, &p) == nil && !strings.HasPrefix(p.BuildDefinition.BuildType, buildTypes) {
			return false, nil
		}
	}
	return true, CheckPredicate(s.PredicateType, s.Predicate)
}

// buildTypes is what the URIs of mlseal's build types begin with.
const buildTypes = "https://mlseal.dev/buildtypes/"

// NewPredicate writes v as the predicate of a type, and holds it to the type's schema. The error wraps ErrPredicate.
func NewPredicate(predicateType string, v any) (json.RawMessage, error) {
	predicate, err := marshal(v)
	if err != nil {
		return nil, fmt.Errorf("attest: %w: %w", ErrPredicate, err)
	}
	return predicate, CheckPredicate(predicateType, predicate)
}

// checkCoverage holds a scan to its own numbers: every file was scanned or is listed as skipped.
func checkCoverage(predicate []byte) error {
	var p struct {
		Coverage struct {
			Total, Scanned json.Number
			Skipped        []any
		}
	}
	if err := json.Unmarshal(predicate, &p); err != nil {
		return fmt.Errorf("attest: %w: %w", ErrPredicate, err)
	}
	total, err1 := p.Coverage.Total.Int64()
	scanned, err2 := p.Coverage.Scanned.Int64()
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("attest: %w: coverage: %w", ErrPredicate, err)
	}
	if skipped := int64(len(p.Coverage.Skipped)); scanned > total || total-scanned != skipped {
		return fmt.Errorf("attest: %w: coverage: of %d files %d were scanned and %d skipped", ErrPredicate, total, scanned, skipped)
	}
	return nil
}

// checkPassed holds an evaluation to its own numbers: a result that names a threshold must say
// `passed` exactly when the value clears it.
func checkPassed(predicate []byte) error {
	var p struct {
		Results []struct {
			Metric, Value, Comparator, Threshold string
			Passed                               bool
		}
	}
	if err := json.Unmarshal(predicate, &p); err != nil {
		return fmt.Errorf("attest: %w: %w", ErrPredicate, err)
	}
	for i, r := range p.Results {
		if r.Comparator == "" {
			continue
		}
		passed, err := Clears(r.Value, r.Comparator, r.Threshold)
		if err != nil {
			return fmt.Errorf("attest: %w: results[%d]: %w", ErrPredicate, i, err)
		}
		if passed != r.Passed {
			return fmt.Errorf("attest: %w: results[%d] (%s): passed is %t, but %s %s %s is %t",
				ErrPredicate, i, r.Metric, r.Passed, r.Value, r.Comparator, r.Threshold, !r.Passed)
		}
	}
	return nil
}

// Clears reports whether a value clears a threshold, without rounding either: both are decimals, as the schema of an
// evaluation has them.
func Clears(value, comparator, threshold string) (bool, error) {
	v, ok1 := new(big.Rat).SetString(value)
	t, ok2 := new(big.Rat).SetString(threshold)
	if !ok1 || !ok2 {
		return false, errors.New("not a decimal")
	}
	return clears(v.Cmp(t), comparator), nil
}

func clears(cmp int, comparator string) bool {
	switch comparator {
	case ">=":
		return cmp >= 0
	case ">":
		return cmp > 0
	case "<=":
		return cmp <= 0
	case "<":
		return cmp < 0
	default: // the schema admits no other than "=="
		return cmp == 0
	}
}

var compiledSchemas sync.Map // file to func() (*jsonschema.Schema, error)

func compiled(file string) (*jsonschema.Schema, error) {
	once, _ := compiledSchemas.LoadOrStore(file, sync.OnceValues(func() (*jsonschema.Schema, error) {
		data, err := schemaFiles.ReadFile(file)
		if err != nil {
			return nil, err
		}
		return jsonschema.Compile(data)
	}))
	return once.(func() (*jsonschema.Schema, error))()
}

// ClaimedTime is when a statement says of itself that its matter was finished: runDetails.metadata.finishedOn
// of SLSA provenance v1, timeVerified of a verification summary, timeCreated of a simple verification result, else finishedOn, createdOn or
// timestamp at the top of the predicate. It is the signer's word. The zero time means that it says nothing.
func ClaimedTime(s *Statement) time.Time {
	var p struct {
		RunDetails struct {
			Metadata struct {
				FinishedOn string `json:"finishedOn"`
			} `json:"metadata"`
		} `json:"runDetails"`
		FinishedOn   string `json:"finishedOn"`
		CreatedOn    string `json:"createdOn"`
		Timestamp    string `json:"timestamp"`
		TimeVerified string `json:"timeVerified"`
		TimeCreated  string `json:"timeCreated"`
	}
	keys := []string{"finishedOn", "createdOn", "timestamp"}
	switch s.PredicateType {
	case ProvenancePredicateType:
		keys = []string{"runDetails"}
	case VSAPredicateType:
		keys = []string{"timeVerified"}
	case SVRPredicateType:
		keys = []string{"timeCreated"}
	}
	// A predicate in which such a key is no string, or is spelled otherwise, claims no time.
	if strictjson.CheckKeys(s.Predicate, keys...) != nil || json.Unmarshal(s.Predicate, &p) != nil {
		return time.Time{}
	}
	claims := map[string]string{"runDetails": p.RunDetails.Metadata.FinishedOn, "finishedOn": p.FinishedOn, "createdOn": p.CreatedOn, "timestamp": p.Timestamp,
		"timeVerified": p.TimeVerified, "timeCreated": p.TimeCreated}
	for _, key := range keys {
		if t, err := time.Parse(time.RFC3339, claims[key]); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}
