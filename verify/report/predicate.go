package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/policies"
)

// ErrURI says that something is not a URI that a summary may name.
var ErrURI = errors.New("not a URI")

// Verifier is who makes a summary, and of what.
type Verifier struct {
	ID          string // URI of who verifies; consumers pair it with the signer
	Version     string // of mlseal
	ResourceURI string // where the artifact is fetched from
	PolicyURI   string // of the policy; empty for DefaultPolicyURI
	Repository  string // host/name of the repository that statements were found in; empty when it is none of a registry
}

// DefaultPolicyURI names a policy that has no address: urn:mlseal:policy:NAME:VERSION.
func DefaultPolicyURI(ref policies.PolicyRef) string {
	uri := "urn:mlseal:policy:" + url.PathEscape(ref.Name)
	if ref.Version > 0 {
		uri += fmt.Sprintf(":%d", ref.Version)
	}
	return uri
}

// CheckURI refuses what is no absolute URI, and one that holds credentials: a summary is for others to read.
func CheckURI(text string) error {
	u, err := url.Parse(text)
	switch {
	case err == nil && u.User != nil:
		return fmt.Errorf("%w that others may read: it holds a user name or a password", ErrURI)
	case err != nil && strings.Contains(text, "@"): // which may stand behind a password
		return fmt.Errorf("%w that is understood", ErrURI)
	case err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" && u.Path == "":
		return fmt.Errorf("%w: %q", ErrURI, text)
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("%w: %q holds a character that no URI holds", ErrURI, text)
	}
	return nil
}

// vsa is the predicate of SLSA 1.2, https://slsa.dev/spec/v1.2/verification_summary. It says nothing about SLSA levels.
type vsa struct {
	Verifier struct {
		ID      string            `json:"id"`
		Version map[string]string `json:"version,omitempty"`
	} `json:"verifier"`
	TimeVerified string `json:"timeVerified"`
	ResourceURI  string `json:"resourceUri"`
	// "policy: ... MUST contain a uri identifying which policy was applied and SHOULD contain a digest".
	Policy descriptor `json:"policy"`
	// "If non-empty, this field MUST contain information on all the attestations used to perform verification."
	InputAttestations  []descriptor `json:"inputAttestations,omitempty"`
	VerificationResult string       `json:"verificationResult"`
	// "verifiedLevels: ... or "FAILED" if policy verification failed."
	VerifiedLevels []string `json:"verifiedLevels"`
	// "A count of the dependencies at each SLSA level. ... Absence of a given level ... MUST be interpreted as reporting 0 dependencies at
	// that level. A set but empty dependencyLevels means that the artifact has no dependencies at all": it is left out when there are none,
	// since a policy follows only the dependencies that it names.
	DependencyLevels map[string]int `json:"dependencyLevels,omitempty"`
	SLSAVersion      string         `json:"slsaVersion"`
}

// descriptor is the part of an in-toto ResourceDescriptor that summaries use.
type descriptor struct {
	Name   string           `json:"name,omitempty"`
	URI    string           `json:"uri,omitempty"`
	Digest attest.DigestSet `json:"digest,omitempty"`
	// Annotations of a policy are the parameters that were given other values than the document's.
	Annotations map[string]any `json:"annotations,omitempty"`
}

// annotationParams names the parameters in a policy's annotations: an object of {value, default} by their names.
const annotationParams = policies.ParamsAnnotation

// VSA is the predicate of a SLSA verification summary of the decision, allowed or denied.
func VSA(d *policies.Decision, by Verifier) (json.RawMessage, error) {
	policy, err := by.policy(d)
	if err != nil {
		return nil, err
	}
	if err := CheckURI(by.ResourceURI); err != nil {
		return nil, fmt.Errorf("report: resource: %w", err)
	}
	p := vsa{TimeVerified: d.Time.UTC().Format(time.RFC3339), ResourceURI: by.ResourceURI, Policy: policy,
		InputAttestations: inputs(d, by.Repository), VerificationResult: "PASSED", VerifiedLevels: Properties(d), SLSAVersion: "1.2"}
	p.Verifier.ID = by.ID
	if by.Version != "" {
		p.Verifier.Version = map[string]string{"mlseal": by.Version}
	}
	if d.Err() != nil {
		p.VerificationResult, p.VerifiedLevels = "FAILED", []string{"FAILED"}
	} else if n := dependencies(d.Lineage); n > 0 {
		p.DependencyLevels = map[string]int{"MLSEAL_LINEAGE/" + url.PathEscape(d.Policy.Name): n}
	}
	return json.Marshal(p)
}

// svr is the predicate of https://github.com/in-toto/attestation/blob/main/spec/predicates/svr.md, version 0.2.
type svr struct {
	Verifier struct {
		ID string `json:"id"`
		// "The verifier.policies field MUST be present."
		Policies []descriptor `json:"policies"`
	} `json:"verifier"`
	TimeCreated string `json:"timeCreated"`
	// "Indicates the passing properties verified for the artifact."
	Properties []string `json:"properties"`
}

// SVR is the predicate of a simple verification result. It has no verdict: of a denied artifact it lists the requirements that were
// met and not the policy.
func SVR(d *policies.Decision, by Verifier) (json.RawMessage, error) {
	policy, err := by.policy(d)
	if err != nil {
		return nil, err
	}
	policy.Name = d.Policy.Name
	p := svr{TimeCreated: d.Time.UTC().Format(time.RFC3339), Properties: Properties(d)}
	p.Verifier.ID, p.Verifier.Policies = by.ID, []descriptor{policy}
	return json.Marshal(p)
}

// policy describes the policy, and checks what every summary needs.
func (v Verifier) policy(d *policies.Decision) (descriptor, error) {
	if err := CheckURI(v.ID); err != nil {
		return descriptor{}, fmt.Errorf("report: verifier: %w", err)
	}
	if d.Time.IsZero() {
		return descriptor{}, errors.New("report: the decision has no time")
	}
	uri := v.PolicyURI
	if uri == "" {
		uri = DefaultPolicyURI(d.Policy)
	}
	if err := CheckURI(uri); err != nil {
		return descriptor{}, fmt.Errorf("report: policy: %w", err)
	}
	digest, err := digestSet(d.Policy.Digest)
	if err != nil {
		return descriptor{}, fmt.Errorf("report: policy: %w", err)
	}
	out := descriptor{URI: uri, Digest: digest}
	if len(d.Overrides) > 0 {
		params := map[string]any{}
		for _, o := range d.Overrides {
			params[o.Name] = map[string]string{"value": o.Value, "default": o.Default}
		}
		out.Annotations = map[string]any{annotationParams: params}
	}
	return out, nil
}

// dependencies counts the things in the lineage for which what the policy asks holds, the artifact left out. "Users MUST count each
// dependency only once": nodes with a digest in common are one.
func dependencies(g *policies.Graph) int {
	if g == nil {
		return 0
	}
	group := map[string]int{} // by digest, the lowest node that is the same thing
	same := make([]int, len(g.Nodes))
	root := func(i int) int {
		for same[i] != i {
			i = same[i]
		}
		return i
	}
	for i, n := range g.Nodes {
		same[i] = i
		for alg, value := range n.Digests {
			key := alg + ":" + value
			if first, known := group[key]; known {
				a, b := root(first), root(i)
				same[max(a, b)] = min(a, b)
			} else {
				group[key] = i
			}
		}
	}
	bad := map[int]bool{0: true} // the artifact, and what does not hold under one of its names
	for i, n := range g.Nodes {
		if !n.Passed {
			bad[root(i)] = true
		}
	}
	count := 0
	for i := range g.Nodes {
		if root(i) == i && !bad[i] {
			count++
		}
	}
	return count
}

func digestSet(digest string) (attest.DigestSet, error) {
	alg, value, _ := strings.Cut(digest, ":")
	set := attest.DigestSet{alg: value}
	if alg != "sha256" || attest.CheckDigestSet(set) != nil {
		return nil, fmt.Errorf("%q is no sha256 digest", digest)
	}
	return set, nil
}

// Properties are what the decision found to hold, in the words of summaries: MLSEAL_REQUIREMENT/POLICY/ID for each requirement that
// was met, MLSEAL_WAIVED/POLICY/ID/WAIVER for each that a waiver stands in for, MLSEAL_POLICY/POLICY when the artifact is allowed, and
// MLSEAL_ACCEPTED_VERDICT/POLICY when that rests on somebody else's verdict. Names are percent-encoded, so that no two of them are one. "Users MAY use
// custom values here but MUST NOT use custom values starting with SLSA_."
func Properties(d *policies.Decision) []string {
	out := []string{}
	name := url.PathEscape(d.Policy.Name)
	if d.Err() == nil {
		out = append(out, "MLSEAL_POLICY/"+name)
	}
	unmet, waived := map[string]bool{}, map[string]bool{}
	for _, r := range d.Requirements {
		unmet[r.ID] = unmet[r.ID] || !r.Passed
		waived[r.ID] = waived[r.ID] || r.Waiver != ""
	}
	if slices.ContainsFunc(d.Requirements, func(r policies.Requirement) bool { return r.AcceptedFrom != "" }) {
		out = append(out, policies.ChainedVerdict(d.Policy.Name)) // which no policy accepts in turn
	}
	for _, r := range d.Requirements {
		p := "MLSEAL_REQUIREMENT/" + name + "/" + url.PathEscape(r.ID)
		if waived[r.ID] {
			p = "MLSEAL_WAIVED/" + name + "/" + url.PathEscape(r.ID) + "/" + url.PathEscape(r.Waiver)
		}
		if !unmet[r.ID] && (r.Waiver != "" || !waived[r.ID]) && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// inputs are the statements that bore on the verdict: those that counted or that vouch for something in the lineage, and those by a signer
// of the policy for which a requirement is not met or was waived. They are named by the sha256 of their bundles, sorted; those in the repository also by the blob's place there: "Each entry
// ... SHOULD contain a uri that can be used to fetch the attestation."
func inputs(d *policies.Decision, repository string) []descriptor {
	found := map[string]descriptor{}
	add := func(s policies.Seen) {
		digest, err := digestSet(s.ID)
		if err != nil {
			return
		}
		in := descriptor{Digest: digest}
		if repository != "" && strings.HasPrefix(s.Origin, repository+"@") {
			in.URI = "oci://" + repository + "@" + s.ID
		}
		found[s.ID] = in
	}
	for _, r := range d.Requirements {
		for _, s := range r.Counted {
			add(s)
		}
		for _, s := range r.NearMisses {
			if (!r.Passed || r.Waiver != "") && len(s.Signers) > 0 {
				add(s)
			}
		}
	}
	if d.Lineage != nil {
		for _, n := range d.Lineage.Nodes {
			for _, s := range n.Statements {
				add(s)
			}
		}
	}
	var out []descriptor
	for _, id := range slices.Sorted(maps.Keys(found)) {
		out = append(out, found[id])
	}
	return out
}
