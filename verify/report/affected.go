package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/mlseal/mlseal/internal/draw"
	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
)

// AffectedSchema is the version of an Affected's JSON form, which docs/schemas/affected.json describes.
const AffectedSchema = "https://mlseal.dev/affected/v1"

// Affected reports which artifacts descend from a digest. Its fields are its JSON form.
type Affected struct {
	Schema   string              `json:"schema"`
	Digest   string              `json:"digest"`
	Names    []string            `json:"names"`    // what has the digest in the stores
	Searched int                 `json:"searched"` // artifacts
	Verified bool                `json:"verified"` // a policy said whose provenance counts
	Policy   *policies.PolicyRef `json:"policy,omitempty"`
	// Artifacts descend by provenance that counts: with a policy that of its signers, and else everybody's.
	Artifacts []verify.Descendant `json:"artifacts"`
	// Unverified descend by the word of others only.
	Unverified []verify.Descendant `json:"unverified"`
	Incomplete string              `json:"incomplete,omitempty"` // why there may be more
	Unread     []string            `json:"unread,omitempty"`     // what cannot be read
}

// NewAffected asks a Descent about a digest. The policy is nil when nobody is trusted; the error is why the Descent does not know
// all, and may be nil.
func NewAffected(d *verify.Descent, digest string, policy *policies.PolicyRef, err error) *Affected {
	r := &Affected{Schema: AffectedSchema, Digest: digest, Names: append([]string{}, d.Named(digest)...), Searched: d.Stored(), Verified: policy != nil, Policy: policy,
		Artifacts: []verify.Descendant{}, Unverified: []verify.Descendant{}, Unread: d.Unread()}
	r.Artifacts = append(r.Artifacts, d.Of(digest, r.Verified)...)
	if r.Verified {
		counted := map[string]bool{}
		for _, a := range r.Artifacts {
			counted[artifactName(a)] = true
		}
		for _, a := range d.Of(digest, false) {
			if !counted[artifactName(a)] {
				r.Unverified = append(r.Unverified, a)
			}
		}
	}
	if err != nil {
		r.Incomplete = err.Error()
	}
	return r
}

// artifactName names an artifact by the digest that a person compares.
func artifactName(d verify.Descendant) string {
	return (&LineageNode{Digests: d.Digests}).digest()
}

// JSON implements Document.
func (r *Affected) JSON() any { return r }

// Text implements Document.
func (r *Affected) Text(w io.Writer, style Style) error {
	p := &draw.Lines{To: w}
	name := escape.Line(r.Digest)
	if len(r.Names) > 0 {
		name += " (" + escape.Line(strings.Join(r.Names, ", ")) + ")"
	}
	how := "by what statements say, whoever signed them: not verified"
	if r.Verified {
		how = "by provenance that signers of policy " + policyLine(*r.Policy) + " signed"
	}
	p.Line("%s of %d artifacts descend from %s, %s", style.paint(draw.Bold, fmt.Sprint(len(r.Artifacts))), r.Searched, name, how)
	r.list(p, r.Artifacts)
	if len(r.Unverified) > 0 {
		p.Line("%s more, by what others say: not verified", style.paint(draw.BoldYellow, fmt.Sprint(len(r.Unverified))))
		r.list(p, r.Unverified)
	}
	if r.Incomplete != "" {
		p.Line("incomplete: %s", escape.Line(r.Incomplete))
	}
	for _, origin := range r.Unread {
		p.Line("%s cannot be read, and what it says is not known: %s", style.mark(verify.NotDone), escape.Line(origin))
	}
	return p.Err
}

func (r *Affected) list(p *draw.Lines, list []verify.Descendant) {
	for _, a := range list {
		text := escape.Line(strings.Join(a.Names, ", ")) + "  " + short(artifactName(a))
		for _, step := range a.Path {
			text += "  ← " + escape.Line((&LineageNode{Name: step.Role}).name()) + " " + short(step.From)
		}
		p.Line("  %s", text)
	}
}
