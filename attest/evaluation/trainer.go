package evaluation

import (
	"errors"
	"slices"
	"strings"
)

// trainer is what the Trainer of Hugging Face transformers writes: eval_results.json and all_results.json, flat objects whose keys begin with
// the split, and trainer_state.json, whose log_history has such objects; of these the last that has an eval_loss, or another eval_ metric, counts.
var trainer = format{
	name: "trainer",
	is: func(v *value) bool {
		if v.get("log_history").is('[') && v.get("global_step").is('0') {
			return true
		}
		return v.is('{') && slices.ContainsFunc(v.keys, func(key string) bool {
			_, ok := strings.CutSuffix(key, "_runtime")
			split, name := trainerKey(key)
			return (ok || name == "loss") && split != "" && v.at[key].scalar() != "" // a loss may be NaN
		})
	},
	read: readTrainer,
}

// trainerNoise are keys that measure the machine, not the model.
var trainerNoise = []string{"runtime", "samples_per_second", "steps_per_second", "jit_compilation_time", "model_preparation_time", "samples"}

// trainerKey takes the split off a key.
func trainerKey(key string) (split, metric string) {
	for _, split := range []string{"eval", "test", "predict", "train"} {
		if metric, ok := strings.CutPrefix(key, split+"_"); ok && metric != "" {
			return split, metric
		}
	}
	return "", key
}

func readTrainer(v *value, r *Report) error {
	r.Harness = Named{Name: "transformers.Trainer"}
	if history := v.get("log_history"); history != nil {
		last := -1
		for i, entry := range history.list {
			if slices.ContainsFunc(entry.keys, func(key string) bool { return strings.HasPrefix(key, "eval_") }) {
				last = i
			}
		}
		if last < 0 {
			return errors.New("the log has no evaluation")
		}
		v = history.list[last]
		r.note("of the log, the last evaluation counts, at step %s", clip(v.get("step").scalar()))
	}
	for _, key := range v.keys {
		split, metric := trainerKey(key)
		if split == "" || slices.Contains(trainerNoise, metric) {
			continue
		}
		r.add(Metric{Name: metric, Dataset: split, Key: key}, v.at[key])
	}
	r.SampleSize = count(v.get("eval_samples"))
	return nil
}
