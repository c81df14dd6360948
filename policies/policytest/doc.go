// Package policytest tests policies: a suite says what a policy decides about evidence, and about the same evidence with
// something changed. Evidence in a test is what a verifier leaves: nothing is signed and no keys are needed. It does no I/O
// of its own and reads no clock.
//
// # The suite
//
// A suite is one strict YAML document, as policies are:
//
//	policy: ./policy.yaml                # required
//	now: 2026-11-20T12:00:00Z            # required; the clock of all cases
//	fixtures: ./testdata/good            # required; a directory, see below
//	cases:                               # required, at least one
//	  - {name: good passes, expect: pass}
//	  - name: old evaluation             # required; unique
//	    mutate: [{timestamp: eval-bar, shift: -31d}]     # in this order; without any the fixture as it is
//	    expect: {deny: eval-bar, code: EVIDENCE_TOO_OLD} # denied, and this requirement failed; code is optional
//	  - {name: no card, mutate: [{drop: card}], expect: {warn: card}}       # allowed, and this requirement failed
//	  - {name: W-1, mutate: [{drop: scan}], expect: {waive: W-1}}           # allowed by this waiver
//	    now: 2027-11-20T12:00:00Z        # another clock for one case
//	    params: {minAccuracy: "0.9"}     # other values for the policy's parameters
//	    subject: {repository: registry.example/x, artifactType: application/x, sha256: …, dirHash: …}    # another artifact
//	coverage: {requirements: 100%, conditions: 80%, checks: 50%}
//	mutants: {builtin: true, survivors: 0, unneeded: [card], timeless: [approval]}
//
// Ids of requirements are those that a decision lists: those of the policy, lineage:ROLE, lineage.order, digests.deny, revocations,
// rego:PACKAGE, match, and policy for its expiry.
//
// A mutation names statements by their name in the fixture, or by the id of a requirement: then it means all statements that counted
// for the requirement in the fixture as it is. One that names nothing, or changes nothing, is an error.
//
//	{drop: REF}
//	{duplicate: REF}                     # another bundle that says the same; with `as: NAME` signed by another signer
//	{resign: REF, as: NAME}              # or a list of names; a name that is no signer of the policy is a stranger
//	{timestamp: REF, shift: -31d}        # or to: TIME; source: claimed says who vouches for the time
//	{resubject: REF}                     # about something else; to: "sha256:…" says about what
//	{retype: REF}                        # of another type; to: URI says which
//	{set: REF, path: predicate.results[0].value, to: "0.5"}          # a key may be new, its parent must be there
//	{unset: REF, path: predicate.results}
//	{spoil: REF, code: PARSE_AMBIGUOUS}  # not usable; SIGNATURE_INVALID without a code
//	{add: FILE}                          # a statement of the fixture's form, beside the suite
//	{replace: REF, with: FILE}           # one statement
//
// # The fixture
//
// A fixture is a directory of JSON files: subject.json and one for each statement, whose name is the file's without .json.
//
//	{"name": "bot", "digests": {"sha256": "…", "dirHash": "…"}, "artifactType": "…", "repository": "…"}
//
//	{
//	  "signedBy": ["trainer"],                       # names of the policy's signers; others are strangers
//	  "time": "2026-11-18T15:02:00Z", "timeSource": "Rekor",
//	  "statement": {"_type": "https://in-toto.io/Statement/v1", "subject": […], "predicateType": "…", "predicate": {…}}
//	}
//
// and, where they matter, "id" (the bundle's, by which evidence sets cite it), "foundWith" (digests), "verifiedWith" ({"keys", "subject",
// "names"}), "subjects" (where they are not the statement's own, as of a model signature, whose tree is recomputed), "logs", "logEntries",
// "timestamps", "signatureNote", and "problem" with "problemDetail". There are no other keys. mlseal policy fixture writes such a
// directory of a real artifact.
//
// # Coverage
//
// A requirement or an edge is covered when a case that holds expects it to fail, by name. A condition (where) or another check (maxAge,
// by, count, Rego, an entry of accept or requireEach, denyDigests, disjointFrom, notSignedBySameIdentityAs, order, expiry, match, deny list,
// revocations, waivers) is covered when it said no in a case that expects the requirement to which it belongs to fail. Of
// several conditions the first that is false ends the matter, so each needs a case of its own.
//
// # Mutants
//
// Built-in mutants change one statement of the fixture, which must pass, and see whether the policy notices: the verdict is a denial, or a
// requirement that passed fails. Those that are not noticed survive.
//
//	drop         without the statement. If nobody notices, no requirement needs it: a survivor, unless it is under unneeded.
//	             Such a statement has no other mutants: what is not needed may say anything
//	duplicate    beside a second bundle of the same signer that says the same. That is harmless, and never a survivor; where it
//	             denies (match: one), the report says so
//	stand-in     of two statements for one requirement, the one again in place of the other: one signer must not count for two
//	re-sign      signed by a stranger, and by each signer of the policy whom no rule names for the type
//	re-subject   about something else
//	retype       of another type
//	replay       made long before: ten years, or the longest maxAge and a day more if that is longer
//	future-date  made a year ahead
//
// The last two are not made for what does not age: what timeless names, and provenance, signatures and datasets unless the requirement
// for which they count has a maxAge.
package policytest
