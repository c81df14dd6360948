// Package evaluation makes evaluation predicates of the result files that evaluation tools write: lm-evaluation-harness, HELM, Inspect,
// MLflow, the Trainer of Hugging Face transformers and scikit-learn.
//
// Parse reads a file as far as the formats go; what it does not say is asked of whoever signs (Options), and never made up. A measured value
// keeps its exact decimal text: `0.10` stays `0.10`, and `1e-3` is written `0.001`, since the schema has no exponents. What is no finite number
// is no result, and a note says so. The package reads no files and knows no clock.
package evaluation

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/lazyregexp"
)

// Errors that callers branch on.
var (
	// ErrReport says that a result file cannot be read, or holds an evaluation that did not finish.
	ErrReport = errors.New("not a usable result file")
	// ErrAsked says that what was asked of a file does not fit it: a metric that it has not, or something that it leaves open.
	ErrAsked = errors.New("the result file cannot answer this")
)

// Named is something with a version.
type Named struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
}

// Report is what a result file says.
type Report struct {
	Format     string // one of Formats
	MediaType  string // of the file
	Harness    Named
	Suite      Named
	SampleSize string // an integer; empty when the file does not say
	Seed       string // an integer; empty when the file does not say
	FinishedOn string // RFC 3339; empty when the file does not say
	Metrics    []Metric
	Notes      []string // what was left out, and why
}

// Metric is one measured value.
type Metric struct {
	Name    string
	Dataset string // the task, split or fold; empty when the file names none
	Key     string // what the file calls it, where Name is shorter
	Value   string // a decimal
	Stderr  string // a decimal, or empty
	Higher  *bool  // whether a higher value is better; nil when neither the file nor the name tells
	Unknown string // why there is no Value
}

// format is a kind of result file.
type format struct {
	name string
	is   func(*value) bool
	read func(*value, *Report) error
}

// formats are looked at in this order; their structures exclude each other.
var formats = []format{lmEval, inspectLog, helm, mlflow, trainer, sklearn}

// Formats lists the names of the formats.
func Formats() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

// Parse reads a result file in the format of that name, or in the one whose structure it has when name is empty. The error wraps ErrReport.
func Parse(data []byte, name string) (*Report, error) {
	r, err := parse(data, name)
	if err != nil {
		return nil, fmt.Errorf("evaluation: %w: %w", ErrReport, err)
	}
	return r, nil
}

func parse(data []byte, name string) (*Report, error) {
	mediaType := "application/json"
	if isZip(data) {
		var err error
		if data, err = evalHeader(data); err != nil {
			return nil, err
		}
		mediaType = "application/zip"
	}
	root, err := decode(data)
	if err != nil {
		return nil, err
	}
	f, err := find(root, name)
	if err != nil {
		return nil, err
	}
	r := &Report{Format: f.name, MediaType: mediaType}
	if err := f.read(root, r); err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
	}
	if len(r.Metrics) == 0 {
		return nil, fmt.Errorf("%s: it holds no metrics", f.name)
	}
	return r, nil
}

// find picks the format. One that was named is held to its structure too.
func find(root *value, name string) (*format, error) {
	for i, f := range formats {
		if (name == "" || name == f.name) && f.is(root) {
			return &formats[i], nil
		}
	}
	if name != "" {
		return nil, fmt.Errorf("it has not the structure of a result file of %s", name)
	}
	return nil, fmt.Errorf("its structure is that of none of %s", strings.Join(Formats(), ", "))
}

// add takes a value of the file as a metric.
func (r *Report) add(m Metric, v *value) {
	var err error
	if m.Value, err = decimalOf(v); err != nil {
		m.Unknown = err.Error()
	}
	if m.Higher == nil {
		m.Higher = direction(m.Name)
	}
	r.Metrics = append(r.Metrics, m)
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// wholeNumber is an integer as the schema has it.
var wholeNumber = lazyregexp.New(`^(-?[1-9][0-9]{0,17}|0)$`)

// integer is the text of an integer that may be written as a float (20.0) or a string; empty for anything else.
func integer(v *value) string {
	text := strings.TrimSuffix(v.scalar(), ".0")
	if !wholeNumber.MatchString(text) {
		return ""
	}
	return text
}

// count is the text of an integer from one up.
func count(v *value) string {
	if text := integer(v); text != "0" && !strings.HasPrefix(text, "-") {
		return text
	}
	return ""
}

// instant is a time that is written as RFC 3339 with its zone; empty for anything else.
func instant(v *value) string {
	t, err := time.Parse(time.RFC3339, v.str())
	if err != nil {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}

func pointer(b bool) *bool { return &b }

// Names that tell in which direction a metric is better, wherever they come from. What is not here is asked of the user.
var (
	higherNames = strings.Fields(`acc acc_norm accuracy accuracy_score balanced_accuracy exact_match em quasi_exact_match prefix_exact_match
		f1 f1_score f1-score precision precision_score recall recall_score auc roc_auc average_precision bleu chrf rouge1 rouge2 rougel rougelsum
		rouge_1 rouge_2 rouge_l r2 r2_score mcc matthews_correlation pearson pearsonr spearman spearmanr pass@1 pass@10 pass@100 ndcg map mrr`)
	lowerNames = strings.Fields(`loss log_loss perplexity word_perplexity byte_perplexity bits_per_byte bpb wer cer ter mae mse rmse mape
		mean_absolute_error mean_squared_error root_mean_squared_error max_error brier_score brier_score_loss ece error_rate`)
)

// direction tells whether a higher value of the metric is better; nil when its name does not.
func direction(name string) *bool {
	name = strings.ToLower(name[strings.LastIndexAny(name, "/ ")+1:])
	for _, known := range higherNames {
		if name == known {
			return pointer(true)
		}
	}
	for _, known := range lowerNames {
		if name == known {
			return pointer(false)
		}
	}
	return nil
}
