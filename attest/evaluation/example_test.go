package evaluation_test

import (
	"fmt"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/evaluation"
)

// A result file of the Trainer says which values, and not by which version of the tool.
func ExampleParse() {
	report, err := evaluation.Parse([]byte(`{"epoch": 1.0, "eval_accuracy": 0.90, "eval_loss": 1e-3}`), "")
	if err != nil {
		fmt.Println(err)
		return
	}
	bar, _ := evaluation.ParseThreshold("accuracy>=0.9")
	made, err := report.Predicate(evaluation.Options{
		Evaluator:  evaluation.Named{Name: "https://example.com/eval-team"},
		Harness:    evaluation.Named{Version: "4.57.1"},
		Dataset:    attest.ResourceDescriptor{Name: "held-out", Digest: attest.DigestSet{"dirHash": strings.Repeat("0", 64)}},
		Metrics:    []string{"loss"},
		Thresholds: []evaluation.Threshold{bar},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, results, _ := strings.Cut(string(made.Predicate), `"results":`)
	fmt.Println(strings.ReplaceAll(results, "},{", "},\n{"))
	// Output:
	// [{"metric":"accuracy","dataset":"eval","value":"0.90","comparator":">=","threshold":"0.9","passed":true,"higherIsBetter":true},
	// {"metric":"loss","dataset":"eval","value":"0.001","passed":false,"higherIsBetter":false}]}
}
