// Package policies is the policy language of mlseal and its evaluation: a policy names signers,
// says which signed statements an artifact needs, and decides over evidence whose signatures
// were checked elsewhere. It does no I/O and reads no clock and no environment.
//
// # The document
//
// A policy is one YAML document of at most 1 MiB:
//
//	apiVersion: mlseal.dev/policy/v1     # required, exactly this
//	name: prod-gate                      # required
//	version: 7                           # integer from 1 up
//	expires: 2027-06-30T00:00:00Z        # RFC 3339; from then on the policy denies (POLICY_EXPIRED)
//	owner: ml-platform@acme.example
//	signers:                             # required; a name for every identity
//	  ci:      {key: ./ci.pub}           # one key file: a PEM block PUBLIC KEY, with text above it or not
//	  alice:   {keys: [a1.pub, a2.pub]}  # one identity with several keys
//	  bob:     {key: bob.pub}
//	  carol:   {keyless: {issuer: https://accounts.example, subject: carol@acme.example}}   # both, and both exact
//	  dave:    {certificate: {authority: ./ca.pem, subject: "CN=dave,O=Acme"}}   # or san: dave@acme.example, or anySubject: true
//	  humans:  {group: {of: [alice, bob], atLeast: 2, distinct: identity}}
//	trust: {root: trusted_root.json}     # Sigstore trusted root for keyless signers and timestamps; without it the verifier's own
//	statements: [v1, v0.1]               # versions of in-toto's Statement; the default is v1 alone
//	digests:
//	  algorithms: [sha256, sha512]       # accepted; the default is both. dirHash always is
//	  deny: ["sha256:…", "dirHash:…"]    # neither the artifact nor anything it was made from; see below
//	require:                             # required, at least one; all of them must pass
//	  - id: signed
//	    signature: {by: [ci]}
//	  - id: eval-bar
//	    attestation: evaluation          # a short name or the URI of a predicate type
//	    by: [ci, humans]                 # any one of these suffices
//	    match: latest                    # all (default), any, one, latest
//	    maxAge: 30d                      # days, hours, minutes: 30d, 12h, 1d12h, 45m
//	    where:                           # a CEL expression or a list; all must be true
//	      - dec(predicate.accuracy) >= dec("0.70")
//	    message: the model was not evaluated lately
//	    fix: run the evaluation again
//	lineage:
//	  edges:
//	    - from: built                    # the id of a requirement of https://slsa.dev/provenance/v1
//	      role: baseModel                # resolvedDependencies[].name, exactly
//	      count: {min: 1, max: 1}        # min is 1 unless it is given; without max there is no limit
//	      accept:                        # one of these must hold for each dependency
//	        - pinned: ["sha256:…"]
//	        - {signature: {by: [alice]}}
//	      requireEach:                   # all of these must hold for each dependency
//	        - {attestation: dataset, by: [alice], where: 'predicate.license in ["MIT"]'}
//	      denyDigests: ["sha256:…"]
//
// Entries of accept and requireEach take signature or attestation, by, match, maxAge and where,
// as requirements do; an edge has accept, requireEach or both. There is no way to accept
// "anyone": every rule names signers.
//
// Whatever two readers could understand differently is an error of Load, with line and column:
// unknown and duplicate keys, anchors, aliases, merge keys, tags, directives, tabs, a byte order
// mark, U+0085, U+2028, U+2029 and a carriage return without a line feed, which end a line or
// a comment for some readers only, bidirectional controls, a second document, yes and no without quotes, a number where a string belongs, an empty
// list, two signers with one key, identity or certificate. Ids are unique, and `policy`, `evidence`, `digests.deny` and
// `lineage:ROLE` are the ids of what a decision lists besides the requirements.
//
// # Signers with certificates
//
// A certificate signer is whoever has a certificate that leads to a root of the authority and goes by the name that the policy
// gives it. The authority is a file of PEM certificates: at least one self-signed root, and intermediates if they are not in the bundles. The
// name is exactly one of
//
//   - subject, the whole distinguished name as RFC 4514 writes it, the most specific part first and no spaces after commas:
//     what a denial shows and, of a name with no parts but C, ST, L, O, OU and CN,
//     `openssl x509 -noout -subject -nameopt RFC2253` prints. Other parts may stand there as OID=#DER;
//   - san, a URI, an email address or a DNS name. The certificate must have it for a subject alternative name, and no other
//     of these three kinds: who has several is nobody's only name;
//   - anySubject: true, whoever has a certificate of the authority. An authority alone is an error.
//
// The certificate and those above it must be valid when it was signed, which a timestamp (RFC 3161) in the bundle says that the trusted
// root vouches for; a bundle with timestamps of which none is trusted is nobody's. Without a timestamp, or without
// anybody to judge it, they must be valid now, by the clock of the decision. Revocation lists are not asked. The authority of a
// Sigstore instance does not belong here: its names mean nothing without their issuer, which keyless compares.
//
// One certificate may be several signers of different names, and a statement then counts for each. In a group it counts
// once: two members whom one certificate could be are an error, and so are, in any policy, two signers with the same name under one
// authority. Authorities are one when any of their certificates have the same key.
//
// # Which statements count
//
// A statement counts for a rule when its predicate type is exactly the one asked for, one of its
// subjects is the artifact, a signer in `by` (or a member of a group in `by`) signed it, it is no
// older than maxAge, and every `where` is true. `signature` asks for the predicate types of cosign
// (https://sigstore.dev/cosign/sign/v1) and of OpenSSF Model Signing
// (https://model_signing/signature/v1.0).
//
// A subject is the artifact when at least one accepted digest is equal and no accepted digest
// that both know differs. Algorithm names are exact, digests are lower-case hexadecimal of full
// length; a digest set with another spelling of an accepted algorithm (SHA256, sha-256), or with
// a malformed digest, is no artifact's. Other algorithms are ignored and never match.
//
// A statement about a package names its image manifest (sha256) and its tree (dirHash) as two
// subjects. For an artifact with a sha256, a subject that is equal by dirHash alone does not
// count when any subject of the statement has a sha256 or sha512: the statement is about an image
// manifest, and it is another one. By dirHash alone a statement counts for a directory, which
// has no sha256, for a car image, whose manifest says nothing beside its tree, and for everything when it was made
// about a directory, and so names no image manifest.
//
// match says what happens when several statements have the right type, subject and signer:
//
//	all     every one must hold, and there must be one
//	any     one must hold
//	one     there must be exactly one, and it must hold
//	latest  the newest must hold; so must those with no time, with the newest's time, or dated
//	        more than five minutes in the future, since they cannot be put in order
//
// A group is met when enough different members signed statements that count; one member who
// signed twice, or with two keys, is one member. A time may be the statement's own claim: it is
// then as good as its signer.
//
// # Conditions
//
// `where` is CEL (https://cel.dev) and must be a bool when it is loaded: compare a field, as in
// predicate.passed == true, instead of naming it. Its variables are predicate and statement (JSON),
// subject (a map with name and digests), signer (the names that signed the statement), now, and
// timestamp (when the statement was made; an error when nothing says so). It differs from plain
// CEL where that would let something pass unnoticed:
//
//   - An error, such as a missing key, is CONDITION_ERROR and denies.
//   - There are no floats. A JSON number that is an integer of 64 bits is an int, however it is
//     written; any other is an exact decimal. dec makes a decimal of a string, an int or a decimal:
//     write dec("0.70"). A number of more than 100 digits is an error, and so is dec("NaN").
//     Decimals and ints compare with == != < <= > >=; there is no arithmetic on decimals.
//   - ==, !=, in and the orderings are errors between values of different types, except that
//     anything compares with null. In plain CEL, r.result != "FAILED" is true when result is true.
//   - all() over an empty list or map is an error: nothing was checked. Where nothing is fine, say
//     so: size(predicate.findings) == 0 || predicate.findings.all(f, f.severity == "low").
//
// exists() over an empty list is false as in CEL, so that !list.exists(...) holds for it; and
// matches() finds its pattern anywhere in the text unless the pattern has ^ and $.
//
// # Lineage
//
// An edge follows the dependencies of one role out of every provenance statement that counted for
// the requirement `from`. Each needs an accepted digest, must not be denied, and must meet accept
// and requireEach, which look for statements about that digest. Too few dependencies, one with a
// URI only, and one that no trusted signer says anything about are a LINEAGE_GAP; too many are
// LINEAGE_AMBIGUOUS; a trusted statement that does not hold keeps its own code.
//
// # The deny list
//
// `digests.deny` is compared, with or without lineage edges, with
//
//   - the digests of the artifact;
//   - all digests in all subjects of every statement that counted: they are other names of the
//     artifact or the dependency, such as the image manifest that a directory was pulled from, or of
//     what was made beside it;
//   - the dependencies, whatever their role, of every provenance statement about the artifact that any
//     signer of the policy signed, also when no requirement asks for it. Such a statement whose
//     dependencies cannot be read is a STATEMENT_UNUSABLE.
//
// `denyDigests` of an edge is compared with its dependencies and, in the same way, with the subjects of the
// statements that vouch for them.
package policies
