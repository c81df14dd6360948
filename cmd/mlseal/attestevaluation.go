package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/attest/evaluation"
	"github.com/mlseal/mlseal/manifest"
	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
)

// evaluationFlags say what a result file does not.
type evaluationFlags struct {
	madeStatement
	results, format                                string
	evaluator, harness, harnessDigest, suite       string
	dataset                                        string
	seed, samples, finishedOn                      string
	metrics, thresholds, higherBetter, lowerBetter []string
}

func (a *app) attestEvaluationCommand() *cobra.Command {
	var f evaluationFlags
	cmd := &cobra.Command{
		Use:   "evaluation PATH|REF --results FILE --dataset PATH|REF --evaluator ID (--key KEY | --keyless)",
		Short: "Attest what an evaluation tool measured, from its result file",
		Long: `Make an evaluation statement about a model from a result file of ` + strings.Join(evaluation.Formats(), ", ") + `, and sign it.

The format is told by the structure of the file; --format insists on one. Every value keeps its exact decimal text. The result file is
named by its digest, the dataset by the digests of the directory, file or package that --dataset names.

--threshold 'accuracy>=0.9' says what a metric must clear, and --metric which others are taken. A result that does not clear its threshold is
signed all the same, with passed: false; so is one without a threshold. A metric is named as in the statement, as in the file, or with its
dataset before it: arc_easy:acc. What a file does not say is asked for by flags and never made up. See docs/evaluation.md.`,
		Example: "  mlseal attest evaluation oci:store:v1 --results results.json --dataset ./held-out --evaluator https://example.com/eval-team \\\n" +
			"    --threshold 'acc>=0.9' --key evaluator.key\n" +
			"  mlseal attest evaluation ./model --results log.eval --dataset ./held-out --evaluator https://example.com/eval-team --print",
		Args: takes("PATH|REF"),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.results, "results", "", "the result file, or the directory of a run in MLflow's file store")
	flags.Var(&choice{&f.format, evaluation.Formats()}, "format", "format of the result file: "+strings.Join(evaluation.Formats(), ", ")+" (default by its structure)")
	flags.StringVar(&f.evaluator, "evaluator", "", "who evaluated: an identifier, best a URI")
	flags.StringVar(&f.dataset, "dataset", "", "what the model was evaluated on: a directory, file or package")
	flags.StringVar(&f.harness, "harness", "", "NAME@VERSION of the tool; @VERSION where the file has the name and no version")
	flags.StringVar(&f.harnessDigest, "harness-digest", "", "sha256:HEX of the tool, such as its image")
	flags.StringVar(&f.suite, "suite", "", "NAME or NAME@VERSION of the suite or task, where the file does not say")
	flags.StringVar(&f.seed, "seed", "", "the seed, where the file does not say")
	flags.StringVar(&f.samples, "sample-size", "", "how many samples were evaluated, where the file does not say")
	flags.StringVar(&f.finishedOn, "finished-on", "", "when the evaluation finished, as in 2026-01-31T12:00:00Z, where the file does not say")
	flags.StringArrayVar(&f.metrics, "metric", nil, "take the metrics of this `PATTERN`, where * stands for any characters (repeatable)")
	flags.StringArrayVar(&f.thresholds, "threshold", nil, "`METRIC>=NUMBER` that a metric must clear; also >, <=, < and == (repeatable)")
	flags.StringArrayVar(&f.higherBetter, "higher-is-better", nil, "`PATTERN` of metrics that are better when higher, where neither file nor name tells (repeatable)")
	flags.StringArrayVar(&f.lowerBetter, "lower-is-better", nil, "`PATTERN` of metrics that are better when lower (repeatable)")
	f.madeStatement.add(cmd)
	for _, name := range []string{"results", "dataset", "evaluator"} {
		_ = cmd.MarkFlagRequired(name)
	}
	cmd.RunE = a.do(func(cmd *cobra.Command, args []string) error {
		if err := f.check(args[0]); err != nil {
			return err
		}
		return a.attestEvaluation(cmd.Context(), args[0], f)
	})
	return cmd
}

func (a *app) attestEvaluation(ctx context.Context, about string, f evaluationFlags) error {
	opts, err := f.options()
	if err != nil {
		return usage(err)
	}
	var report *evaluation.Report
	if report, opts.Report, err = f.report(ctx, a); err != nil {
		return err
	}
	if _, opts.Dataset, err = f.files(ctx, a, f.dataset); err != nil {
		return fmt.Errorf("--dataset: %w", missing(err))
	}
	made, err := report.Predicate(opts)
	if err != nil {
		return asked(fmt.Errorf("results %s (%s): %w", f.results, report.Format, err), evaluation.ErrAsked)
	}
	for _, note := range made.Notes {
		a.note(note)
	}
	for _, failed := range made.Failed {
		a.note("threshold not cleared: " + failed)
	}
	return f.make(ctx, a, about, attest.EvaluationPredicateType, made.Predicate)
}

// report reads the result file, or the directory of a run in MLflow's file store, and names it by its digest.
func (f *evaluationFlags) report(ctx context.Context, a *app) (*evaluation.Report, attest.ResourceDescriptor, error) {
	if info, err := os.Stat(f.results); err == nil && info.IsDir() && (f.format == "" || f.format == "mlflow") {
		return f.runReport(ctx, a)
	}
	data, err := readInput("results", f.results, evaluation.MaxReportBytes)
	if err != nil {
		return nil, attest.ResourceDescriptor{}, err
	}
	report, err := evaluation.Parse(data, f.format)
	if err != nil {
		return nil, attest.ResourceDescriptor{}, fmt.Errorf("results %s: %w", f.results, err)
	}
	return report, descriptor(f.results, report.MediaType, data), nil
}

// runReport reads what the manifest of the run's directory lists: the bytes that are read are those of its dirHash.
func (f *evaluationFlags) runReport(ctx context.Context, a *app) (*evaluation.Report, attest.ResourceDescriptor, error) {
	m, d, err := f.files(ctx, a, f.results)
	if err != nil {
		return nil, d, fmt.Errorf("results: %w", err)
	}
	var meta []byte
	metrics, left := map[string][]byte{}, int64(evaluation.MaxReportBytes)
	for _, file := range m.Files {
		name, isMetric := strings.CutPrefix(file.Path, "metrics/")
		if !isMetric && file.Path != "meta.yaml" {
			continue
		}
		data, err := readInput("results", filepath.Join(f.results, filepath.FromSlash(file.Path)), left)
		if err != nil {
			return nil, d, err
		}
		if digest.FromBytes(data) != file.Digest {
			return nil, d, fmt.Errorf("results %s: %s: %w", f.results, file.Path, manifest.ErrChanged)
		}
		if left -= int64(len(data)); isMetric {
			metrics[name] = data
		} else {
			meta = data
		}
	}
	if meta == nil {
		return nil, d, usage(fmt.Errorf("results %s: a directory without meta.yaml is no run of MLflow's file store; name a result file", f.results))
	}
	report, err := evaluation.ParseMLflowRun(meta, metrics)
	if err != nil {
		return nil, d, fmt.Errorf("results %s: %w", f.results, err)
	}
	return report, d, nil
}

// options reads the flags. Each error is one about the command line.
func (f evaluationFlags) options() (o evaluation.Options, err error) {
	if strings.TrimSpace(f.evaluator) == "" {
		return o, errors.New("attest: --evaluator is empty")
	}
	o = evaluation.Options{
		Evaluator: evaluation.Named{Name: f.evaluator}, Harness: named(f.harness), Suite: named(f.suite), SampleSize: f.samples, Seed: f.seed, FinishedOn: f.finishedOn,
		Metrics: f.metrics, Higher: f.higherBetter, Lower: f.lowerBetter,
	}
	if f.harnessDigest != "" {
		sum, ok := strings.CutPrefix(f.harnessDigest, "sha256:")
		if raw, err := hex.DecodeString(sum); !ok || err != nil || len(raw) != 32 || strings.ToLower(sum) != sum {
			return o, fmt.Errorf("attest: --harness-digest %s: want sha256: and 64 lower-case hexadecimal digits", f.harnessDigest)
		}
		o.HarnessSum = attest.DigestSet{"sha256": sum}
	}
	for flag, text := range map[string]string{"--seed": f.seed, "--sample-size": f.samples} {
		if n, err := strconv.ParseInt(text, 10, 64); text != "" && (err != nil || strconv.FormatInt(n, 10) != text || flag == "--sample-size" && n < 1) {
			return o, fmt.Errorf("attest: %s %s: want a whole number", flag, text)
		}
	}
	if err := checkTime("--finished-on", f.finishedOn); err != nil {
		return o, err
	}
	for _, text := range f.thresholds {
		t, err := evaluation.ParseThreshold(text)
		if err != nil {
			return o, fmt.Errorf("--threshold: %w", err)
		}
		o.Thresholds = append(o.Thresholds, t)
	}
	return o, nil
}

// named takes NAME@VERSION apart.
func named(text string) evaluation.Named {
	at := strings.LastIndex(text, "@")
	if at < 0 {
		return evaluation.Named{Name: text}
	}
	return evaluation.Named{Name: text[:at], Version: text[at+1:]}
}
