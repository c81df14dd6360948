package policies_test

import (
	"testing"
	"time"

	. "github.com/mlseal/mlseal/policies"
)

// Case 68: a time zone, of the clock or of the policy, moves no limit.
func TestTimeZones(t *testing.T) {
	east, west := time.FixedZone("east", 14*3600), time.FixedZone("west", -12*3600)
	rule := "require:\n  - {id: scan, attestation: evaluation, by: [ci], maxAge: 1h, where: 'timestamp < now'}\n"
	for name, c := range map[string]struct {
		policy string
		id     string
		code   Code
	}{
		"68 the last second of the age": {rule, "scan", ""},
		"68 end in another zone":        {"expires: 2026-11-19T02:00:01+14:00\n" + rule, "policy", ""},
		"68 end in another zone, past":  {"expires: 2026-11-19T02:00:00+14:00\n" + rule, "policy", PolicyExpired},
		"68 end in the west":            {"expires: 2026-11-18T00:00:01-12:00\n" + rule, "policy", ""},
		"68 end in the west, past":      {"expires: 2026-11-18T00:00:00-12:00\n" + rule, "policy", PolicyExpired},
	} {
		t.Run(name, func(t *testing.T) {
			p := load(t, c.policy)
			for _, zone := range []*time.Location{time.UTC, east, west} {
				ev := statement("e", evaluation, `{}`, func(ev *Evidence) { ev.Time = now.Add(-time.Hour).In(zone) })
				for _, clock := range []*time.Location{time.UTC, east, west} {
					d := p.Evaluate(model, []Evidence{ev}, now.In(clock))
					if r := requirement(t, d, c.id); r.Code != c.code || (d.Verdict == Allow) != (c.code == "") {
						t.Errorf("%s, %s: %s", zone, clock, text(t, d))
					}
					late := p.Evaluate(model, []Evidence{ev}, now.Add(time.Second).In(clock))
					if r := requirement(t, late, "scan"); r.Code != EvidenceTooOld {
						t.Errorf("%s, %s, a second later: %s", zone, clock, text(t, late))
					}
				}
			}
		})
	}
}
