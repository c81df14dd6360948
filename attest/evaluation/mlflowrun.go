package evaluation

import (
	"bytes"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/internal/strictyaml"
)

// MaxRunFiles is how many metrics a run's directory may have.
const MaxRunFiles = 10000

// ParseMLflowRun reads the directory of a run in MLflow's file store: meta.yaml, and for each metric a file below metrics whose lines are time, value
// and step. As in MLflow, the value of the highest step counts, of these the latest, of these the highest. The error wraps ErrReport.
func ParseMLflowRun(meta []byte, metrics map[string][]byte) (*Report, error) {
	r := &Report{Format: mlflow.name}
	if err := readRunFiles(meta, metrics, r); err != nil {
		return nil, fmt.Errorf("evaluation: %w: %s: %w", ErrReport, mlflow.name, err)
	}
	return r, nil
}

func readRunFiles(meta []byte, metrics map[string][]byte, r *Report) error {
	info, err := runInfo(meta)
	if err != nil {
		return err
	}
	if len(metrics) == 0 {
		return fmt.Errorf("it holds no metrics")
	}
	if len(metrics) > MaxRunFiles {
		return fmt.Errorf("%d metrics, at most %d are read", len(metrics), MaxRunFiles)
	}
	found := &value{kind: '{', at: map[string]*value{}}
	for name := range metrics {
		found.keys = append(found.keys, name)
	}
	slices.Sort(found.keys)
	for _, name := range found.keys {
		text, err := lastValue(metrics[name])
		if err != nil {
			return fmt.Errorf("metrics/%s: %w", name, err)
		}
		found.at[name] = &value{kind: '0', text: text}
	}
	object := func(key string, v *value) *value {
		return &value{kind: '{', keys: []string{key}, at: map[string]*value{key: v}}
	}
	run := object("info", info)
	run.at["data"] = object("metrics", found)
	return readMLflow(run, r)
}

// runInfo reads meta.yaml. Its status is a number of MLflow's RunStatus, of which 3 is FINISHED.
func runInfo(meta []byte) (*value, error) {
	var failed error
	reader := &strictyaml.Reader{What: "run", Fail: func(line, column int, message string) {
		failed = fmt.Errorf("meta.yaml:%d:%d: %s", line, column, message)
	}}
	root := reader.Parse(meta)
	if failed != nil {
		return nil, failed
	}
	info := &value{kind: '{', at: map[string]*value{"status": {kind: '"', text: "unknown"}}}
	for i := 0; root.Kind == strictyaml.MappingNode && i+1 < len(root.Content); i += 2 {
		switch key, n := root.Content[i].Value, root.Content[i+1]; {
		case key == "end_time":
			info.at[key] = &value{kind: '"', text: n.Value}
		case key == "status" && n.Value == "3":
			info.at[key] = &value{kind: '"', text: "FINISHED"}
		case key == "status":
			info.at[key] = &value{kind: '"', text: "number " + n.Value}
		}
	}
	return info, nil
}

// lastValue picks the line that counts.
func lastValue(data []byte) (string, error) {
	var text string
	var best [3]*big.Rat // step, time, value
	for line := range bytes.Lines(data) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		fields := strings.Fields(string(line))
		// A line has a time and a value, and since MLflow 1.0 a step.
		if len(fields) < 2 || len(fields) > 3 {
			return "", fmt.Errorf("a line is not time, value and step: %q", clip(string(line)))
		}
		if len(fields) == 2 {
			fields = append(fields, "0")
		}
		if !wholeNumber.MatchString(fields[0]) || !wholeNumber.MatchString(fields[2]) {
			return "", fmt.Errorf("a line is not time, value and step: %q", clip(string(line)))
		}
		now := [3]*big.Rat{rational(fields[2]), rational(fields[0]), rational(fields[1])}
		if best[0] == nil || slices.CompareFunc(now[:], best[:], (*big.Rat).Cmp) > 0 {
			best, text = now, fields[1]
		}
	}
	if text == "" {
		return "", fmt.Errorf("it is empty")
	}
	return text, nil
}

// rational is a number's value; 0 for what is none, which is refused later, if it counts.
func rational(text string) *big.Rat {
	if decimal, err := Decimal(text); err == nil {
		if r, ok := new(big.Rat).SetString(decimal); ok {
			return r
		}
	}
	return new(big.Rat)
}
