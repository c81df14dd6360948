package evaluation

import (
	"fmt"
	"strconv"
	"time"
)

// mlflow is one run, as `mlflow runs describe` prints it ({info, data}) or as the REST API answers ({run: {info, data}}). The metrics of the first
// are an object; those of the second are a list of key and value.
var mlflow = format{
	name: "mlflow",
	is: func(v *value) bool {
		return mlflowRun(v).get("info", "run_id").is('"') && mlflowRun(v).get("data").is('{')
	},
	read: readMLflow,
}

func mlflowRun(v *value) *value {
	if run := v.get("run"); run != nil {
		return run
	}
	return v
}

func readMLflow(v *value, r *Report) error {
	run := mlflowRun(v)
	if status := run.get("info", "status").str(); status != "FINISHED" {
		return fmt.Errorf("the run's status is %q, not FINISHED", clip(status))
	}
	r.Harness = Named{Name: "mlflow"}
	if n, err := strconv.ParseInt(run.get("info", "end_time").scalar(), 10, 64); err == nil && n > 0 && n < 1<<47 {
		r.FinishedOn = time.UnixMilli(n).UTC().Format(time.RFC3339Nano)
	}
	metrics := run.get("data", "metrics")
	if metrics == nil {
		return nil
	}
	for _, key := range metrics.keys {
		r.add(Metric{Name: key}, metrics.at[key])
	}
	for _, m := range metrics.list {
		if key := m.get("key").str(); key != "" {
			r.add(Metric{Name: key}, m.get("value"))
		}
	}
	return nil
}
