package report

import "github.com/mlseal/mlseal/policies"

// meanings says what each reason code stands for, for people who meet it in a program's list.
var meanings = map[policies.Code]string{
	policies.SignatureInvalid:       "The signature does not verify with the key that it names.",
	policies.SignerNotTrusted:       "Nobody whom the policy names for this has signed it.",
	policies.SubjectMismatch:        "The statement is about something else than this artifact.",
	policies.ContentMismatch:        "The bytes are not those that the digest names.",
	policies.TypeMissing:            "There is no statement of the type that is required.",
	policies.ThresholdNotMet:        "Fewer different signers than the policy asks for have signed.",
	policies.EvidenceTooOld:         "The statement is older than the policy allows, or nothing says how old it is.",
	policies.ConditionFalse:         "The statement is trusted, and what it says does not fulfil the policy's condition.",
	policies.ConditionError:         "The policy's condition could not be evaluated over the statement, so it does not hold.",
	policies.DigestDenied:           "The artifact, or something that it was made of, is on the policy's deny list.",
	policies.LineageGap:             "Something that the artifact was made of is vouched for by nobody.",
	policies.LineageCycle:           "The artifact descends from itself.",
	policies.LineageAmbiguous:       "Several statements claim what only one may.",
	policies.OrderWrong:             "Statements were made in an order that the policy forbids.",
	policies.DutyOverlap:            "One identity fills two roles that the policy keeps apart.",
	policies.Revoked:                "The artifact, or something that it was made of, was withdrawn.",
	policies.PolicyExpired:          "The policy's own end is past.",
	policies.PolicyRollback:         "The policy is older than one that was accepted before.",
	policies.PolicyUnsigned:         "Nobody signed the policy.",
	policies.PolicySignerNotTrusted: "Nobody who is trusted with policies signed the policy.",
	policies.PolicyMisplaced:        "The policy was signed for another place, or is not the one that was there before.",
	policies.VerdictFailed:          "Another gate, whose verdicts the policy accepts, says no.",
	policies.VerdictNotAccepted:     "Another gate's verdict does not stand for anything here.",
	policies.WaiverExpired:          "A waiver is past its end.",
	policies.LimitExceeded:          "There is more than is read.",
	policies.ParseAmbiguous:         "Two programs would read the text differently.",
	policies.StatementUnusable:      "It is not a statement that is understood.",
	policies.SchemaMismatch:         "What the statement says does not satisfy the schema of its type.",
}

// steps is what helps with most denials of a kind.
var steps = map[policies.Code]string{
	policies.SubjectMismatch:   "these are not the bytes that were vouched for: get the artifact again (mlseal pull), or have these attested",
	policies.ContentMismatch:   "get the artifact again from where it was published",
	policies.TypeMissing:       "attach one (mlseal attest REF --type TYPE --predicate FILE --key KEY), or say where it is with --attestations",
	policies.SignerNotTrusted:  "have it signed by a signer whom the policy names for this",
	policies.SignatureInvalid:  "have it signed by a signer whom the policy names for this",
	policies.ThresholdNotMet:   "have it signed by more of the signers whom the policy names for this",
	policies.EvidenceTooOld:    "make the statement anew and attach it",
	policies.ConditionFalse:    "make an artifact that fulfils the condition, and have it attested; signing the same statement again changes nothing",
	policies.ConditionError:    "the statement lacks what the condition asks for: make one that has it and attach it, or write the condition with has()",
	policies.DigestDenied:      "it must not be deployed; the policy's owner knows why it is on the list",
	policies.LineageGap:        "have the dependency vouched for, or name the store that holds its statements with --attestations",
	policies.LineageAmbiguous:  "find out which of them is right, and remove the others (mlseal rm)",
	policies.PolicyExpired:     "get the policy's current version from its owner",
	policies.VerdictFailed:     "see why it failed there; a later PASSED of the same verifier takes its place",
	policies.LimitExceeded:     "remove what does not belong there",
	policies.ParseAmbiguous:    "have the statement made anew; this one was written by a broken or a hostile program",
	policies.StatementUnusable: "have the statement made anew",
	policies.SchemaMismatch:    "have the statement made anew as its schema has it (mlseal schema NAME)",
}

// nextStep is what the policy's author advises, else what helps with most denials of this kind; empty when nothing is known.
func nextStep(r policies.Requirement) string {
	if r.Fix != "" {
		return r.Fix
	}
	return steps[r.Code]
}
