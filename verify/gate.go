package verify

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/parallel"
	"github.com/mlseal/mlseal/internal/strictjson"
	"github.com/mlseal/mlseal/policies"
)

// Found is something that was found where a statement may be.
type Found struct {
	Origin string // where, for people
	Data   []byte // the bundle's bytes; nil when Err says why there are none
	Err    error
	// Incomplete says that there is more than could be listed: the artifact is denied, since what is missing may
	// be what says no.
	Incomplete bool
	// With are the digests of the artifact that it was attached to; nil when it was given by itself.
	With map[string]string
}

// Source finds statements about an artifact by its digests. What it returns is taken as a stranger's word.
// An error means that it could not look.
type Source interface {
	Statements(ctx context.Context, digests map[string]string) ([]Found, error)
}

// Target is the artifact that a gate is asked about.
type Target struct {
	Subject policies.Subject
	// Content says what was done to make sure that the bytes are those that the digests name.
	Content Check
	// Notes are shown with the decision and do not bear on it.
	Notes []string
}

// Verifier decides about artifacts. It needs a Trust. Without a Source it finds no statements about dependencies, and it
// measures ages against the zero time unless it has a clock, so that nothing with a maximum age passes.
type Verifier struct {
	Source Source    // for the dependencies of the artifact; may be nil
	Now    time.Time // the clock of the decision, and of certificates that no trusted timestamp speaks about
	// Trust reads the keys, the authorities and the trusted root of a policy's signers. Without it there is no decision, nor for a policy
	// with keyless signers when neither the policy nor Trust has a trusted root: then the error wraps ErrNoRoot.
	Trust Trust
	// CheckSchemas holds what the policy's signers said in a predicate that mlseal defines to its schema. A statement that fails does
	// not count, and denies: nobody knows whether it would have said no.
	CheckSchemas bool
}

// Verify decides about target with what was found for it: each bundle's signature is checked with
// the policy's keys, identities and authorities, its statement is bound to the artifact by digest, the dependencies that verified
// provenance names are looked up in v.Source, and the policy is evaluated over all of it. A
// content check that failed denies whatever the policy says. The error is nil when a decision was reached;
// Decision.Err says whether it is a denial.
func (v *Verifier) Verify(ctx context.Context, target Target, found []Found, policy *policies.Policy) (*policies.Decision, error) {
	d, _, err := v.decide(ctx, target, found, policy)
	return d, err
}

// Told is what the signers of a policy say about an artifact and its lineage.
type Told struct {
	Accounts []policies.Account // the artifact's first
	Whole    bool               // nothing was left out for a bound
}

// Tell decides as Verify does, and tells what those say whom the policy lets speak, whatever the decision is. When the bytes are not those that
// the digests name there is nothing to tell: then the error wraps ErrFailed.
func (v *Verifier) Tell(ctx context.Context, target Target, found []Found, policy *policies.Policy) (*Told, *policies.Decision, error) {
	if target.Content.Status == Failed {
		return nil, nil, fmt.Errorf("%w: %s", ErrFailed, target.Content.Detail)
	}
	d, c, err := v.decide(ctx, target, found, policy)
	if err != nil {
		return nil, nil, err
	}
	t := &Told{}
	t.Accounts, t.Whole = policy.Accounts(target.Subject, c.evidence, v.Now)
	t.Whole = t.Whole && c.incomplete == nil
	return t, d, nil
}

// decide is Verify, and gives what was collected too.
func (v *Verifier) decide(ctx context.Context, target Target, found []Found, policy *policies.Policy) (*policies.Decision, *collector, error) {
	if err := policy.Matches(target.Subject); err != nil {
		return nil, nil, fmt.Errorf("verify: %w", err)
	}
	c, err := v.collect(ctx, target, found, policy, false)
	if err != nil {
		return nil, nil, err
	}
	d := policy.Evaluate(target.Subject, c.evidence, v.Now)
	addContent(d, target.Content)
	c.addIncomplete(d)
	c.addSchemas(d)
	d.Notes = append(d.Notes, target.Notes...)
	return d, c, nil
}

// Evidence is what Verify lets the policy decide about: every statement that was found, with who signed it as far as that could be verified. Those of strangers,
// of which Verify knows only what they are about, are whole. It allows nothing, and serves to show or to test.
func (v *Verifier) Evidence(ctx context.Context, target Target, found []Found, policy *policies.Policy) ([]policies.Evidence, error) {
	c, err := v.collect(ctx, target, found, policy, true)
	switch {
	case err != nil:
		return nil, err
	case target.Content.Status == Failed:
		return nil, fmt.Errorf("%w: %s", ErrFailed, target.Content.Detail)
	case c.incomplete != nil:
		return nil, fmt.Errorf("%w: %w", ErrLimit, c.incomplete)
	}
	return c.evidence, nil
}

// collect checks the signatures of what was found, and finds what vouches for the dependencies. The statements of strangers are decoded when strangers says so:
// no rule looks into them.
func (v *Verifier) collect(ctx context.Context, target Target, found []Found, policy *policies.Policy, strangers bool) (*collector, error) {
	signers, err := newSigners(policy, v.Trust, v.Now)
	if err != nil {
		return nil, err
	}
	c := &collector{signers: signers, types: policy.StatementTypes(), schemas: v.CheckSchemas, strangers: strangers, seen: map[string]bool{}}
	if err := c.add(ctx, found); err != nil {
		return nil, err
	}
	return c, c.followDependencies(ctx, v.Source, target.Subject, policy)
}

// addContent puts the content check before the policy's requirements.
func addContent(d *policies.Decision, content Check) {
	if content.Status == NotDone {
		if content.Detail != "" {
			d.Skipped = append(d.Skipped, policies.Skipped{Check: "content", Reason: content.Detail})
		}
		return
	}
	r := policies.Requirement{ID: "content", Passed: content.Status == Passed, Detail: content.Detail}
	if !r.Passed {
		d.Verdict = policies.Deny
		r.Code = policies.ContentMismatch
		r.Fix = "the bytes are not those that were signed: get the artifact again from where it was published"
	}
	d.Requirements = append([]policies.Requirement{r}, d.Requirements...)
}

// addIncomplete denies when not all statements could be listed, and lists what was no statement as skipped.
func (c *collector) addIncomplete(d *policies.Decision) {
	if c.incomplete != nil {
		d.Verdict = policies.Deny
		d.Requirements = append([]policies.Requirement{{ID: "evidence", Code: policies.LimitExceeded, Detail: c.incomplete.Error(),
			Fix: "what is attached is more than is read: remove what does not belong there"}}, d.Requirements...)
	}
	if c.others > 0 {
		d.Skipped = append(d.Skipped, policies.Skipped{Check: "attached", Reason: fmt.Sprintf("%d attached things are no statements and were not read", c.others)})
	}
}

// addSchemas says how the predicates fared that were held to their schemas. It denies when one fails that a signer of the policy signed; those of
// strangers do not count anyhow, and must not be able to deny.
func (c *collector) addSchemas(d *policies.Decision) {
	if !c.schemas {
		return
	}
	r := policies.Requirement{ID: "schemas", Passed: true}
	signed := 0
	for _, e := range c.evidence {
		if len(e.SignedBy) == 0 {
			continue
		}
		signed++
		if e.Problem == policies.SchemaMismatch && r.Passed {
			d.Verdict = policies.Deny
			r.Passed, r.Code, r.Detail = false, policies.SchemaMismatch, fmt.Sprintf("%s of %s, signed by %s: %s", e.ID, e.PredicateType, strings.Join(e.SignedBy, ", "), e.ProblemDetail)
			r.Fix = "mlseal schema prints the schema; have its signer make the statement anew and remove this one"
		}
	}
	if r.Passed {
		r.Detail = fmt.Sprintf("the %d statements by the policy's signers satisfy their schemas, where mlseal has one", signed)
	}
	d.Requirements = append([]policies.Requirement{r}, d.Requirements...)
}

// collector turns what was found into evidence, each bundle once.
type collector struct {
	signers   *signers
	types     []string // of statements that the policy accepts
	schemas   bool     // predicates are held to theirs
	strangers bool     // statements that no signer of the policy signed are decoded
	seen      map[string]bool
	evidence  []policies.Evidence
	// incomplete is why not everything could be listed; others counts what was no statement.
	incomplete error
	others     int
}

// add reads what was not seen before, several bundles at once; what it adds is in the order in which it was found.
func (c *collector) add(ctx context.Context, found []Found) error {
	var fresh []Found
	var ids []string
	for _, f := range found {
		switch {
		case f.Incomplete:
			c.incomplete = f.Err
			continue
		case errors.Is(f.Err, ErrOther):
			c.others++
			continue
		}
		id := attest.ID(f.Data)
		if f.Err != nil {
			id = attest.ID([]byte(f.Origin + "\x00" + f.Err.Error()))
		}
		if c.seen[id] {
			continue
		}
		if len(c.evidence)+len(fresh) > policies.MaxEvidence {
			break // one more than the policy takes, which makes it say LIMIT_EXCEEDED
		}
		c.seen[id] = true
		fresh, ids = append(fresh, f), append(ids, id)
	}
	read := make([]policies.Evidence, len(fresh))
	err := parallel.Do(ctx, len(fresh), 0, func(_ context.Context, i int) error {
		read[i] = c.read(fresh[i])
		read[i].ID, read[i].Origin, read[i].FoundWith = ids[i], fresh[i].Origin, fresh[i].With
		return nil
	})
	c.evidence = append(c.evidence, read...)
	return err
}

// read makes evidence of one bundle. Whatever is wrong with it becomes a Problem, never an error: a
// stranger who attaches rubbish must not be able to stop a decision.
func (c *collector) read(f Found) policies.Evidence {
	if f.Err != nil {
		return problem(f.Err)
	}
	b, err := attest.Parse(f.Data)
	if err != nil {
		return problem(err)
	}
	if b.Message != nil {
		_, err := b.UnverifiedStatement()
		return problem(err)
	}
	e := policies.Evidence{}
	if code, note := c.signers.check(b, &e); code != "" {
		e = policies.Evidence{Problem: code, ProblemDetail: note}
	}
	s, err := b.UnverifiedStatement(c.types...)
	if err != nil {
		p := problem(err)
		p.SignedBy = e.SignedBy
		return p
	}
	e.PredicateType = s.PredicateType
	if e.Problem != "" {
		return e
	}
	switch t := attest.ClaimedTime(s); {
	case t.IsZero():
	case e.TimeSource == "":
		e.Time, e.TimeSource = t, "claimed"
	case !c.signers.keyless(&e): // whose certificates live for minutes: nobody can have what they signed timestamped again
		e.Claimed = t
	}
	if e.Subjects, err = subjects(s); err != nil {
		p := problem(err)
		p.PredicateType, p.SignedBy = e.PredicateType, e.SignedBy
		return p
	}
	stranger := len(e.SignedBy) == 0
	if stranger && !c.strangers {
		return e // decoded it takes many times its size
	}
	if err := strictjson.Unmarshal(b.Envelope.Payload, &e.Statement, strictjson.Limits{MaxBytes: attest.MaxStatementBytes}); err != nil {
		return problem(err)
	}
	if c.schemas && !stranger { // whose mistakes deny nothing
		if _, err := attest.CheckOwn(s); err != nil {
			e.Problem, e.ProblemDetail = policies.SchemaMismatch, err.Error()
		}
	}
	return e
}

// subjects gives the digest sets that a statement is about. An OMS statement is about the tree that its
// resources describe: its own root digest binds no file names, so it is recomputed and replaced by
// the dirHash. One from which no dirHash follows, for its links, shards or hash type, is about nothing that a gate knows.
func subjects(s *attest.Statement) ([]map[string]string, error) {
	if s.PredicateType == attest.OMSPredicateType {
		oms, err := attest.ParseOMS(s)
		if err != nil {
			return nil, err
		}
		dirHash, err := oms.DirHash()
		if err != nil {
			return nil, err
		}
		return []map[string]string{{"dirHash": dirHash}}, nil
	}
	sets := make([]map[string]string, len(s.Subject))
	for i, subject := range s.Subject {
		sets[i] = subject.Digest
	}
	return sets, nil
}

func problem(err error) policies.Evidence {
	code := policies.StatementUnusable
	switch {
	case errors.Is(err, strictjson.ErrLimit), errors.Is(err, ErrLimit):
		code = policies.LimitExceeded
	case errors.Is(err, strictjson.ErrAmbiguous):
		code = policies.ParseAmbiguous
	case errors.Is(err, attest.ErrOMSRoot), errors.Is(err, ErrContent):
		code = policies.ContentMismatch
	}
	return policies.Evidence{Problem: code, ProblemDetail: err.Error()}
}

// Sources wrap these into Found.Err where they apply, so that the decision can name the reason.
var (
	// ErrLimit says that something was too large to be read.
	ErrLimit = errors.New("limit exceeded")
	// ErrContent says that bytes are not those that their digest names.
	ErrContent = errors.New("content does not match its digest")
	// ErrOther says that something is attached that is no statement: an SBOM, a signature of another kind.
	ErrOther = errors.New("not a statement")
)

var errTooMany = fmt.Errorf("%w: statements are looked for about %d dependencies and %d generations at most, and the artifact descends from more, which a deny list or a revocation may reach",
	ErrLimit, policies.MaxDependencies, policies.MaxLineageDepth)

// followDependencies looks up the statements about everything that the policy follows, one generation after the other, until
// they lead to nothing new.
func (c *collector) followDependencies(ctx context.Context, source Source, artifact policies.Subject, policy *policies.Policy) error {
	if source == nil {
		return nil
	}
	asked := map[string]bool{describe(artifact.Digests): true}
	for found := true; found; {
		found = false
		var statements []Found
		wanted, enough := policy.WantedAll(artifact, c.evidence)
		if !enough {
			c.incomplete = errTooMany
		}
		for _, dep := range wanted {
			key := describe(dep.Digests)
			if asked[key] {
				continue
			}
			if len(asked) > policies.MaxDependencies {
				found = false
				c.incomplete = errTooMany // what was not looked for may say no
				break
			}
			asked[key], found = true, true
			about, err := source.Statements(ctx, dep.Digests)
			if err != nil {
				return fmt.Errorf("verify: statements about the dependency %s: %w", key, err)
			}
			statements = append(statements, about...)
		}
		if err := c.add(ctx, statements); err != nil {
			return err
		}
	}
	return nil
}

func describe(digests map[string]string) string {
	parts := make([]string, 0, len(digests))
	for alg, value := range digests {
		parts = append(parts, alg+":"+value)
	}
	sort.Strings(parts)
	return strings.Join(parts, " ")
}
