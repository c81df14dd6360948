package verify

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mlseal/mlseal/attest"
	"github.com/mlseal/mlseal/policies"
)

// MaxDescentEdges bounds the dependencies that a Descent remembers.
const MaxDescentEdges = 1_000_000

// descentEdges is MaxDescentEdges but for the test, which need not make as many.
var descentEdges = MaxDescentEdges

// Descent knows which artifacts of some stores descend from what. The zero Descent knows nothing, and verifies no signature.
type Descent struct {
	// Trusted reports whether what was found was signed by somebody who is trusted to say what things are made from. With nil
	// nobody is.
	Trusted func(Found) bool

	stored map[string]*Descendant // by the digest that names it in its store
	names  map[string][]string    // all digests of what has this one
	uses   map[string][]*use      // by the digest that is used
	read   map[string]bool
	edges  int
	unread []string
	sorted bool
}

// Descendant is an artifact of a store that descends from something.
type Descendant struct {
	Names   []string          `json:"names"` // where it is
	Digests map[string]string `json:"digests"`
	Path    []DescentStep     `json:"path"` // a shortest way, from the artifact back
}

// DescentStep says that something was made from something, in a role, by the word of a statement.
type DescentStep struct {
	Role      string `json:"role"`
	From      string `json:"from"` // a digest of what was used
	Statement string `json:"statement"`
}

// use is a dependency that a statement names.
type use struct {
	role, digest, statement string
	trusted                 bool
	made                    *[]string // the digests of what was made
}

// Add takes note of an artifact and of what was found with it. It fails with ErrLimit.
func (d *Descent) Add(name string, digests map[string]string, found []Found) error {
	if d.stored == nil {
		d.stored, d.names, d.uses, d.read = map[string]*Descendant{}, map[string][]string{}, map[string][]*use{}, map[string]bool{}
	}
	d.sorted = false
	own := spelled(digests)
	key := strings.Join(own, " ")
	if d.stored[key] == nil {
		d.stored[key] = &Descendant{Digests: digests}
		for _, digest := range own {
			d.names[digest] = append(d.names[digest], own...)
		}
	}
	d.stored[key].Names = append(d.stored[key].Names, name)
	for _, f := range found {
		if err := d.statement(f); err != nil {
			return err
		}
	}
	return nil
}

func (d *Descent) statement(f Found) error {
	if errors.Is(f.Err, ErrOther) {
		return nil
	}
	if f.Incomplete {
		return f.Err
	}
	id := attest.ID(f.Data)
	if f.Err == nil && d.read[id] {
		return nil
	}
	c, err := readClaim(f)
	if err != nil {
		d.unread = append(d.unread, f.Origin)
	}
	if c == nil || f.Err != nil {
		return nil
	}
	d.read[id] = true
	if d.edges += len(c.dependencies); d.edges > descentEdges {
		return fmt.Errorf("verify: descent: %w: provenance names more than %d dependencies", ErrLimit, descentEdges)
	}
	trusted := len(c.dependencies) > 0 && d.Trusted != nil && d.Trusted(f)
	made := spelledAll(c.subjects)
	for _, dependency := range c.dependencies {
		for _, digest := range spelled(dependency.Digests) {
			d.uses[digest] = append(d.uses[digest], &use{dependency.Role, digest, id, trusted, &made})
		}
	}
	return nil
}

// Unread are the origins of what was found and cannot be read, so that nobody knows what it says.
func (d *Descent) Unread() []string { return slices.Compact(slices.Sorted(slices.Values(d.unread))) }

// Stored counts the artifacts.
func (d *Descent) Stored() int { return len(d.stored) }

// Named are the names of the artifacts that have a digest, or are the same tree.
func (d *Descent) Named(digest string) []string {
	var names []string
	trails := d.trails(digest, true)
	for key, s := range d.stored {
		if t := nearest(trails, key); t != nil && t.steps == 0 {
			names = append(names, s.Names...)
		}
	}
	slices.Sort(names)
	return names
}

// Of lists the artifacts that descend from what has the digest, in whatever role and over however many steps, in the order of their
// digests. A digest is written as in "sha256:…" or "dirHash:…". With trusted, each step is by a statement that is.
func (d *Descent) Of(digest string, trusted bool) []Descendant {
	trails := d.trails(digest, trusted)
	var out []Descendant
	for _, key := range slices.Sorted(maps.Keys(d.stored)) {
		best := nearest(trails, key)
		if best == nil || best.steps == 0 {
			continue // it has nothing to do with it, or is it
		}
		found := *d.stored[key]
		found.Names = slices.Sorted(slices.Values(found.Names))
		for t := best; t.by != nil; t = t.from {
			found.Path = append(found.Path, DescentStep{t.by.role, t.by.digest, t.by.statement})
		}
		out = append(out, found)
	}
	return out
}

// trail is how a digest was reached.
type trail struct {
	steps int
	by    *use
	from  *trail
}

// nearest is the shortest of the trails to an artifact by one of its digests; nil when there is none.
func nearest(trails map[string]*trail, key string) *trail {
	var best *trail
	for own := range strings.FieldsSeq(key) {
		if t := trails[own]; t != nil && (best == nil || t.steps < best.steps) {
			best = t
		}
	}
	return best
}

// trails goes forward, breadth first.
func (d *Descent) trails(digest string, trusted bool) map[string]*trail {
	d.sort()
	reached := map[string]*trail{}
	var queue []string
	// What has several digests is reached by all of them at once, and so is whatever is the same tree.
	var reach func(digest string, t *trail)
	reach = func(digest string, t *trail) {
		if reached[digest] != nil {
			return
		}
		reached[digest] = t
		queue = append(queue, digest)
		for _, name := range d.names[digest] {
			reach(name, t)
		}
	}
	for reach(digest, &trail{}); len(queue) > 0; queue = queue[1:] {
		at := reached[queue[0]]
		for _, u := range d.uses[queue[0]] {
			if trusted && !u.trusted {
				continue
			}
			for _, made := range *u.made {
				reach(made, &trail{at.steps + 1, u, at})
			}
		}
	}
	return reached
}

// sort makes the answers independent of the order in which things were added.
func (d *Descent) sort() {
	if d.sorted {
		return
	}
	d.sorted = true
	for _, names := range d.names {
		slices.Sort(names)
	}
	for _, uses := range d.uses {
		slices.SortFunc(uses, func(a, b *use) int {
			return cmp.Or(strings.Compare(a.statement, b.statement), strings.Compare(a.role, b.role))
		})
	}
}

var separators = strings.NewReplacer("-", "", "_", "")

// spelled are the digests of a set in one spelling, sorted: a digit in upper case must not hide what was used.
func spelled(set map[string]string) []string { return spelledAll(sortedDigests(set)) }

func spelledAll(digests []string) []string {
	var out []string
	for _, digest := range digests {
		algorithm, value, _ := strings.Cut(digest, ":")
		switch folded := separators.Replace(strings.ToLower(algorithm)); folded {
		case "sha256", "sha512":
			algorithm = folded
		case "dirhash":
			algorithm = "dirHash"
		}
		out = append(out, algorithm+":"+strings.ToLower(value))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Trusted returns a function that reports whether a signer of the policy, whoever of them, signed what was found.
func (v *Verifier) Trusted(policy *policies.Policy) (func(Found) bool, error) {
	signers, err := newSigners(policy, v.Trust, v.Now)
	if err != nil {
		return nil, err
	}
	c := &collector{signers: signers, types: policy.StatementTypes()}
	return func(f Found) bool {
		e := c.read(f)
		return e.Problem == "" && len(e.SignedBy) > 0
	}, nil
}
