package policies

import "time"

// Verdict is what a gate says. The zero value is Deny.
type Verdict int

// The two verdicts.
const (
	Deny Verdict = iota
	Allow
)

// String is "DENIED" or "ALLOWED".
func (v Verdict) String() string {
	if v == Allow {
		return "ALLOWED"
	}
	return "DENIED"
}

// Code is a stable reason: scripts may match on it.
type Code string

// The reason codes of a decision. They never change their meaning.
const (
	SignatureInvalid       Code = "SIGNATURE_INVALID"         // the signature does not verify with the key that it names
	SignerNotTrusted       Code = "SIGNER_NOT_TRUSTED"        // verified by nobody whom the requirement names
	SubjectMismatch        Code = "SUBJECT_MISMATCH"          // a statement about something else
	ContentMismatch        Code = "CONTENT_MISMATCH"          // the bytes are not those that the digest names
	TypeMissing            Code = "TYPE_MISSING"              // no statement of the type that is required
	ThresholdNotMet        Code = "THRESHOLD_NOT_MET"         // too few distinct signers
	EvidenceTooOld         Code = "EVIDENCE_TOO_OLD"          // older than maxAge
	ConditionFalse         Code = "CONDITION_FALSE"           // a `where` expression is false
	ConditionError         Code = "CONDITION_ERROR"           // a `where` expression could not be evaluated
	DigestDenied           Code = "DIGEST_DENIED"             // on a deny list
	LineageGap             Code = "LINEAGE_GAP"               // a dependency that nothing vouches for
	LineageCycle           Code = "LINEAGE_CYCLE"             // an artifact that descends from itself
	LineageAmbiguous       Code = "LINEAGE_AMBIGUOUS"         // several producers of one artifact
	OrderWrong             Code = "ORDER_WRONG"               // statements made in the wrong order
	DutyOverlap            Code = "DUTY_OVERLAP"              // one identity in two roles
	Revoked                Code = "REVOKED"                   // withdrawn
	PolicyExpired          Code = "POLICY_EXPIRED"            // the policy's own end is past
	PolicyUnsigned         Code = "POLICY_UNSIGNED"           // nobody signed the policy
	PolicySignerNotTrusted Code = "POLICY_SIGNER_NOT_TRUSTED" // nobody who is trusted with policies signed it
	PolicyMisplaced        Code = "POLICY_MISPLACED"          // signed for another place, or not the policy that was there
	PolicyRollback         Code = "POLICY_ROLLBACK"           // an older version of the policy than before
	WaiverExpired          Code = "WAIVER_EXPIRED"            // a waiver past its end
	LimitExceeded          Code = "LIMIT_EXCEEDED"            // more than is read
	ParseAmbiguous         Code = "PARSE_AMBIGUOUS"           // parsers would disagree about the text
	VerdictFailed          Code = "VERDICT_FAILED"            // another gate, whose verdicts are accepted, says no
	VerdictNotAccepted     Code = "VERDICT_NOT_ACCEPTED"      // another gate's verdict that does not stand for anything here
	StatementUnusable      Code = "STATEMENT_UNUSABLE"        // not a statement that is understood
	SchemaMismatch         Code = "SCHEMA_MISMATCH"           // a predicate that fails the schema of its type, where that was asked for
)

// Evidence is one statement that was found, as the verifier leaves it: who signed it was
// checked, what it means was not. A zero Evidence counts for nothing.
type Evidence struct {
	// ID is the sha256 of the bundle's bytes, "sha256:<hex>".
	ID string
	// Origin says where it was found, for people.
	Origin string
	// FoundWith are the digests of the artifact that it was found attached to; empty when it was
	// given by itself. They prove nothing and serve to explain what was not counted.
	FoundWith map[string]string
	// PredicateType is the statement's, exactly.
	PredicateType string
	// Subjects are the digest sets of the statement's subjects, algorithm to lower-case hexadecimal.
	Subjects []map[string]string
	// Statement is the whole statement as decoded JSON with numbers as json.Number.
	Statement map[string]any
	// SignedBy names the policy's signers whose key verified the signature. It is empty when
	// none did.
	SignedBy []string
	// VerifiedWith is the key and the names of whoever signed, so that one person does not count as two members of a group.
	VerifiedWith VerifiedWith
	// SignatureNote says why SignedBy is empty, for people.
	SignatureNote string
	// Time is when the statement was made as far as anything says, and TimeSource who says so
	// (a decision does not show what is only claimed when no signer of the policy signed it):
	// "claimed" (by the statement itself), "Rekor", "timestamp authority"; empty when nothing does.
	Time       time.Time
	TimeSource string
	// Claimed is the time that the statement gives itself, where somebody else vouches for Time and the signature is by a key that lives long; zero
	// when there is none. Anybody can have such a signature timestamped again, so that the statement is as old as the earlier of the two.
	Claimed time.Time
	// Logs is the number of different transparency logs of which an entry was verified, and LogEntries that of all entries beside the
	// signature, verified or not. Timestamps is the number of different authorities whose time of signing was verified: timestamp
	// authorities, and logs that sign the time of an entry.
	Logs, LogEntries, Timestamps int
	// Problem, when not empty, is why the statement cannot be used whoever signed it;
	// ProblemDetail explains it. Such evidence is listed and never counted.
	Problem       Code
	ProblemDetail string
}

// Subject is the artifact that a decision is about.
type Subject struct {
	// Name is what the user called it, for people.
	Name string `json:"name"`
	// Digests that the verifier computed or resolved: sha256 of the image manifest, dirHash of the tree.
	Digests map[string]string `json:"digests"`
	// TreeSuffices says that the verifier made sure that the image manifest says nothing beside the tree, so that a statement about the tree is
	// one about the artifact whichever image manifests it names too: a car image.
	TreeSuffices bool `json:"treeSuffices,omitempty"`
	// ArtifactType and Repository are what a policy's match is compared with: the type of the image manifest, and the registry with
	// the repository, as in registry.example/models/bot. They are empty for a directory.
	ArtifactType string `json:"artifactType,omitempty"`
	Repository   string `json:"repository,omitempty"`
}

// Decision is the outcome of a policy, with all that a person or a program needs to see why.
// The zero value denies.
type Decision struct {
	Verdict      Verdict       `json:"-"`
	Policy       PolicyRef     `json:"policy"`
	Subject      Subject       `json:"subject"`
	Time         time.Time     `json:"time"` // the clock that ages were measured against
	Requirements []Requirement `json:"requirements"`
	// Skipped lists what was not checked, and why.
	Skipped []Skipped `json:"skipped"`
	// Overrides are the parameters that were given other values than the policy's.
	Overrides []Override `json:"overrides,omitempty"`
	// Lineage is what the artifact was made from; nil when the policy has no edges.
	Lineage *Graph `json:"lineage,omitempty"`
	// Notes explain the decision and do not bear on it.
	Notes []string `json:"notes,omitempty"`
	// Ignored lists every statement that was seen and counted for no requirement. One that no signer of
	// the policy signed says SIGNER_NOT_TRUSTED, whatever else it lacks, unless it has a problem of its own.
	Ignored []Seen `json:"notCounted"`

	notMatched error // why the policy is not for the artifact
}

// Skipped is a check that was not done.
type Skipped struct {
	Check  string `json:"check"`
	Reason string `json:"reason"`
}

// skipAll lists everything that the policy would have checked as skipped, by the ids and in the order that a decision has.
func (d *Decision) skipAll(p *Policy, reason string) {
	skip := func(id string) { d.Skipped = append(d.Skipped, Skipped{id, reason}) }
	if !p.expires.IsZero() {
		skip(idPolicy)
	}
	if len(p.denied) > 0 {
		skip(idDenied)
	}
	skip(idRevoked) // looked for whether or not the policy speaks of them
	if len(p.verdicts) > 0 {
		skip(idVerdicts)
	}
	for i := range p.require {
		skip(p.require[i].id)
	}
	if len(p.order) > 0 {
		skip(idOrder)
	}
	for i := range p.edges {
		skip(p.edges[i].requirementID())
	}
	for _, m := range p.rego {
		skip(m.requirementID())
	}
}

// PolicyRef names the policy that decided.
type PolicyRef struct {
	Name    string `json:"name"`
	Version int    `json:"version,omitempty"`
	Digest  string `json:"digest"` // sha256 of the policy document
}

// Severity is what the failure of a requirement means.
type Severity string

// The severities. A requirement without one blocks.
const (
	Block Severity = "block" // it denies
	Warn  Severity = "warn"  // it is reported, and never changes the verdict
	Info  Severity = "info"  // the same, for what nobody has to do anything about
)

// Requirement is how one requirement of the policy, deny list or lineage edge ended.
type Requirement struct {
	ID     string `json:"id"`
	Passed bool   `json:"passed"`
	// Severity is empty for what blocks.
	Severity Severity `json:"severity,omitempty"`
	Code     Code     `json:"code,omitempty"`    // empty when it passed
	Detail   string   `json:"detail"`            // what was found, in one line
	Message  string   `json:"message,omitempty"` // the policy author's words
	Fix      string   `json:"fix,omitempty"`     // what to do about it
	Waiver   string   `json:"waiver,omitempty"`  // id of the waiver without which it would have failed
	// Values are what the comparisons of a condition that failed compared, as in dec("0.6") >= dec("0.7") -> false.
	Values []string `json:"values,omitempty"`
	// AcceptedFrom is the verifier whose verdict it passed by; its own evidence would not do.
	AcceptedFrom string `json:"acceptedFrom,omitempty"`
	Counted      []Seen `json:"counted,omitempty"` // the statements that it rests on
	// NearMisses are statements that came close: right type but wrong subject or signer, a
	// condition that is false, an unreadable one.
	NearMisses []Seen `json:"nearMisses,omitempty"`
}

// Denies reports whether the requirement failed and decides the verdict.
func (r Requirement) Denies() bool { return !r.Passed && (r.Severity == "" || r.Severity == Block) }

// Seen is one statement as a decision shows it.
type Seen struct {
	ID            string    `json:"id"`
	PredicateType string    `json:"predicateType,omitempty"`
	Signers       []string  `json:"signers,omitempty"`
	Origin        string    `json:"origin,omitempty"`
	Time          time.Time `json:"time,omitzero"` // zero too when only a stranger claims it
	TimeSource    string    `json:"timeSource,omitempty"`
	Code          Code      `json:"code,omitempty"`   // why it was not counted
	Reason        string    `json:"reason,omitempty"` // the same for people
	Values        []string  `json:"values,omitempty"` // of the condition that it failed
}

// Err is nil when the artifact is allowed. Otherwise it wraps ErrDenied and names the
// requirements that failed.
func (d *Decision) Err() error { return d.err() }
