package evaluation

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxHeaderBytes bounds header.json of an .eval file once it is unpacked: it holds no samples.
const maxHeaderBytes = 16 << 20

// maxZipEntries bounds the table of an .eval file: it has two entries a sample.
const maxZipEntries = 1 << 20

// inspectLog is a log of Inspect (inspect_ai), version 2, as JSON or, as .eval, a zip of which header.json has all but the samples.
var inspectLog = format{
	name: "inspect",
	is: func(v *value) bool {
		return v.get("eval", "task").is('"') && v.get("status").is('"') && v.get("version").is('0')
	},
	read: readInspect,
}

func readInspect(v *value, r *Report) error {
	if status := v.get("status").str(); status != "success" {
		return fmt.Errorf("the log's status is %q, not success", clip(status))
	}
	if v.get("invalidated").is('b') && v.get("invalidated").yes {
		return errors.New("the log was invalidated")
	}
	run, results := v.get("eval"), v.get("results")
	r.Harness = Named{"inspect_ai", run.get("packages", "inspect_ai").str()}
	r.Suite = Named{run.get("task").str(), run.get("task_version").scalar()}
	r.SampleSize = count(results.get("completed_samples"))
	if total := count(results.get("total_samples")); r.SampleSize != "" && total != "" && total != r.SampleSize {
		r.note("%s of %s samples were completed", r.SampleSize, total)
	}
	r.Seed = integer(v.get("plan", "config", "seed"))
	r.FinishedOn = instant(v.get("stats", "completed_at"))
	dataset := run.get("dataset", "name").str()
	if dataset == "" {
		dataset = run.get("task").str()
	}
	scores := results.get("scores")
	if scores == nil {
		return nil
	}
	for _, score := range scores.list {
		readInspectScore(r, score, dataset, len(scores.list) > 1)
	}
	return nil
}

// readInspectScore takes the metrics of one score. Its stderr is that of the mean over the samples, which accuracy is too.
func readInspectScore(r *Report, score *value, dataset string, qualify bool) {
	metrics := score.get("metrics")
	if metrics == nil {
		return
	}
	of := ""
	for _, name := range []string{"mean", "accuracy"} {
		if metrics.get(name) != nil {
			of = name
		}
	}
	for _, key := range metrics.keys {
		if key == "stderr" && of != "" {
			continue
		}
		m := Metric{Name: key, Dataset: dataset, Key: score.get("name").str() + "/" + key}
		if qualify {
			m.Name = m.Key
		}
		if key == of {
			m.Stderr, _ = decimalOf(metrics.get("stderr", "value"))
		}
		r.add(m, metrics.get(key, "value"))
	}
}

func isZip(data []byte) bool { return bytes.HasPrefix(data, []byte("PK\x03\x04")) }

// evalHeader takes header.json out of an .eval file. Inspect packs with zstandard, in earlier versions with deflate.
func evalHeader(data []byte) ([]byte, error) {
	if len(data) > MaxReportBytes {
		return nil, fmt.Errorf("%d bytes, at most %d are read", len(data), MaxReportBytes)
	}
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	if len(archive.File) > maxZipEntries {
		return nil, fmt.Errorf("more than %d entries", maxZipEntries)
	}
	archive.RegisterDecompressor(zstd.ZipMethodWinZip, zstd.ZipDecompressor(zstd.WithDecoderMaxMemory(maxHeaderBytes), zstd.WithDecoderConcurrency(1)))
	var header *zip.File
	for _, f := range archive.File {
		if f.Name != "header.json" {
			continue
		}
		if header != nil {
			return nil, errors.New("two entries header.json")
		}
		header = f
	}
	if header == nil {
		return nil, errors.New("a zip without header.json: neither an .eval log, nor one of an evaluation that finished")
	}
	f, err := header.Open()
	if err != nil {
		return nil, fmt.Errorf("header.json: %w", err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxHeaderBytes+1))
	if err != nil {
		return nil, fmt.Errorf("header.json: %w", err)
	}
	if len(text) > maxHeaderBytes {
		return nil, fmt.Errorf("header.json: more than %d bytes", maxHeaderBytes)
	}
	return text, nil
}
