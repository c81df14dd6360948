package review

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/policies"
)

// verdicts says whose verdicts stand for missing evidence, an entry a line.
func verdicts(o policies.Outline) []string {
	var out []string
	for _, v := range o.Verdicts {
		out = append(out, fmt.Sprintf("PASSED by %s, signed by %s, of %s, for %s, at most %s old, stands for %s where evidence is missing",
			v.Verifier, either(v.By), cmp.Or(strings.Join(v.Policies, " or "), "this policy"), cmp.Or(strings.Join(v.Resources, " or "), "the artifact's own address"),
			age(v.MaxAge), cmp.Or(strings.Join(v.For, ", "), "every requirement and edge")))
	}
	return out
}
