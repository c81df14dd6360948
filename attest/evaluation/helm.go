package evaluation

// helm is the stats.json of a HELM run: a list of statistics, each with its name and the mean of what it saw. Statistics of perturbed
// instances and of subsplits are results of their own.
var helm = format{
	name: "helm",
	is: func(v *value) bool {
		return v.is('[') && len(v.list) > 0 && v.list[0].get("name", "name").is('"') && v.list[0].get("count") != nil
	},
	read: readHELM,
}

func readHELM(v *value, r *Report) error {
	r.Harness = Named{Name: "helm"}
	for _, stat := range v.list {
		name := stat.get("name")
		m := Metric{Name: name.get("name").str(), Dataset: name.get("split").str()}
		if m.Name == "" {
			continue
		}
		m.Higher = direction(m.Name)
		for _, part := range []string{name.get("sub_split").str(), name.get("perturbation", "name").str()} {
			if part != "" {
				m.Dataset += "/" + part
			}
		}
		if stat.get("mean") == nil {
			continue // a statistic that saw nothing
		}
		r.add(m, stat.get("mean"))
	}
	return nil
}
