package main

import "fmt"

// bar is something that mlseal is meant to reach.
type bar struct {
	what, want string
	value      string
	met        bool
}

// A peer that takes want times as long as mlseal, at least.
func times(what string, ratio, want float64) bar {
	return bar{what, fmt.Sprintf("at least %.1fx", want), fmt.Sprintf("%.2fx", ratio), ratio >= want}
}

// bars compares what was measured in a way with what is meant to be reached. What was not measured is left out.
func (r *results) bars(sha string) []bar {
	many, one := r.workload("files16"), r.workload("file1")
	var list []bar
	add := func(b bar, known bool) {
		if known {
			list = append(list, b)
		}
	}
	ratio := func(w *workload, what, peer, own string, want float64) {
		p, o := w.find(peer, sha), w.find(own, sha)
		if p != nil && o != nil {
			add(times(what, p.Runs.wall()/o.Runs.wall(), want), true)
		}
	}
	if sha == hidden || !r.SHAInstructions { // with them, lanes are not the faster way by so much, or at all
		ratio(many, "hash of 16 files, to Go's crypto/sha256 on all cores", "mlseal hash, Go's crypto/sha256", "mlseal hash", 2)
		add(r.ofLimit(many, sha))
	}
	for i := range r.Workloads {
		w := &r.Workloads[i]
		ratio(w, "sign, to model_signing: "+w.Title, "model_signing sign", "mlseal sign", 2.5)
		ratio(w, "verify, to model_signing: "+w.Title, "model_signing verify", "mlseal verify", 2.5)
	}
	ratio(one, "sign --shards, to model_signing: one file", "model_signing sign", "mlseal sign --shards", 2.5)
	ratio(one, "verify of shards, to model_signing: one file", "model_signing verify", "mlseal verify, shards", 2.5)
	add(fastest(one, sha, "hash", "mlseal hash"))
	add(fastest(one, sha, "sign", "mlseal sign"))
	for i := range r.Workloads {
		add(memory(&r.Workloads[i], sha))
	}
	if l := fit(r.sizes(sha)); l.sizes > 2 {
		add(bar{"cost by size: the largest distance from a straight line", "at most 10 %", fmt.Sprintf("%.1f %%", 100*l.off), l.off <= 0.1}, true)
	}
	for _, name := range []string{"mlseal hash, with the cache", "mlseal sign, with the cache"} {
		if small := r.workload("small"); small.find(name, sha) != nil {
			s := small.find(name, sha).Runs.wall()
			add(bar{name + ": " + small.Title, "under 2 s", seconds(s) + " s", s < 2}, true)
		}
	}
	return list
}

// ofLimit compares the hash of 16 files, which fill the lanes of one core, with what one core's lanes hash of data in its own cache.
func (r *results) ofLimit(w *workload, sha string) (bar, bool) {
	own := w.find("mlseal hash", sha)
	if own == nil {
		return bar{}, false
	}
	for _, e := range r.Engine {
		for _, name := range []string{"lanes16", "lanes8"} {
			if limit := e.Limits[name]; e.SHA == sha && limit > 0 {
				part := float64(w.Bytes) / 1e6 / own.Runs.wall() / limit
				return bar{fmt.Sprintf("hash of 16 files, to what %s of one core hash without reading (%.2f GB/s)", name, limit/1000), "at least 0.6x", fmt.Sprintf("%.2fx", part), part >= 0.6}, true
			}
		}
	}
	return bar{}, false
}

// fastest compares with the fastest peer of a group.
func fastest(w *workload, sha, group, own string) (bar, bool) {
	o := w.find(own, sha)
	if o == nil {
		return bar{}, false
	}
	var best *row
	for i := range w.Rows {
		r := &w.Rows[i]
		if r.Group == group && r.Kind != ours && r.Kind != floor && r.counts(sha) && (best == nil || r.Runs.wall() < best.Runs.wall()) {
			best = r
		}
	}
	if best == nil {
		return bar{}, false
	}
	return times(fmt.Sprintf("%s of one file, to the fastest peer (%s)", own, best.Name), best.Runs.wall()/o.Runs.wall(), 1), true
}

// memory is the most that a command of mlseal took.
func memory(w *workload, sha string) (bar, bool) {
	var most *row
	for i := range w.Rows {
		r := &w.Rows[i]
		if r.Kind == ours && r.counts(sha) && (most == nil || r.Runs.peakMiB() > most.Runs.peakMiB()) {
			most = r
		}
	}
	if most == nil {
		return bar{}, false
	}
	mb := most.Runs.peakMiB() * (1 << 20) / 1e6
	return bar{fmt.Sprintf("peak memory: %s (%s)", w.Title, most.Name), "under 100 MB", fmt.Sprintf("%.0f MB", mb), mb < 100}, true
}
