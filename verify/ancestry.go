package verify

import (
	"context"
	"errors"
	"fmt"

	"github.com/mlseal/mlseal/attest"
)

// Bounds of what UnverifiedAncestry follows.
const (
	MaxAncestryDepth = 8      // provenance statements one behind the other
	MaxAncestors     = 500    // dependencies, each once
	MaxLinks         = 20_000 // between them
)

// Ancestor is something from which an artifact was made, by the word of its provenance.
type Ancestor struct {
	Role       string            `json:"role,omitempty"` // what the provenance calls it
	URI        string            `json:"uri,omitempty"`  // where the provenance says that it is from
	Digests    map[string]string `json:"digests"`
	Statements int               `json:"statements"` // about it that were found
}

// String names the ancestor for people.
func (a Ancestor) String() string { return a.Role + " " + describe(a.Digests) }

// Link says that one thing was made from another, by the word of a statement: From and To are 0 for the artifact and n+1 for
// Ancestors[n].
type Link struct {
	From, To  int
	Role      string
	Statement string // attest.ID of the bundle
}

// Undigested is a dependency that provenance names without a digest, so that nobody knows what it is.
type Undigested struct {
	From      int // as that of a Link
	Role, URI string
	Statement string
}

// Ancestry is what an artifact descends from and what was said about that. No signature was verified: it serves to
// take statements along to where a gate decides, and to be looked at.
type Ancestry struct {
	Ancestors  []Ancestor // nearest first
	Links      []Link     // an ancestor that no link leads to is named by provenance that is attached, and about something else
	Undigested []Undigested
	About      int      // statements about the artifact itself that were found
	Statements []Found  // about the ancestors, and all that was given; each bundle once
	Unread     []string // origins of provenance and of given things that cannot be read
}

// Missing are the ancestors about which nothing was found.
func (a *Ancestry) Missing() []Ancestor {
	var missing []Ancestor
	for _, ancestor := range a.Ancestors {
		if ancestor.Statements == 0 {
			missing = append(missing, ancestor)
		}
	}
	return missing
}

// UnverifiedAncestry follows the SLSA provenance among found, which was found with the artifact, through resolvedDependencies
// (https://slsa.dev/spec/v1.0/provenance#BuildDefinition): statements about each dependency come from source, and from given by the subjects
// that they name; provenance among those is followed in turn. Whatever somebody wrote is followed, so that nothing is left behind
// that a policy may ask for. More than the bounds of this package fail with ErrLimit, and a statement that source cannot
// hand out with its error, since it may be the one that says no: what was found is returned beside the error.
func UnverifiedAncestry(ctx context.Context, source Source, artifact map[string]string, found, given []Found) (*Ancestry, error) {
	w := &ancestryWalk{source: source, result: &Ancestry{}, taken: map[string]bool{}, claims: map[string]*claim{}, about: map[string][]*claim{},
		keys: map[string]int{}, named: map[string][]int{}, done: map[job]bool{}, links: map[Link]bool{}, unread: map[string]bool{}}
	for _, f := range found {
		w.taken[attest.ID(f.Data)] = true // it goes with the artifact
		w.attached(f)
	}
	for _, f := range given {
		if w.index(f) != nil {
			w.take(f)
		}
	}
	w.add(artifact, 0)
	if err := w.run(ctx); err != nil {
		return w.result, err
	}
	return w.result, w.problem
}

// ancestryWalk goes from an artifact backwards. A statement belongs to whatever its subjects name, wherever it was found: one that is
// carried with a package speaks about something behind it.
type ancestryWalk struct {
	source  Source
	result  *Ancestry
	problem error             // the first statement that could not be handed out
	taken   map[string]bool   // bundles, by ID
	claims  map[string]*claim // by ID of the bundle
	about   map[string][]*claim
	unread  map[string]bool
	loose   []*claim // attached to something on the way, in the order in which they were found

	depth []int            // of each node; 0 is the artifact
	keys  map[string]int   // node by its digests
	named map[string][]int // nodes by each of their digests
	queue []job
	done  map[job]bool
	links map[Link]bool
}

// job is a statement about a node, to be followed.
type job struct {
	node  int
	claim *claim
}

// run goes breadth first. When nothing is left that is about something on the way, what is attached there and is about something else is
// followed too, without links.
func (w *ancestryWalk) run(ctx context.Context) error {
	for len(w.queue)+len(w.loose) > 0 {
		if len(w.queue) == 0 {
			c := w.loose[0]
			if w.loose = w.loose[1:]; !c.followed {
				if err := w.follow(ctx, job{-1, c}); err != nil {
					return err
				}
			}
			continue
		}
		next := w.queue[0]
		w.queue = w.queue[1:]
		if err := w.follow(ctx, next); err != nil {
			return err
		}
	}
	return nil
}

// index reads a bundle once and sorts it by what it is about; nil when it cannot be read.
func (w *ancestryWalk) index(f Found) *claim {
	id := attest.ID(f.Data)
	if c := w.claims[id]; c != nil && f.Err == nil {
		return c
	}
	c, err := readClaim(f)
	if errors.Is(err, errDependencies) || err != nil && !errors.Is(err, ErrOther) {
		w.note(f.Origin)
	}
	if c == nil {
		return nil
	}
	c.id = id
	w.claims[id] = c
	for _, digest := range c.subjects {
		w.about[digest] = append(w.about[digest], c)
		for _, node := range w.named[digest] {
			w.enqueue(job{node, c})
		}
	}
	return c
}

func (w *ancestryWalk) note(origin string) {
	if !w.unread[origin] {
		w.unread[origin] = true
		w.result.Unread = append(w.result.Unread, origin)
	}
}

// attached takes note of what is attached to something on the way.
func (w *ancestryWalk) attached(f Found) {
	if c := w.index(f); c != nil {
		w.loose = append(w.loose, c)
	}
}

func (w *ancestryWalk) take(f Found) {
	if id := attest.ID(f.Data); !w.taken[id] {
		w.taken[id] = true
		w.result.Statements = append(w.result.Statements, f)
	}
}

// enqueue counts a statement for a node, once.
func (w *ancestryWalk) enqueue(j job) {
	if w.done[j] {
		return
	}
	w.done[j], j.claim.followed = true, true
	w.queue = append(w.queue, j)
	if j.node == 0 {
		w.result.About++
	} else {
		w.result.Ancestors[j.node-1].Statements++
	}
}

// add makes a node of a digest set, and queues what is known about it.
func (w *ancestryWalk) add(digests map[string]string, depth int) int {
	node := len(w.depth)
	w.depth = append(w.depth, depth)
	w.keys[describe(digests)] = node
	for algorithm, value := range digests {
		w.named[algorithm+":"+value] = append(w.named[algorithm+":"+value], node)
	}
	for _, digest := range sortedDigests(digests) {
		for _, c := range w.about[digest] {
			w.enqueue(job{node, c})
		}
	}
	return node
}

// find returns the node of a digest set. The artifact is known by each of its digests, so that a circle ends at it.
func (w *ancestryWalk) find(digests map[string]string) (int, bool) {
	if node, ok := w.keys[describe(digests)]; ok {
		return node, true
	}
	for _, algorithm := range []string{"sha256", "sha512", "dirHash"} {
		if value, ok := digests[algorithm]; ok {
			if nodes := w.named[algorithm+":"+value]; len(nodes) > 0 && nodes[0] == 0 {
				return 0, true
			}
		}
	}
	return 0, false
}

// follow goes through the dependencies that a statement names.
func (w *ancestryWalk) follow(ctx context.Context, j job) error {
	depth := 1
	if j.node >= 0 {
		depth = w.depth[j.node] + 1
	}
	if len(j.claim.dependencies) > 0 && depth > MaxAncestryDepth+1 {
		return fmt.Errorf("verify: lineage: %w: more than %d provenance statements behind each other", ErrLimit, MaxAncestryDepth)
	}
	for _, d := range j.claim.dependencies {
		if len(d.Digests) == 0 {
			if j.node >= 0 && len(w.result.Undigested) < MaxAncestors {
				w.result.Undigested = append(w.result.Undigested, Undigested{j.node, d.Role, d.URI, j.claim.id})
			}
			continue
		}
		to, err := w.reach(ctx, d, depth)
		if err != nil {
			return err
		}
		if err := w.link(j, to, d.Role); err != nil {
			return err
		}
	}
	return nil
}

func (w *ancestryWalk) link(j job, to int, role string) error {
	l := Link{From: j.node, To: to, Role: role, Statement: j.claim.id}
	if j.node < 0 || w.links[l] {
		return nil
	}
	if len(w.links) == MaxLinks {
		return fmt.Errorf("verify: lineage: %w: more than %d links", ErrLimit, MaxLinks)
	}
	w.links[l] = true
	w.result.Links = append(w.result.Links, l)
	return nil
}

// reach finds or makes the node of a dependency, and asks the source about a new one.
func (w *ancestryWalk) reach(ctx context.Context, d Ancestor, depth int) (int, error) {
	if node, known := w.find(d.Digests); known {
		return node, nil
	}
	if len(w.result.Ancestors) == MaxAncestors {
		return 0, fmt.Errorf("verify: lineage: %w: more than %d dependencies", ErrLimit, MaxAncestors)
	}
	w.result.Ancestors = append(w.result.Ancestors, d)
	node := w.add(d.Digests, depth)
	stored, err := w.source.Statements(ctx, d.Digests)
	if err != nil {
		return 0, fmt.Errorf("verify: statements about %s: %w", d, err)
	}
	for _, f := range stored {
		switch {
		case errors.Is(f.Err, ErrOther):
		case f.Err != nil:
			if w.problem == nil {
				w.problem = fmt.Errorf("verify: statements about %s: %s: %w", d, f.Origin, f.Err)
			}
			w.note(f.Origin)
		default:
			w.take(f)
			w.attached(f)
		}
	}
	return node, nil
}
