package policies_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/mlseal/mlseal/policies"
)

const (
	verdictType = "https://slsa.dev/verification_summary/v1"
	gateID      = "https://gate.acme.example/prod"
)

var otherPolicy = "sha256:" + h("p")

// accepting wants a scan by ci and a sheet by data, and takes verdicts of a policy with the digest of "p".
func accepting(entry string) string {
	return "require:\n  - {id: scan, attestation: evaluation, by: [ci], where: predicate.ok == true}\n  - {id: sheet, attestation: dataset, by: [data]}\n" +
		"acceptVerdicts:\n  - {by: [alice], verifier: '" + gateID + "', maxAge: 24h, " + entry + "}\n"
}

// vsa is a summary by alice of two hours ago, with edits.
func vsa(id string, edit func(p map[string]any), changes ...change) Evidence {
	p := map[string]any{
		"verifier":           map[string]any{"id": gateID},
		"timeVerified":       now.Add(-2 * time.Hour).Format(time.RFC3339),
		"resourceUri":        "oci:model@sha256:" + h("a"),
		"policy":             map[string]any{"uri": "urn:mlseal:policy:prod:7", "digest": map[string]any{"sha256": h("p")}},
		"verificationResult": "PASSED",
		"verifiedLevels":     []any{"MLSEAL_POLICY/prod"},
		"slsaVersion":        "1.2",
	}
	if edit != nil {
		edit(p)
	}
	text, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	signed := func(ev *Evidence) {
		ev.SignedBy, ev.Time = []string{"alice"}, time.Time{}
		if at, err := time.Parse(time.RFC3339, fmt.Sprint(p["timeVerified"])); err == nil {
			ev.Time, ev.TimeSource = at, "claimed"
		} else {
			ev.TimeSource = ""
		}
	}
	return statement(id, verdictType, string(text), append([]change{signed}, changes...)...)
}

func set(key string, value any) func(map[string]any) {
	return func(p map[string]any) {
		at := strings.Split(key, ".")
		for _, k := range at[:len(at)-1] {
			p = p[k].(map[string]any)
		}
		if value == nil {
			delete(p, at[len(at)-1])
			return
		}
		p[at[len(at)-1]] = value
	}
}

func ago(d time.Duration) func(map[string]any) {
	return set("timeVerified", now.Add(-d).Format(time.RFC3339))
}

func failed(d time.Duration) func(map[string]any) {
	return func(p map[string]any) {
		ago(d)(p)
		p["verificationResult"], p["verifiedLevels"] = "FAILED", []any{"FAILED"}
	}
}

func signedAt(d time.Duration) change {
	return func(ev *Evidence) { ev.Time, ev.TimeSource = now.Add(-d), "timestamp authority" }
}

func TestAcceptedVerdict(t *testing.T) {
	p := load(t, accepting("policy: ['"+otherPolicy+"']"))
	d := want(t, p, "scan", "", vsa("v", nil))
	r := requirement(t, d, "scan")
	if r.AcceptedFrom != gateID || r.Detail != "accepted from "+gateID+", VSA sha256:v by alice, 2h old; TYPE_MISSING: no evaluation statement by ci" || len(r.Counted) != 1 {
		t.Errorf("%+v", r)
	}
	if requirement(t, d, "sheet").AcceptedFrom == "" || len(d.Ignored) != 0 {
		t.Errorf("%+v %+v", requirement(t, d, "sheet"), d.Ignored)
	}
	d = want(t, p, "scan", "", vsa("v", nil), statement("e", evaluation, `{"ok":true}`))
	if r := requirement(t, d, "scan"); r.AcceptedFrom != "" {
		t.Errorf("its own evidence suffices: %+v", r)
	}
}

// Case 72: verdicts that do not stand for anything. Each is shown with the reason.
func TestNearVerdicts(t *testing.T) {
	listed := "policy: ['" + otherPolicy + "']"
	for name, c := range map[string]struct {
		entry  string
		ev     Evidence
		code   Code
		reason string
	}{
		"72 another verifier":              {listed, vsa("v", set("verifier.id", gateID+"/")), VerdictNotAccepted, "its verifier is " + gateID + "/, not " + gateID},
		"72 another resourceUri":           {listed, vsa("v", set("resourceUri", "oci:other@sha256:"+h("a"))), SubjectMismatch, "its resourceUri is oci:other"},
		"72 resourceUri of another digest": {listed, vsa("v", set("resourceUri", "oci:model@sha256:"+h("b"))), SubjectMismatch, "resourceUri"},
		"72 not a listed resourceUri":      {listed + ", resourceUri: ['oci://dev.example/bot']", vsa("v", nil), SubjectMismatch, "resourceUri"},
		"72 a listed resourceUri and more": {listed + ", resourceUri: ['oci:mode']", vsa("v", nil), SubjectMismatch, "resourceUri"},
		"72 another policy":                {listed, vsa("v", set("policy.digest.sha256", h("q"))), VerdictNotAccepted, "another policy decided: sha256:717171717171…"},
		"72 not this policy":               {"policy: this", vsa("v", nil), VerdictNotAccepted, "another policy decided"},
		"72 expired":                       {listed, vsa("v", ago(25*time.Hour)), EvidenceTooOld, "25h old, the limit is 24h"},
		"72 expired and signed anew":       {listed, vsa("v", ago(25*time.Hour), signedAt(time.Hour)), EvidenceTooOld, "25h old"},
		"72 signed long before it says":    {listed, vsa("v", ago(time.Hour), signedAt(25*time.Hour)), EvidenceTooOld, "25h old"},
		"72 in the future":                 {listed, vsa("v", ago(-6*time.Minute)), EvidenceTooOld, "dated in the future"},
		"72 signed in the future":          {listed, vsa("v", nil, signedAt(-6*time.Minute)), EvidenceTooOld, "dated in the future"},
		"72 no time":                       {listed, vsa("v", set("timeVerified", nil)), StatementUnusable, "timeVerified"},
		"72 time is no time":               {listed, vsa("v", set("timeVerified", "yesterday")), StatementUnusable, "timeVerified"},
		"72 no verifier":                   {listed, vsa("v", set("verifier", nil)), StatementUnusable, "no verifier.id"},
		"72 no resourceUri":                {listed, vsa("v", set("resourceUri", nil)), StatementUnusable, "no resourceUri"},
		"72 no policy":                     {listed, vsa("v", set("policy", nil)), StatementUnusable, "no policy.uri"},
		"72 no policy digest":              {listed, vsa("v", set("policy.digest", nil)), StatementUnusable, "no policy.digest.sha256"},
		"72 policy digest is none":         {listed, vsa("v", set("policy.digest.sha256", strings.ToUpper(h("z")))), StatementUnusable, "is no digest"},
		"72 no result":                     {listed, vsa("v", set("verificationResult", nil)), StatementUnusable, "no verificationResult"},
		"72 result is true":                {listed, vsa("v", set("verificationResult", true)), StatementUnusable, "no verificationResult"},
		"72 unknown result":                {listed, vsa("v", set("verificationResult", "passed")), StatementUnusable, "neither PASSED nor FAILED"},
		"72 PASSED and FAILED":             {listed, vsa("v", set("verifiedLevels", []any{"FAILED"})), StatementUnusable, "and FAILED in verifiedLevels"},
		"72 no levels":                     {listed, vsa("v", set("verifiedLevels", nil)), StatementUnusable, "no list verifiedLevels"},
		"72 a level that is no string":     {listed, vsa("v", set("verifiedLevels", []any{1})), StatementUnusable, "no string"},
		"72 another signer":                {listed, vsa("v", nil, by("bob")), SignerNotTrusted, "signed by bob"},
		"72 a stranger":                    {listed, vsa("v", nil, by()), SignerNotTrusted, "not signed by"},
		"72 about something else":          {listed, vsa("v", nil, about(map[string]string{"sha256": h("b")})), SubjectMismatch, "about something else"},
		"72 unreadable":                    {listed, vsa("v", nil, broken(ParseAmbiguous)), ParseAmbiguous, "why"},
		"72 with other parameters":         {listed, vsa("v", set("policy.annotations", map[string]any{ParamsAnnotation: map[string]any{}})), VerdictNotAccepted, "other parameters"},
		"72 rests on somebody else's":      {listed, vsa("v", set("verifiedLevels", []any{"MLSEAL_POLICY/prod", ChainedVerdict("prod")})), VerdictNotAccepted, "rests on a verdict"},
		"72 by too few of a group":         {listed + ", group", vsa("v", nil), ThresholdNotMet, "1 of 2 signers of two"},
	} {
		t.Run(name, func(t *testing.T) {
			text := accepting(strings.TrimSuffix(c.entry, ", group"))
			if strings.HasSuffix(c.entry, ", group") {
				text = strings.Replace(text, "by: [alice], verifier", "by: [two], verifier", 1)
			}
			d := want(t, load(t, text), "scan", TypeMissing, c.ev)
			near := requirement(t, d, "scan").NearMisses
			if len(near) == 0 || near[len(near)-1].Code != c.code || !strings.Contains(near[len(near)-1].Reason, "a verdict that is not accepted: ") || !strings.Contains(near[len(near)-1].Reason, c.reason) {
				t.Errorf("near misses %+v", near)
			}
			if len(d.Ignored) != 1 || d.Ignored[0].Reason == "" {
				t.Errorf("ignored %+v", d.Ignored)
			}
		})
	}
}

// Case 72: the latest word of a verifier counts.
func TestFailedVerdict(t *testing.T) {
	p := load(t, accepting("policy: ['"+otherPolicy+"']"))
	sheet, scan := statement("s", dataset, `{}`, by("data")), statement("e", evaluation, `{"ok":true}`)
	yes := vsa("yes", nil)
	for name, c := range map[string]struct {
		code     Code
		evidence []Evidence
	}{
		"72 FAILED":                              {VerdictFailed, []Evidence{vsa("no", failed(time.Hour))}},
		"72 FAILED after PASSED":                 {VerdictFailed, []Evidence{yes, vsa("no", failed(time.Hour))}},
		"72 FAILED at the same time":             {VerdictFailed, []Evidence{yes, vsa("no", failed(2*time.Hour))}},
		"72 FAILED, though all evidence is here": {VerdictFailed, []Evidence{sheet, scan, vsa("no", failed(time.Hour))}},
		"72 FAILED for another address":          {VerdictFailed, []Evidence{yes, vsa("no", func(p map[string]any) { failed(time.Hour)(p); p["resourceUri"] = "oci:other" })}},
		"72 FAILED in the future":                {VerdictFailed, []Evidence{yes, vsa("no", failed(-time.Hour))}},
		"72 FAILED said before, signed later":    {VerdictFailed, []Evidence{yes, vsa("no", failed(3*time.Hour), signedAt(time.Hour))}},
		"72 FAILED that rests on another":        {VerdictFailed, []Evidence{yes, vsa("no", func(p map[string]any) { failed(time.Hour)(p); p["verifiedLevels"] = []any{ChainedVerdict("x")} })}},
		"72 FAILED before PASSED":                {"", []Evidence{yes, vsa("no", failed(3*time.Hour))}},
		"72 FAILED long ago, all is here":        {"", []Evidence{sheet, scan, vsa("no", failed(25*time.Hour))}},
		"72 FAILED by another verifier": {"", []Evidence{yes, vsa("no", func(p map[string]any) {
			failed(time.Hour)(p)
			p["verifier"] = map[string]any{"id": "https://dev.example"}
		})}},
		"72 FAILED by a stranger":        {"", []Evidence{yes, vsa("no", failed(time.Hour), by())}},
		"72 FAILED about something else": {"", []Evidence{yes, vsa("no", failed(time.Hour), about(map[string]string{"sha256": h("b")}))}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.code == "" {
				want(t, p, "scan", "", c.evidence...)
				return
			}
			d := want(t, p, "verdicts", c.code, c.evidence...)
			if r := requirement(t, d, "verdicts"); !strings.Contains(r.Detail, gateID+" says FAILED, VSA sha256:no by alice") || len(r.Counted) != 1 {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A verdict stands for what is missing here, and for nothing that trusted evidence speaks against.
func TestVerdictStandsForWhatIsMissing(t *testing.T) {
	entry := "policy: ['" + otherPolicy + "']"
	p := load(t, accepting(entry))
	yes := vsa("yes", nil)
	want(t, p, "scan", "", yes, statement("e", evaluation, `{"ok":true}`, by()))
	want(t, p, "scan", "", yes, statement("e", evaluation, `{"ok":true}`, elsewhere, about(map[string]string{"sha256": h("z")})))
	want(t, p, "scan", ConditionFalse, yes, statement("e", evaluation, `{"ok":false}`))
	want(t, p, "scan", ConditionError, yes, statement("e", evaluation, `{}`))

	ours := load(t, accepting(entry+", for: [sheet]"))
	want(t, ours, "scan", TypeMissing, yes)
	want(t, ours, "scan", "", yes, statement("e", evaluation, `{"ok":true}`))

	denying := load(t, accepting(entry)+"digests: {deny: ['sha256:"+h("a")+"']}\n")
	want(t, denying, "digests.deny", DigestDenied, yes)
	want(t, p, "revocations", Revoked, yes, statement("r", "https://mlseal.dev/attestation/revocation/v0.1", `{"reason":"x"}`))

	duty := load(t, strings.Replace(accepting(entry), "by: [data]}", "by: [data, ci], notSignedBySameIdentityAs: [scan]}", 1))
	want(t, duty, "sheet", "", yes, statement("s", dataset, `{}`, by("data")))
	want(t, duty, "sheet", DutyOverlap, yes, statement("s", dataset, `{}`), statement("e", evaluation, `{"ok":true}`))
	partly := load(t, strings.Replace(accepting(entry+", for: [scan]"), "by: [data]}", "by: [data, ci], notSignedBySameIdentityAs: [scan]}", 1))
	want(t, partly, "sheet", DutyOverlap, yes, statement("s", dataset, `{}`, by("data")))

	one := load(t, strings.Replace(accepting(entry), "where: predicate.ok == true}", "match: one}", 1))
	want(t, one, "scan", LineageAmbiguous, yes, statement("e", evaluation, `{}`), statement("f", evaluation, `{}`))

	if d := p.Evaluate(model, []Evidence{yes}, timeZero); d.Verdict == Allow {
		t.Error("allowed without a clock")
	}
	if d := p.Evaluate(model, []Evidence{vsa("no", failed(time.Hour))}, timeZero); requirement(t, d, "verdicts").Code != VerdictFailed {
		t.Error("without a clock a no counts")
	}
	logged := load(t, accepting(entry)+"trust: {root: root.json, transparencyLog: required}\n")
	want(t, logged, "scan", TypeMissing, yes)
	want(t, logged, "scan", "", vsa("yes", nil, func(ev *Evidence) { ev.Logs, ev.LogEntries = 1, 1 }))
	group := load(t, strings.Replace(accepting(entry), "by: [alice], verifier", "by: [two], verifier", 1))
	want(t, group, "scan", "", yes, vsa("yes2", nil, by("bob")))
	want(t, group, "verdicts", VerdictFailed, yes, vsa("yes2", nil, by("bob")), vsa("no", failed(time.Hour), by("carol")))
}

// An evidence set that misses a statement is evidence that something is hidden, which no verdict makes good.
func TestVerdictAndEvidenceSet(t *testing.T) {
	p := load(t, strings.Replace(accepting("policy: ['"+otherPolicy+"']"), "attestation: evaluation, by: [ci], where: predicate.ok == true", "attestation: evidence-set, by: [ci]", 1))
	want(t, p, "scan", TypeMissing, vsa("yes", nil), statement("set", "https://mlseal.dev/attestation/evidence-set/v0.1",
		`{"attestations":[{"predicateType":"`+evaluation+`","digest":"sha256:`+h("c")+`"}]}`))
}

func TestVerdictForLineage(t *testing.T) {
	const edges = "lineage:\n  edges:\n    - {from: built, role: dataset, requireEach: [{attestation: dataset, by: [data], where: predicate.ok == true}], denyDigests: ['sha256:%s']}\n"
	entry := func(ids string) string {
		return "require:\n  - {id: built, attestation: slsa-provenance, by: [ci]}\n" + fmt.Sprintf(edges, h("q")) +
			"acceptVerdicts:\n  - {by: [alice], verifier: '" + gateID + "', maxAge: 24h, policy: ['" + otherPolicy + "']" + ids + "}\n"
	}
	made := func(digest string) Evidence {
		return statement("b", provenance, `{"buildDefinition":{"resolvedDependencies":[{"name":"dataset","digest":{"sha256":"`+digest+`"}}]}}`)
	}
	sheet := statement("s", dataset, `{"ok":false}`, by("data"), about(map[string]string{"sha256": h("c")}))
	all, edge, none := load(t, entry("")), load(t, entry(", for: ['lineage:dataset']")), load(t, entry(", for: [built]"))
	yes := vsa("yes", nil)
	want(t, all, "lineage:dataset", "", yes)
	want(t, all, "lineage:dataset", "", yes, made(h("c")))
	want(t, edge, "lineage:dataset", "", yes, made(h("c")))
	want(t, none, "lineage:dataset", LineageGap, yes, made(h("c")))
	want(t, none, "lineage:dataset", LineageGap, yes)
	want(t, all, "lineage:dataset", ConditionFalse, yes, made(h("c")), sheet)
	want(t, all, "lineage:dataset", DigestDenied, yes, made(h("q")))
}

func TestVerdictAddresses(t *testing.T) {
	listed := "policy: ['" + otherPolicy + "']"
	hub := model
	hub.Repository = "registry.example/models/bot"
	for name, c := range map[string]struct {
		subject Subject
		entry   string
		uri     string
		ok      bool
	}{
		"72 of its repository": {hub, listed, "oci://registry.example/models/bot@sha256:" + h("a"), true},
		"72 of its name alone": {hub, listed, "oci:model@sha256:" + h("a"), false},
		"72 of its tag":        {hub, listed, "oci://registry.example/models/bot:v1", false},
		"72 of another digest": {hub, listed, "oci://registry.example/models/bot@sha256:" + h("b"), false},
		"72 promoted":          {hub, listed + ", resourceUri: ['oci://dev.example/bot']", "oci://dev.example/bot@sha256:" + h("a"), true},
		"72 promoted, whole":   {hub, listed + ", resourceUri: ['oci://dev.example/bot']", "oci://dev.example/bot", true},
		"72 promoted, other":   {hub, listed + ", resourceUri: ['oci://dev.example/bot']", "oci://dev.example/bot@sha256:" + h("b"), false},
		"72 directory":         {Subject{Name: "model", Digests: map[string]string{"dirHash": h("d")}}, listed, "oci:model", false},
		"72 directory, listed": {Subject{Name: "model", Digests: map[string]string{"dirHash": h("d")}}, listed + ", resourceUri: ['https://x.example/m']", "https://x.example/m", true},
		"72 list replaces own": {hub, listed + ", resourceUri: ['oci://dev.example/bot']", "oci://registry.example/models/bot@sha256:" + h("a"), false},
	} {
		t.Run(name, func(t *testing.T) {
			ev := vsa("v", set("resourceUri", c.uri), about(map[string]string{"dirHash": h("d")}))
			if c.subject.Digests["sha256"] != "" {
				ev = vsa("v", set("resourceUri", c.uri))
			}
			if d := load(t, accepting(c.entry)).Evaluate(c.subject, []Evidence{ev}, now); (d.Err() == nil) != c.ok {
				t.Error(text(t, d))
			}
		})
	}
}

func TestThisPolicy(t *testing.T) {
	p := load(t, accepting("policy: this"))
	own := strings.TrimPrefix(p.Ref().Digest, "sha256:")
	want(t, p, "scan", "", vsa("v", set("policy.digest.sha256", own)))
}

func TestLoadVerdicts(t *testing.T) {
	good := accepting("policy: this")
	for name, c := range map[string]struct{ old, new, message string }{
		"no signer":          {"by: [alice], verifier", "verifier", "has no by"},
		"unknown signer":     {"by: [alice], verifier", "by: [mallory], verifier", `by names "mallory"`},
		"no verifier":        {"verifier: '" + gateID + "', ", "", "has no verifier"},
		"verifier is no URI": {gateID, "gate", "write the whole URI"},
		"no age":             {"maxAge: 24h, ", "", "has no maxAge"},
		"no policy":          {", policy: this", "", "has no policy"},
		"another word":       {"policy: this", "policy: any", "write this, or a list of the digests"},
		"empty list":         {"policy: this", "policy: []", "empty"},
		"not a policy":       {"policy: this", "policy: ['dirHash:" + h("d") + "']", "is a sha256"},
		"no resource":        {"policy: this", "policy: this, resourceUri: []", "empty"},
		"unknown id":         {"policy: this", "policy: this, for: [scam]", `acceptVerdicts.for names "scam"`},
		"unknown edge":       {"policy: this", "policy: this, for: ['lineage:x']", `acceptVerdicts.for names "lineage:x"`},
		"unknown key":        {"policy: this", "policy: this, result: PASSED", "result"},
		"reserved id":        {"id: sheet", "id: verdicts", "is taken"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load([]byte(policyText(strings.Replace(good, c.old, c.new, 1))), options())
			if err == nil || !strings.Contains(err.Error(), c.message) {
				t.Errorf("%v, want %q", err, c.message)
			}
		})
	}
}
