package evaluation

import "strings"

// lmEval is the results_*.json of lm-evaluation-harness: `results` has an object for each task, whose metrics are keys
// METRIC,FILTER with a METRIC_stderr,FILTER beside them; higher_is_better says of each metric what its task says.
var lmEval = format{
	name: "lm-eval",
	is: func(v *value) bool {
		return v.get("results").is('{') && v.get("versions").is('{') && v.get("config").is('{') && (v.get("n-shot").is('{') || v.get("n-samples").is('{') || v.get("higher_is_better").is('{'))
	},
	read: readLMEval,
}

func readLMEval(v *value, r *Report) error {
	r.Harness = Named{"lm-evaluation-harness", v.get("lm_eval_version").str()}
	r.Seed = integer(v.get("config", "random_seed"))
	tasks := v.get("results")
	for _, task := range tasks.keys {
		for _, key := range tasks.at[task].keys {
			readLMEvalMetric(v, r, task, key)
		}
	}
	if limit := v.get("config", "limit"); limit.is('0') {
		r.note("the harness was run with limit %s: it did not use the whole dataset", clip(limit.text))
	}
	if len(tasks.keys) == 1 {
		task := tasks.keys[0]
		r.Suite = Named{task, v.get("versions", task).scalar()}
		r.SampleSize = count(v.get("n-samples", task, "effective"))
	}
	return nil
}

func readLMEvalMetric(v *value, r *Report, task, key string) {
	metric, filter, ok := strings.Cut(key, ",")
	if !ok || strings.HasSuffix(metric, "_stderr") {
		return // the task's alias, the number of its samples, what belongs to another key
	}
	m := Metric{Name: metric, Dataset: task, Key: key}
	if filter != "none" {
		m.Name = key // two filters of one metric are two results
	}
	if higher := v.get("higher_is_better", task, metric); higher.is('b') {
		m.Higher = pointer(higher.yes)
	} else {
		m.Higher = direction(metric)
	}
	m.Stderr, _ = decimalOf(v.get("results", task, metric+"_stderr,"+filter)) // N/A for metrics that have none
	r.add(m, v.get("results", task, key))
}
