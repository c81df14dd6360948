package evaluation

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/lazyregexp"
)

// Threshold is a bar that a metric must clear.
type Threshold struct {
	Metric     string // as in Options.Metrics
	Comparator string // >=, >, <=, < or ==
	Value      string // a decimal
}

// thresholdText is a metric, a comparator and a number.
var thresholdText = lazyregexp.New(`^(.*[^<>=\s])\s*(>=|<=|==|>|<)\s*([^<>=\s]+)$`)

// ParseThreshold reads a threshold such as accuracy>=0.9.
func ParseThreshold(text string) (Threshold, error) {
	m := thresholdText.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return Threshold{}, fmt.Errorf("evaluation: %q is no threshold: write METRIC>=NUMBER, or >, <=, <, ==", clip(text))
	}
	number, err := Decimal(m[3])
	if err != nil {
		return Threshold{}, fmt.Errorf("evaluation: threshold %q: %w", clip(text), err)
	}
	return Threshold{m[1], m[2], number}, nil
}

// Options say what a result file does not. Where it does, they must say the same; only Suite is a name that the user may choose.
type Options struct {
	Evaluator  Named            // the name is its identifier
	Harness    Named            // the tool
	HarnessSum attest.DigestSet // digest of the harness
	Suite      Named
	Dataset    resource    // what the model was evaluated on
	Report     resource    // the result file
	SampleSize string      // an integer
	Seed       string      // an integer
	FinishedOn string      // RFC 3339
	Metrics    []string    // patterns (path.Match) of the metrics that are taken; see Predicate
	Thresholds []Threshold // each must fit a metric
	Higher     []string    // patterns of metrics that are better when higher
	Lower      []string    // patterns of metrics that are better when lower
}

type resource = attest.ResourceDescriptor

// Result is a predicate, and what there is to say about it.
type Result struct {
	Predicate json.RawMessage
	Results   int      // how many it holds
	Failed    []string // the thresholds that were not cleared, in words
	Notes     []string
}

// result is an entry of the predicate, in the order of the schema.
type result struct {
	Metric     string `json:"metric"`
	Dataset    string `json:"dataset"`
	Value      string `json:"value"`
	Stderr     string `json:"stderr,omitempty"`
	Comparator string `json:"comparator,omitempty"`
	Threshold  string `json:"threshold,omitempty"`
	Passed     bool   `json:"passed"`
	Higher     bool   `json:"higherIsBetter"`
}

// Predicate makes the predicate. Without Metrics it takes those that a threshold names; without thresholds either, all whose direction is
// known. A metric is named as the predicate has it (acc), as the file has it (acc,none), or with its dataset before a colon (arc:acc). A result
// without a threshold is not `passed`: nobody said what it must clear. The error wraps ErrAsked.
func (r *Report) Predicate(o Options) (*Result, error) {
	out := &Result{Notes: slices.Clone(r.Notes)}
	if err := r.contradicted(o); err != nil {
		return nil, fmt.Errorf("evaluation: %w: %w", ErrAsked, err)
	}
	entries, err := r.results(o, out)
	if err != nil {
		return nil, fmt.Errorf("evaluation: %w: %w", ErrAsked, err)
	}
	type named struct {
		Named
		Digest attest.DigestSet `json:"digest,omitempty"`
	}
	type evaluator struct {
		ID      string `json:"id"`
		Version string `json:"version,omitempty"`
	}
	p := struct {
		Evaluator  evaluator   `json:"evaluator"`
		Harness    named       `json:"harness"`
		Suite      *Named      `json:"suite,omitempty"`
		Dataset    resource    `json:"dataset"`
		Results    []result    `json:"results"`
		SampleSize json.Number `json:"sampleSize,omitempty"`
		Seed       json.Number `json:"seed,omitempty"`
		FinishedOn string      `json:"finishedOn,omitempty"`
		Report     *resource   `json:"report,omitempty"`
	}{
		Evaluator: evaluator{o.Evaluator.Name, o.Evaluator.Version}, Harness: named{over(r.Harness, o.Harness), o.HarnessSum},
		Dataset: o.Dataset, Results: entries, FinishedOn: either(o.FinishedOn, r.FinishedOn),
		SampleSize: json.Number(either(o.SampleSize, r.SampleSize)), Seed: json.Number(either(o.Seed, r.Seed)),
	}
	if p.Harness.Version == "" {
		return nil, fmt.Errorf("evaluation: %w: the file does not say which version of %s wrote it", ErrAsked, p.Harness.Name)
	}
	if suite := over(r.Suite, o.Suite); suite.Name != "" {
		p.Suite = &suite
	}
	if len(o.Report.Digest) > 0 {
		p.Report = &o.Report
	}
	out.Results = len(entries)
	if out.Predicate, err = attest.NewPredicate(attest.EvaluationPredicateType, p); err != nil {
		return nil, err
	}
	return out, nil
}

// contradicted refuses options that say something else than the file. The name of a tool that gave no version, as of a tracker, may be said anew.
func (r *Report) contradicted(o Options) error {
	for _, c := range []struct{ what, said, found string }{
		{"the tool's version", o.Harness.Version, r.Harness.Version}, {"the seed", o.Seed, r.Seed}, {"the sample size", o.SampleSize, r.SampleSize},
		{"the time at which it finished", o.FinishedOn, r.FinishedOn},
	} {
		if c.said != "" && c.found != "" && c.said != c.found {
			return fmt.Errorf("%s is %s in the file, not %s", c.what, c.found, c.said)
		}
	}
	if r.Harness.Version != "" && o.Harness.Name != "" && o.Harness.Name != r.Harness.Name {
		return fmt.Errorf("the tool is %s in the file, not %s", r.Harness.Name, o.Harness.Name)
	}
	return nil
}

func either(said, found string) string {
	if said != "" {
		return said
	}
	return found
}

func over(found, said Named) Named {
	if said.Name != "" && said.Name != found.Name {
		found.Version = "" // of another
	}
	return Named{either(said.Name, found.Name), either(said.Version, found.Version)}
}

// results picks the metrics and holds them to the thresholds.
func (r *Report) results(o Options, out *Result) ([]result, error) {
	if err := r.mustMatch(o); err != nil {
		return nil, err
	}
	var entries []result
	var skipped, undirected []string
	for i := range r.Metrics {
		m := &r.Metrics[i]
		bars := barsOf(m, o.Thresholds)
		if len(bars) > 1 {
			return nil, fmt.Errorf("two thresholds are for %s: a result has one", m.label())
		}
		asked := len(bars) > 0 || m.fits(o.Metrics)
		if !asked && len(o.Metrics)+len(o.Thresholds) > 0 {
			skipped = append(skipped, m.label())
			continue
		}
		switch higher, err := m.higher(o, bars); {
		case m.Unknown != "" && asked:
			return nil, fmt.Errorf("%s: %s", m.label(), m.Unknown)
		case m.Unknown != "":
			out.note("%s is left out: %s", m.label(), m.Unknown)
		case err != nil && (asked || higher != nil):
			return nil, err
		case err != nil:
			undirected = append(undirected, m.label())
		default:
			entry, err := m.result(*higher, o.Dataset.Name, bars, out)
			if err != nil {
				return nil, err
			}
			entries = append(entries, entry)
		}
	}
	if len(undirected) > 0 {
		out.note("left out, since neither the file nor the name tells whether higher or lower is better: %s", enumerate(undirected))
	}
	if len(skipped) > 0 {
		out.note("not asked for, and left out: %s", enumerate(skipped))
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("no metric is left of %s", enumerate(r.labels()))
	}
	if len(o.Thresholds) == 0 {
		out.note("no thresholds: no result says that it passed")
	}
	return entries, nil
}

func (out *Result) note(format string, args ...any) {
	out.Notes = append(out.Notes, fmt.Sprintf(format, args...))
}

// mustMatch refuses a pattern that fits no metric: it is a slip, and what it was to ask would not be asked.
func (r *Report) mustMatch(o Options) error {
	for _, set := range [][]string{o.Metrics, o.Higher, o.Lower} {
		for _, pattern := range set {
			if _, err := path.Match(pattern, ""); err != nil {
				return fmt.Errorf("%q is no pattern: %w", pattern, err)
			}
			if !slices.ContainsFunc(r.Metrics, func(m Metric) bool { return m.fits([]string{pattern}) }) {
				return fmt.Errorf("no metric fits %s; there are %s", pattern, enumerate(r.labels()))
			}
		}
	}
	for _, t := range o.Thresholds {
		if !slices.ContainsFunc(r.Metrics, func(m Metric) bool { return m.called(t.Metric) }) {
			return fmt.Errorf("no metric is called %s; there are %s", t.Metric, enumerate(r.labels()))
		}
	}
	return nil
}

// names are what a metric may be called.
func (m *Metric) names() []string {
	names := []string{m.Name, m.Dataset + ":" + m.Name}
	if m.Key != "" {
		names = append(names, m.Key, m.Dataset+":"+m.Key)
	}
	return names
}

func (m *Metric) called(name string) bool { return slices.Contains(m.names(), name) }

func (m *Metric) fits(patterns []string) bool {
	for _, pattern := range patterns {
		for _, name := range m.names() {
			// An asterisk takes slashes too: they are a part of names here.
			ok, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(name, "/", "\x00"))
			if m.called(pattern) || err == nil && ok {
				return true
			}
		}
	}
	return false
}

func (m *Metric) label() string {
	if m.Dataset == "" {
		return m.Name
	}
	return m.Dataset + ":" + m.Name
}

func (r *Report) labels() []string {
	var all []string
	for i := range r.Metrics {
		all = append(all, r.Metrics[i].label())
	}
	return all
}

// maxListed is how many names a message lists.
const maxListed = 40

func enumerate(names []string) string {
	if len(names) > maxListed {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
	}
	return strings.Join(names, ", ")
}

func barsOf(m *Metric, all []Threshold) (bars []Threshold) {
	for _, t := range all {
		if m.called(t.Metric) {
			bars = append(bars, t)
		}
	}
	return bars
}

// higher is whether a higher value is better: what the user says, what the file says or the name tells, what the comparator implies.
// A threshold that asks for the opposite of what the file says is a slip, which a policy would not notice.
func (m *Metric) higher(o Options, bars []Threshold) (*bool, error) {
	up, down := m.fits(o.Higher), m.fits(o.Lower)
	known := m.Higher
	switch {
	case up && down:
		return &up, fmt.Errorf("%s is said to be better when higher, and when lower", m.label())
	case up || down:
		known = &up
	}
	for _, bar := range bars {
		implied := strings.HasPrefix(bar.Comparator, ">")
		if bar.Comparator == "==" {
			continue
		}
		if known != nil && *known != implied {
			return known, fmt.Errorf("the threshold %s%s%s is the wrong way round: the metric is better when %s", bar.Metric, bar.Comparator, bar.Value, word(*known))
		}
		known = &implied
	}
	if known == nil {
		return nil, fmt.Errorf("whether %s is better when higher or lower, neither the file nor its name tells", m.label())
	}
	return known, nil
}

func word(higher bool) string {
	if higher {
		return "higher"
	}
	return "lower"
}

func (m *Metric) result(higher bool, dataset string, bars []Threshold, out *Result) (result, error) {
	entry := result{Metric: m.Name, Dataset: either(m.Dataset, dataset), Value: m.Value, Stderr: m.Stderr, Higher: higher}
	for _, bar := range bars {
		var err error
		entry.Comparator, entry.Threshold = bar.Comparator, bar.Value
		if entry.Passed, err = attest.Clears(m.Value, bar.Comparator, bar.Value); err != nil {
			return entry, err
		}
		if !entry.Passed {
			out.Failed = append(out.Failed, fmt.Sprintf("%s is %s, and not %s %s", m.label(), m.Value, bar.Comparator, bar.Value))
		}
	}
	return entry, nil
}
