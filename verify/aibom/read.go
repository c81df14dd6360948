package aibom

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/internal/escape"
	"github.com/mlseal/mlseal/policies"
)

// Roles of provenance that a document has a place for.
const (
	roleBase    = "baseModel"
	roleAdapter = "adapter"
	roleDataset = "dataset"
)

// sheet is what a dataset statement says, as far as a document has a place for it.
type sheet struct {
	Name, Version, Classification string
	Source                        []struct {
		URI         string
		Digest      map[string]string
		RetrievedOn string
	}
	Records   struct{ Count json.Number }
	Splits    []struct{ Name string }
	License   review
	Sensitive struct{ PII, Method string }
	Filters   []struct{ Name, Version string }
}

// review is what is said about licences.
type review struct{ Declared, Concluded string }

// evaluation is what an evaluation says, as far as a document has a place for it.
type evaluation struct {
	Results []struct{ Metric, Dataset, Value string }
}

// provenance is what SLSA provenance says beside its dependencies.
type provenance struct {
	BuildDefinition struct {
		ExternalParameters struct{ Hyperparameters json.RawMessage }
	}
	RunDetails struct {
		Metadata struct{ FinishedOn string }
	}
}

// reading makes things of accounts.
type reading struct {
	*Document
	thingOf map[int]int // thing by account
	cited   map[string]bool
	latest  time.Time
}

// read goes from the artifact to what it was made from, by statements that are used alone.
func (r *reading) read() {
	first := &thing{name: r.artifact.Name, dataset: r.artifact.Dataset, digests: r.artifact.Digests}
	r.things = []*thing{first}
	if len(r.options.Accounts) == 0 {
		return
	}
	r.thingOf[0] = 0
	queue := []int{0}
	for len(queue) > 0 {
		account := queue[0]
		queue = queue[1:]
		queue = append(queue, r.account(account)...)
	}
}

// account reads the statements about a thing, and returns the accounts that were not seen before.
func (r *reading) account(n int) (found []int) {
	account, t := r.options.Accounts[n], r.things[r.thingOf[n]]
	uses := map[string][]policies.Use{}
	for _, u := range account.Uses {
		uses[u.Statement] = append(uses[u.Statement], u)
	}
	statements := slices.Clone(account.Statements)
	slices.SortStableFunc(statements, byContents)
	for _, e := range statements {
		if !r.statement(t, e) {
			continue
		}
		for _, u := range uses[e.ID] {
			if to := r.use(t, u); to > 0 {
				found = append(found, to)
			}
		}
	}
	return found
}

// byContents orders statements by what they say, so that the document's order stays the same when one is signed anew.
func byContents(a, b policies.Evidence) int {
	one, _ := json.Marshal(a.Statement) // decoded JSON, which can be encoded
	other, _ := json.Marshal(b.Statement)
	return cmp.Or(strings.Compare(a.PredicateType, b.PredicateType), bytes.Compare(one, other), strings.Compare(a.ID, b.ID))
}

// statement takes what a statement says about the thing, and reports whether it can be used.
func (r *reading) statement(t *thing, e policies.Evidence) bool {
	predicate, err := json.Marshal(e.Statement["predicate"])
	if err == nil {
		err = attest.CheckPredicate(e.PredicateType, predicate)
	}
	if err == nil {
		switch e.PredicateType {
		case attest.DatasetPredicateType:
			err = r.sheet(t, predicate)
		case attest.EvaluationPredicateType:
			err = r.evaluation(t, predicate)
		case attest.LicenseReviewPredicateType:
			err = r.review(t, predicate)
		case attest.ProvenancePredicateType:
			err = r.provenance(t, predicate)
		default:
			return false // there is no place for what it says
		}
	}
	if err != nil {
		r.Notes = append(r.Notes, escape.Line(fmt.Sprintf("not used: statement %s by %s: %v", e.ID, strings.Join(e.SignedBy, ", "), err)))
		return false
	}
	if !r.cited[e.ID] {
		r.cited[e.ID] = true
		r.Statements = append(r.Statements, e.ID+" "+e.PredicateType+" by "+strings.Join(e.SignedBy, ", "))
	}
	if e.Time.After(r.latest) {
		r.latest = e.Time
	}
	return true
}

func (r *reading) sheet(t *thing, predicate []byte) error {
	var s sheet
	if err := json.Unmarshal(predicate, &s); err != nil {
		return err
	}
	t.dataset = true
	if t.data == nil {
		t.data = &s
		t.name = s.Name
	}
	t.license(s.License)
	return nil
}

func (r *reading) review(t *thing, predicate []byte) error {
	var l review
	if err := json.Unmarshal(predicate, &l); err != nil {
		return err
	}
	t.license(l)
	return nil
}

func (r *reading) evaluation(t *thing, predicate []byte) error {
	var e evaluation
	if err := json.Unmarshal(predicate, &e); err != nil {
		return err
	}
	for _, result := range e.Results {
		t.metrics = add(t.metrics, metric{result.Metric, result.Dataset, result.Value})
	}
	return nil
}

func (r *reading) provenance(t *thing, predicate []byte) error {
	var p provenance
	if err := json.Unmarshal(predicate, &p); err != nil {
		return err
	}
	// Other build types than a fine-tune may have anything there.
	values := map[string]json.RawMessage{}
	_ = json.Unmarshal(p.BuildDefinition.ExternalParameters.Hyperparameters, &values)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		value := string(values[name])
		var text string
		if json.Unmarshal(values[name], &text) == nil {
			value = text
		}
		if len(name) <= maxText && len(value) <= maxText && value != "null" {
			t.hyperparameters = add(t.hyperparameters, pair{name, value})
		}
	}
	if at, err := time.Parse(time.RFC3339, p.RunDetails.Metadata.FinishedOn); err == nil && at.After(t.built) {
		t.built = at
	}
	return nil
}

// maxText is the length of the longest text that the schemas of statements allow; it holds for what they leave open too.
const maxText = 4096

// use links what a statement names, and returns its account when it is new.
func (r *reading) use(t *thing, u policies.Use) (account int) {
	measured := u.Type == attest.EvaluationPredicateType
	if !measured && !slices.Contains([]string{roleBase, roleAdapter, roleDataset}, u.Role) || u.To == 0 {
		return 0 // there is no place for it, or it is the artifact itself
	}
	to, isNew := r.reach(u)
	if to < 0 || r.things[to] == t {
		return 0
	}
	other := r.things[to]
	other.dataset = other.dataset || measured || u.Role == roleDataset
	other.describe(u.Entry, measured)
	switch {
	case measured:
		t.testedOn = add(t.testedOn, to)
	case u.Role == roleDataset && !t.dataset:
		t.trainedOn = add(t.trainedOn, to)
	default:
		t.madeFrom = add(t.madeFrom, to)
	}
	if isNew {
		return u.To
	}
	return 0
}

// reach finds or makes the thing that is used.
func (r *reading) reach(u policies.Use) (to int, isNew bool) {
	if to, known := r.thingOf[u.To]; known && u.To > 0 {
		return to, false
	}
	if len(r.things) > MaxThings {
		if note := fmt.Sprintf("left out: all but the nearest %d base models and datasets", MaxThings); !slices.Contains(r.Notes, note) {
			r.Notes = append(r.Notes, note)
		}
		return -1, false
	}
	other := &thing{}
	to = len(r.things)
	r.things = append(r.things, other)
	if u.To < 0 {
		return to, false // nothing that a policy accepts says what it is
	}
	other.digests = r.options.Accounts[u.To].Digests
	r.thingOf[u.To] = to
	return to, true
}

// describe takes what a ResourceDescriptor says. The name in provenance is a role, and none of the thing.
func (t *thing) describe(entry map[string]any, measured bool) {
	if uri, _ := entry["uri"].(string); t.uri == "" {
		t.uri = uri
	}
	if name, _ := entry["name"].(string); t.name == "" && measured {
		t.name = name
	}
}

// add appends what is not there yet.
func add[T comparable](list []T, v T) []T {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}
