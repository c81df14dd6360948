package evaluation

import (
	"slices"
	"strconv"
	"strings"
)

// sklearn is what scikit-learn computes, written with json.dump: classification_report(output_dict=True), cross_validate (a list a fold for
// each test_SCORER) and cv_results_ of a search, of which the candidate of rank 1 counts. A scorer is higher for the better, by convention.
var sklearn = format{
	name: "sklearn",
	is: func(v *value) bool {
		return v.get("weighted avg").is('{') || v.get("params").is('[') && cvKey(v, "rank_test_") || v.get("fit_time").is('[') && cvKey(v, "test_")
	},
	read: readSklearn,
}

func cvKey(v *value, prefix string) bool {
	return slices.ContainsFunc(v.keys, func(key string) bool { return strings.HasPrefix(key, prefix) && v.at[key].is('[') })
}

func readSklearn(v *value, r *Report) error {
	r.Harness = Named{Name: "scikit-learn"}
	switch {
	case v.get("weighted avg").is('{'):
		readClassification(v, r)
	case v.get("params").is('['):
		readSearch(v, r)
	default:
		readFolds(v, r)
	}
	return nil
}

func readClassification(v *value, r *Report) {
	for _, class := range v.keys {
		row := v.at[class]
		if !row.is('{') {
			r.add(Metric{Name: class}, row) // accuracy
			continue
		}
		for _, metric := range row.keys {
			if metric != "support" {
				r.add(Metric{Name: class + " " + metric}, row.at[metric])
			}
		}
	}
	// In a report about some of the labels, the support is that of those labels.
	if v.get("accuracy") != nil {
		r.SampleSize = count(v.get("weighted avg", "support"))
	}
}

func readFolds(v *value, r *Report) {
	for _, key := range v.keys {
		scorer, ok := strings.CutPrefix(key, "test_")
		if !ok {
			continue // times, and scores on the training data
		}
		for i, score := range v.at[key].list {
			r.add(Metric{Name: scorer, Dataset: "fold " + strconv.Itoa(i+1), Key: key, Higher: pointer(true)}, score)
		}
	}
}

func readSearch(v *value, r *Report) {
	for _, key := range v.keys {
		scorer, ok := strings.CutPrefix(key, "rank_test_")
		if !ok {
			continue
		}
		means := v.get("mean_test_" + scorer)
		best := slices.IndexFunc(v.at[key].list, func(rank *value) bool { return rank.number() == "1" })
		if best < 0 || !means.is('[') || best >= len(means.list) {
			continue
		}
		r.add(Metric{Name: scorer, Dataset: "cross-validation", Key: "mean_test_" + scorer, Higher: pointer(true)}, means.list[best])
		r.note("%s is that of candidate %d of %d, which ranks first by it", scorer, best+1, len(means.list))
	}
}
