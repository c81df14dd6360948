package policies

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The results of https://slsa.dev/spec/v1.2/verification_summary: "Either "PASSED" or "FAILED"".
const (
	resultPassed = "PASSED"
	resultFailed = "FAILED"
)

// summary is a SLSA verification summary, as far as a policy reads it.
type summary struct {
	it                         *item
	verifier, resource, result string
	policy                     string // the sha256 of the policy that decided
	overridden                 bool   // by that policy with other parameters
	chained                    bool   // it rests on another verdict itself
	// earliest and latest are when it was decided, by the summary and by who vouches for the time of signing.
	earliest, latest time.Time
}

// readSummary reads the fields that the specification requires, and the policy's digest. Other fields are nobody's.
func readSummary(it *item) (summary, error) {
	predicate, _ := it.Statement["predicate"].(map[string]any)
	verifier, _ := predicate["verifier"].(map[string]any)
	policy, _ := predicate["policy"].(map[string]any)
	digest, _ := policy["digest"].(map[string]any)
	v := summary{it: it}
	annotations, _ := policy["annotations"].(map[string]any)
	_, v.overridden = annotations[ParamsAnnotation]
	var uri string // "policy: … MUST contain a uri"
	for _, f := range []struct {
		name string
		from any
		to   *string
	}{
		{"verifier.id", verifier["id"], &v.verifier}, {"resourceUri", predicate["resourceUri"], &v.resource}, {"policy.uri", policy["uri"], &uri},
		{"policy.digest.sha256", digest["sha256"], &v.policy}, {"verificationResult", predicate["verificationResult"], &v.result},
	} {
		if *f.to, _ = f.from.(string); *f.to == "" {
			return v, fmt.Errorf("the summary has no %s", f.name)
		}
	}
	if !isHex("sha256", v.policy) {
		return v, errors.New("the summary's policy.digest.sha256 is no digest")
	}
	if v.result != resultPassed && v.result != resultFailed {
		return v, fmt.Errorf("the summary's verificationResult is %s, neither PASSED nor FAILED", foreign(v.result))
	}
	if err := v.levels(predicate["verifiedLevels"]); err != nil {
		return v, err
	}
	return v, v.times(predicate["timeVerified"])
}

// levels reads verifiedLevels: "Indicates the highest level of each track verified for the artifact …, or "FAILED" if policy
// verification failed."
func (v *summary) levels(value any) error {
	list, ok := value.([]any)
	if !ok {
		return errors.New("the summary has no list verifiedLevels")
	}
	for _, entry := range list {
		level, ok := entry.(string)
		if !ok {
			return errors.New("the summary's verifiedLevels holds what is no string")
		}
		if level == resultFailed && v.result == resultPassed {
			return errors.New("the summary says PASSED, and FAILED in verifiedLevels")
		}
		v.chained = v.chained || strings.HasPrefix(level, chainedVerdict)
	}
	return nil
}

// times pairs what the summary says with what was verified of the time of signing. Signing an old summary anew does not make it younger.
func (v *summary) times(value any) error {
	text, _ := value.(string)
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.IsZero() {
		return errors.New("the summary has no timeVerified that is a time")
	}
	times := []time.Time{at}
	if v.it.timed() && v.it.TimeSource != claimed {
		times = append(times, v.it.Time)
	}
	v.earliest, v.latest = slices.MinFunc(times, time.Time.Compare), slices.MaxFunc(times, time.Time.Compare)
	return nil
}
