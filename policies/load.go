package policies

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/mlseal/mlseal/internal/lazyregexp"
	"github.com/mlseal/mlseal/internal/strictyaml"
	"go.yaml.in/yaml/v3"
)

// LoadOptions is what Load needs from outside the document.
type LoadOptions struct {
	// Name is the policy's file name, for messages.
	Name string
	// ReadFile reads a key file, the certificates of an authority or a trusted root. Names are as the policy writes them, relative to the policy
	// file; resolving and confining them is the caller's work.
	ReadFile func(name string) ([]byte, error)
	// PredicateType gives the URI of a short name such as "dataset". Without it a policy writes
	// URIs.
	PredicateType func(short string) (uri string, ok bool)
}

// loader reads one document. Its methods carry on after an error and return zero values, so
// that they read like the language; only the first error is kept.
type loader struct {
	opts   LoadOptions
	yaml   *strictyaml.Reader
	err    *LoadError
	policy *Policy
	keys   map[string]string // the signer that a key belongs to, by the key's DER
	who    map[Identity]string
	env    *cel.Env        // for conditions, with the policy's parameters; nil until it is needed
	ids    map[string]bool // of requirements and of rules on dependencies
	// certified are the signers with certificates, in the document's order.
	certified []certified
}

// Load reads a policy. Every error is a *LoadError that says where in the document it is; a
// Policy is returned only when there is none.
func Load(data []byte, opts LoadOptions) (*Policy, error) {
	if opts.Name == "" {
		opts.Name = "policy"
	}
	l := newLoader(opts)
	if root := l.yaml.Parse(data); l.err == nil {
		l.document(root)
	}
	if l.err != nil {
		return nil, l.err
	}
	l.policy.nameRules()
	sum := sha256.Sum256(data)
	l.policy.ref.Digest = "sha256:" + hex.EncodeToString(sum[:])
	return l.policy, nil
}

func (l *loader) document(root *yaml.Node) {
	f := l.mapping(root, "the policy",
		"apiVersion", "name", "version", "expires", "owner", "previous", "signers", "trust", "statements", "params", "digests", "match", "require", "lineage", "revocations", "rego", "waivers", "acceptWaivers", "acceptVerdicts")
	p := l.policy
	if n := l.need(f, "apiVersion"); n != nil {
		if v := l.str(n, "apiVersion"); v != APIVersion {
			l.failf(n, "apiVersion is %q; this version reads %s", v, APIVersion)
		}
	}
	p.ref.Name = l.str(l.need(f, "name"), "name")
	p.ref.Version = l.integer(f.at["version"], "version", 1)
	p.expires = l.instant(f.at["expires"], "expires")
	p.owner = l.str(f.at["owner"], "owner")
	l.previous(f.at["previous"])
	l.statementVersions(f.at["statements"])
	l.digests(f.at["digests"])
	l.params(f.at["params"])
	l.signers(l.need(f, "signers"))
	l.trust(f.at["trust"])
	// Requirements are only read when all signers are known: otherwise each of them would be
	// blamed for naming a signer that is missing.
	if l.err == nil {
		l.requirements(l.need(f, "require"))
	}
	p.maxDepth, p.maxNodes = defaultDepth, defaultNodes
	if n := f.at["lineage"]; n != nil && l.err == nil {
		l.lineage(n)
	}
	if l.err == nil {
		l.applies(f.at["match"])
		l.rego(f.at["rego"])
		l.waivers(f.at["waivers"])
		l.acceptWaivers(f.at["acceptWaivers"])
		l.acceptVerdicts(f.at["acceptVerdicts"])
	}
	if n := f.at["revocations"]; n != nil && l.err == nil {
		p.revokers, p.revocable = l.take(l.by(l.mapping(n, "revocations", "by"))), true
	}
}

// previous reads the digest of the policy that this one follows.
func (l *loader) previous(n *yaml.Node) {
	s := l.str(n, "previous")
	if algorithm, err := parseDigest(s); s != "" && (err != nil || algorithm != "sha256") {
		l.failf(n, "previous is %q; write sha256: and the digest of the policy before this one", s)
	}
	l.policy.previous = s
}

// statementTypes are the versions of in-toto's Statement by their name in a policy.
var statementTypes = map[string]string{
	"v1":   "https://in-toto.io/Statement/v1",
	"v0.1": "https://in-toto.io/Statement/v0.1", // what cosign attest writes, up to v3.1.3
}

func (l *loader) statementVersions(n *yaml.Node) {
	if n == nil {
		l.policy.statements = []string{statementTypes["v1"]}
		return
	}
	for i, name := range l.names(n, "statements") {
		uri, ok := statementTypes[name]
		if !ok {
			l.failf(n.Content[i], "statements knows v1 and v0.1, not %q", name)
		}
		l.policy.statements = append(l.policy.statements, uri)
	}
}

func (l *loader) digests(n *yaml.Node) {
	p := l.policy
	p.algorithms = []string{"sha256", "sha512", dirHash}
	if n == nil {
		return
	}
	f := l.mapping(n, "digests", "algorithms", "deny")
	if len(f.at) == 0 {
		l.failf(n, "digests is empty")
	}
	if a := f.at["algorithms"]; a != nil {
		chosen := l.names(a, "digests.algorithms")
		for i, name := range chosen {
			if name != "sha256" && name != "sha512" {
				l.failf(a.Content[i], "digests.algorithms knows sha256 and sha512, not %q (dirHash is always accepted)", name)
			}
		}
		slices.Sort(chosen)
		p.algorithms = append(chosen, dirHash)
	}
	p.denied = l.digestList(f.at["deny"], "digests.deny")
}

func (l *loader) digestList(n *yaml.Node, what string) digestList {
	if n == nil {
		return nil
	}
	out := digestList{}
	for i, s := range l.names(n, what) {
		if _, err := parseDigest(s); err != nil && s != "" {
			l.failf(n.Content[i], "%s: %v", what, err)
		}
		out[s] = true
	}
	return out
}

var idText = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// identifier reads a name that other parts of the document and scripts refer to.
func (l *loader) identifier(n *yaml.Node, what string) string {
	s := l.str(n, what)
	if s != "" && !idText.MatchString(s) {
		l.failf(n, "%s is %q; use letters, digits, dots, dashes and underscores", what, s)
	}
	return s
}

// predicateType resolves a short name. A URI is taken as it stands: types are compared exactly.
func (l *loader) predicateType(n *yaml.Node) string {
	s := l.str(n, "attestation")
	switch {
	case s == "":
	case s == "evidence-set": // the language itself reads this one
		return evidenceSetType
	case strings.Contains(s, "://"):
		if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
			l.failf(n, "attestation is %q; a predicate type has no spaces and only ASCII characters", s)
		}
		return s
	case l.opts.PredicateType != nil:
		if uri, ok := l.opts.PredicateType(s); ok && uri != "" {
			return uri
		}
		fallthrough
	default:
		l.failf(n, "unknown predicate type %q; write its URI", s)
	}
	return ""
}
