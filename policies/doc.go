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
//	previous: "sha256:…"                 # the policy that this one follows
//	match:                               # which artifacts the policy is for; it decides about no other (ErrNotMatched)
//	  artifactTypes: [application/vnd.cncf.model.manifest.v1+json]
//	  repositories: [registry.example/models/**]   # * is a part of a name, ** any number of names; the registry is written out
//	params:                              # typed values, in expressions as params.NAME; see below
//	  bar:    {type: decimal, default: "0.70", override: true}
//	  banned: {type: digestList, source: ./banned.txt}
//	signers:                             # required; a name for every identity
//	  ci:      {key: ./ci.pub}           # one key file: a PEM block PUBLIC KEY, with text above it or not
//	  alice:   {keys: [a1.pub, a2.pub]}  # one identity with several keys
//	  bob:     {key: bob.pub}
//	  carol:   {keyless: {issuer: https://accounts.example, subject: carol@acme.example}}   # both, and both exact
//	  bots:    {keyless: {issuer: https://ci.example, pattern: 'https://ci\.example/acme/[^/]+'}}   # RE2 over the whole subject
//	  dave:    {certificate: {authority: ./ca.pem, subject: "CN=dave,O=Acme"}}   # or san: dave@acme.example, or anySubject: true
//	  humans:  {group: {of: [alice, bob], atLeast: 2, distinct: identity}}
//	trust:
//	  root: trusted_root.json            # Sigstore trusted root for keyless signers and timestamps; without it the verifier's own
//	  transparencyLog: required          # required, optional (default), forbidden
//	  timestamps: {atLeast: 1}
//	statements: [v1, v0.1]               # versions of in-toto's Statement; the default is v1 alone
//	digests:
//	  algorithms: [sha256, sha512]       # accepted; the default is both. dirHash always is
//	  deny: ["sha256:…", "dirHash:…"]    # neither the artifact nor anything it was made from; see below
//	require:                             # required, at least one; all of them must pass
//	  - id: signed
//	    signature: {by: [ci]}
//	  - id: eval-bar
//	    severity: block                  # block (default), warn, info: warn and info are reported and change no verdict
//	    attestation: evaluation          # a short name or the URI of a predicate type
//	    by: [ci, humans]                 # any one of these suffices
//	    match: latest                    # all (default), any, one, latest
//	    maxAge: 30d                      # days, hours, minutes: 30d, 12h, 1d12h, 45m
//	    where:                           # a CEL expression or a list; all must be true
//	      - dec(predicate.accuracy) >= dec("0.70")
//	    notSignedBySameIdentityAs: [signed]   # ids of requirements that other people must have signed for
//	    message: no evaluation clears {{ params.bar }}
//	    fix: run the evaluation again
//	lineage:
//	  maxDepth: 8                        # statements behind each other; this is the default, 100 the most
//	  maxNodes: 500                      # things, without the artifact; this is the default, 10000 the most
//	  order: [signed, eval-bar]          # ids of requirements whose verified times must be in this order
//	  edges:
//	    - from: built                    # the id of a rule on https://slsa.dev/provenance/v1, or a list of them
//	      id: base                       # the role, unless it is given: two edges of one role need it
//	      role: baseModel                # resolvedDependencies[].name, exactly
//	      count: {min: 1, max: 1}        # min is 1 unless it is given; without max there is no limit
//	      accept:                        # one of these must hold for each dependency
//	        - pinned: ["sha256:…"]
//	        - {signature: {by: [alice]}}
//	      requireEach:                   # all of these must hold for each dependency
//	        - {attestation: dataset, by: [alice], where: 'predicate.license in ["MIT"]'}
//	      denyDigests: ["sha256:…"]      # or params.NAME
//	      disjointFrom: {edge: dataset, using: digest}   # no dependency in common with the edge of this id
//	revocations: {by: [alice]}           # who may withdraw things; without it any signer of the policy
//	rego: [{file: extra.rego, package: acme.extra}]
//	waivers:
//	  - {id: W-1, requirement: eval-bar, subject: "sha256:…", until: 2026-12-31T00:00:00Z, reason: SEC-441, by: [humans]}
//	acceptWaivers: {by: [humans], for: [eval-bar], maxDays: 30}
//	acceptVerdicts:                      # signed summaries of other gates that stand for evidence that is missing here
//	  - by: [ci]
//	    verifier: https://gate.example/prod   # verifier.id, exactly
//	    policy: this                     # that decided: this document, or a list of digests of policies
//	    resourceUri: [oci://dev.example/models/bot]   # without it the artifact's own address
//	    maxAge: 24h                      # required
//	    for: [signed, lineage:base]      # without it all requirements and edges
//
// Entries of accept and requireEach take signature or attestation, by, match, maxAge and where,
// as requirements do, and an id where other edges start at what they accept; an edge has accept, requireEach, disjointFrom or several of them. There is no way to accept
// "anyone": every rule names signers.
//
// Whatever two readers could understand differently is an error of Load, with line and column:
// unknown and duplicate keys, anchors, aliases, merge keys, tags, directives, tabs, a byte order
// mark, U+0085, U+2028, U+2029 and a carriage return without a line feed, which end a line or
// a comment for some readers only, bidirectional controls, a second document, yes and no without quotes, a number where a string belongs, an empty
// list, two signers with one key, identity or certificate, and a policy of which no requirement blocks. Ids are unique, and `policy`, `match`, `evidence`,
// `digests.deny`, `revocations`, `verdicts`, `lineage.order`, `lineage:ID` and `rego:PACKAGE` are the ids of what a decision lists besides the requirements.
//
// # Keyless signers
//
// issuer and subject are compared whole. A pattern is a regular expression (RE2) that must match the whole subject, whatever stands at its
// ends; one that matches anybody is an error, and so are two members of a group whom one account could be.
//
// # What vouches for a signature
//
// With `transparencyLog: required` a statement counts only with an entry that was verified in a log of the trusted root, and with forbidden
// only without any entry. `timestamps` counts different authorities that vouch for the time of signing: timestamp authorities of the trusted root (RFC
// 3161), and logs that sign the time of an entry; two timestamps of one authority are one. What lacks any of this does not
// count: SIGNATURE_INVALID.
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
//	        more than five minutes in the future, since they cannot be put in order, and the
//	        newest by their own claims where those are earlier
//
// A group is met when enough different members signed statements that count; one member who
// signed twice, or with two keys, is one member. A time may be the statement's own claim: it is
// then as good as its signer. maxAge counts from the statement's own claim also where something else
// vouches for a later time: whoever holds an old signature by a key that lives long can have it timestamped again.
//
// notSignedBySameIdentityAs fails with DUTY_OVERLAP when somebody whose statements counted for the requirement signed one that counted for
// the other: one signer, one key, or one name in certificates. It fails too when the other was not met, since nobody knows then who signed it.
//
// An evidence-set (https://mlseal.dev/attestation/evidence-set/v0.1) holds when every statement in its attestations, named by
// predicateType and the sha256 of its bundle, is among the evidence; one that is missing is a TYPE_MISSING. So a registry that hides a failing
// evaluation is found out. When it says `complete: true`, older statements of the policy's signers that it leaves
// out are noted, but for other inventories.
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
// An expression that takes more than MaxExpressionCost steps is a CONDITION_ERROR, and one that always would is an error of Load. A denial
// shows what the comparisons compared: dec("0.612") >= dec("0.7") -> false.
//
// # Parameters
//
// A parameter is a decimal, a string (both in quotes), an int, a bool, a list of strings, or a digestList, which may stand in a file, one digest a
// line, with # before comments. Policy.WithParams gives those with `override: true` other values, which the decision lists. A value is never
// code, and no pattern: expressions see it as a value of its type.
//
// # Lineage
//
// An edge follows the dependencies of one role out of every provenance statement that counted for
// the rules in `from`, and out of evaluations their dataset, for which the role is evalDataset. Each needs an accepted digest, must not be denied, and must meet accept
// and requireEach, which look for statements about that digest. Too few dependencies, one with a
// URI only, and one that no trusted signer says anything about are a LINEAGE_GAP; too many are
// LINEAGE_AMBIGUOUS; a trusted statement that does not hold keeps its own code.
//
// A rule of accept or requireEach that asks for provenance may have an id, and edges may start at it: at their own rule too, so that they
// follow ancestors of any depth. What is pinned or signed is a leaf, since no edge starts there; provenance that lists no dependency is one only with
// `count: {min: 0}`:
//
//   - from: [built, base-built]
//     role: baseModel
//     accept: [{pinned: ["sha256:…"]}, {id: base-built, attestation: slsa-provenance, by: [ci]}]
//
// Accept takes the first that holds. A thing has one producer: provenance that says differently what one thing was made from is LINEAGE_AMBIGUOUS, unless the
// rule writes match and so says what is meant. A thing that descends from itself, under whichever of its digests, is a LINEAGE_CYCLE. Each thing is visited
// once. More statements behind each other than maxDepth, along the shortest way, and more things than maxNodes, are LIMIT_EXCEEDED.
//
// disjointFrom fails with DIGEST_DENIED when both edges found one digest, and with LINEAGE_GAP when two dependencies have no algorithm in
// common, so that nobody can tell. order wants every statement that counted for a requirement to be no older than those of the ones before; a
// time that only the statement claims cannot be ordered (ORDER_WRONG).
//
// recomputeSubject can only be true: the subject of an OMS signature is always computed from its resources.
//
// # Deny lists and revocations
//
// `digests.deny` is compared, with or without lineage edges, with
//
//   - the digests of the artifact;
//   - all digests in all subjects of every statement that counted: they are other names of the
//     artifact or the dependency, such as the image manifest that a directory was pulled from, or of
//     what was made beside it;
//   - everything that the artifact descends from, in whatever role and however far, by the word of provenance that any
//     signer of the policy signed, also when no requirement asks for it. Such a statement whose
//     dependencies cannot be read is a STATEMENT_UNUSABLE.
//
// `denyDigests` of an edge is compared with its dependencies, with the subjects of the statements that vouch for them, and with
// everything that the artifact descends from.
//
// A revocation (https://mlseal.dev/attestation/revocation/v0.1) is a deny list of its subjects: REVOKED. It counts as soon as somebody
// who may revoke has signed it, unless its effectiveOn is later than now; it is never taken back. A policy that names nobody in
// `revocations` takes those that are found on the way; one that does has statements looked for about everything that the artifact
// descends from, and denies when that is more than MaxDependencies.
//
// # Waivers
//
// A waiver lets one artifact pass without one requirement. One in the policy stands by the policy's own authority. One outside is
// a statement of type https://mlseal.dev/attestation/waiver/v0.1 about the artifact, {id, requirement, until, reason}, signed by whom
// acceptWaivers names. Either ends at most 90 days ahead of now, and is not by somebody who may sign for the requirement itself. A waiver
// that does not count is ignored and noted. What was waived gives edges and notSignedBySameIdentityAs no statements, and order leaves it out.
//
// # Verdicts of other gates
//
// acceptVerdicts takes SLSA verification summaries (https://slsa.dev/verification_summary/v1) about the artifact for evidence. One stands for the
// requirements and edges in `for` when its verifier.id and policy.digest.sha256 are the ones named, a signer in `by` signed it (or enough
// members of a group signed one each), verificationResult is PASSED, no field that the specification requires is missing or of another kind,
// and it is no older than maxAge. Its age is that of timeVerified or of the verified time of signing, whichever was earlier: signing again
// makes nothing younger. Neither may be more than five minutes in the future. resourceUri must be
//
//   - one of those listed, as it stands or with @sha256:DIGEST of the artifact behind it;
//   - or else what mlseal verify writes: oci://REGISTRY/REPOSITORY@sha256:DIGEST, and oci:NAME@sha256:DIGEST for a layout of that name. A
//     directory has no address of its own.
//
// A verdict stands only for what is missing: statements that are not there, are by somebody else, too few or too old, and dependencies that nobody
// vouches for. A trusted statement that does not hold, two where one is wanted, one identity in two roles, deny lists, revocations, expiry,
// match, Rego modules and the check of the contents deny as ever. Times of what a verdict stands for are not ordered.
//
// The latest word of a verifier counts. FAILED, no older than maxAge and not followed by an accepted PASSED, denies as `verdicts`
// (VERDICT_FAILED), whatever other evidence there is: that gate may have seen what is hidden here. A summary of a decision that rests on a verdict itself says so in
// verifiedLevels (MLSEAL_ACCEPTED_VERDICT/POLICY) and is not accepted, so that two gates cannot keep one look at the evidence fresh for good. Nor is one of a
// decision with other parameters than the document's. Every summary that is not accepted is shown with the reason.
//
// # Rego
//
// A module of Rego v1 decides over all statements of the policy's signers at once. Its package declares `deny contains`; whatever is in the set
// denies, and so does any error. Each module is compiled by itself and has functions that compute and no others: no network, clock, chance or
// environment. `with`, other data, and rules that are not there are errors of Load. It has MaxRegoTime and MaxRegoMemory, and a number
// of more than 1100 digits in the evidence is an error. Statements without what trust asks for are left out. input is
//
//	{subject: {name, digests, artifactType, repository}, now: "2026-…Z", params: {NAME: value},
//	 evidence: [{id, predicateType, signers, subjects, time, timeSource, statement, predicate}]}
//
// in which decimals of parameters are strings.
package policies
