package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mlseal/mlseal/internal/draw"
	"github.com/mlseal/mlseal/policies"
	"github.com/mlseal/mlseal/verify"
)

// LineageSchema is the version of a Lineage's JSON form, which docs/schemas/lineage.json describes.
const LineageSchema = "https://mlseal.dev/lineage/v1"

// Lineage reports what an artifact was made from, as a tree, as JSON, for Graphviz and as a page. Its fields are its JSON form. Make it with
// LineageOf or UnverifiedLineage: the drawings go by Nodes and Edges, and leave out edges that lead nowhere.
type Lineage struct {
	Schema     string              `json:"schema"`
	Verified   bool                `json:"verified"`          // a policy decided
	Verdict    string              `json:"verdict,omitempty"` // of the policy
	Policy     *policies.PolicyRef `json:"policy,omitempty"`
	Time       *time.Time          `json:"time,omitempty"` // the clock of the decision
	Subject    policies.Subject    `json:"subject"`
	Failed     []LineageFailure    `json:"failed,omitempty"`
	Nodes      []LineageNode       `json:"nodes"` // the artifact first
	Edges      []policies.Edge     `json:"edges"`
	Incomplete string              `json:"incomplete,omitempty"` // why there is more than this
	Overrides  []policies.Override `json:"overrides,omitempty"`  // parameters that were given other values than the policy's
	Skipped    []policies.Skipped  `json:"skipped,omitempty"`    // what was not checked
	Notes      []string            `json:"notes,omitempty"`
}

// LineageFailure is a requirement that did not hold, or only by a waiver.
type LineageFailure struct {
	ID       string            `json:"id"`
	Code     policies.Code     `json:"code,omitempty"`     // empty for one that is waived
	Severity policies.Severity `json:"severity,omitempty"` // empty for what denies
	Waiver   string            `json:"waiver,omitempty"`
	Detail   string            `json:"detail"`
}

// LineageNode is the artifact, or something that it was made from.
type LineageNode struct {
	Name       string            `json:"name,omitempty"` // of the artifact; the role of a dependency
	URI        string            `json:"uri,omitempty"`  // unverified: where provenance says that it is from
	Digests    map[string]string `json:"digests"`
	Status     NodeStatus        `json:"status"`
	Code       policies.Code     `json:"code,omitempty"`
	Detail     string            `json:"detail,omitempty"`
	Statements []policies.Seen   `json:"statements,omitempty"` // that vouch for it
	Claims     int               `json:"claims"`               // unverified statements about it that were found
}

// NodeStatus says how a node of a lineage ended.
type NodeStatus string

// The statuses of a node.
const (
	NodePassed     NodeStatus = "passed"
	NodeFailed     NodeStatus = "failed"
	NodeUnverified NodeStatus = "unverified"
)

// LineageOf shows what a policy found out about an artifact.
func LineageOf(d *policies.Decision) *Lineage {
	l := &Lineage{Schema: LineageSchema, Verified: true, Verdict: Gate{Decision: d}.verdict(), Policy: &d.Policy, Time: &d.Time, Subject: d.Subject,
		Overrides: d.Overrides, Skipped: d.Skipped, Notes: d.Notes}
	graph := d.Lineage
	if graph == nil || len(graph.Nodes) == 0 {
		graph = &policies.Graph{Nodes: []policies.Node{{Name: d.Subject.Name, Digests: d.Subject.Digests, Passed: true}}}
		l.Notes = append(slices.Clone(l.Notes), "the policy follows no lineage (lineage.edges): what the artifact was made from was not looked at")
	}
	for _, n := range graph.Nodes {
		node := LineageNode{Name: n.Name, Digests: n.Digests, Status: NodePassed, Code: n.Code, Detail: n.Detail, Statements: n.Statements}
		if !n.Passed {
			node.Status = NodeFailed
		}
		l.Nodes = append(l.Nodes, node)
	}
	l.Edges = slices.Clone(graph.Edges)
	l.failures(d)
	return l.whole()
}

// failures lists what did not hold. The artifact itself ends as the decision does.
func (l *Lineage) failures(d *policies.Decision) {
	for _, r := range d.Requirements {
		if !r.Passed || r.Waiver != "" {
			l.Failed = append(l.Failed, LineageFailure{r.ID, r.Code, r.Severity, r.Waiver, r.Detail})
		}
	}
	artifact := &l.Nodes[0]
	if d.Err() == nil {
		return
	}
	artifact.Status = NodeFailed
	for _, r := range d.Requirements {
		if r.Denies() && artifact.Code == "" {
			artifact.Code, artifact.Detail = r.Code, r.Detail
		}
	}
}

// UnverifiedLineage shows what the statements that were found say. The error is why they are not all of them; it may be nil.
func UnverifiedLineage(subject policies.Subject, a *verify.Ancestry, err error) *Lineage {
	l := &Lineage{Schema: LineageSchema, Subject: subject}
	l.Nodes = append(l.Nodes, LineageNode{Name: subject.Name, Digests: subject.Digests, Status: NodeUnverified, Claims: a.About})
	for _, n := range a.Ancestors {
		l.Nodes = append(l.Nodes, LineageNode{Name: n.Role, URI: n.URI, Digests: n.Digests, Status: NodeUnverified, Claims: n.Statements})
	}
	for _, e := range a.Links {
		l.Edges = append(l.Edges, policies.Edge{From: e.From, To: e.To, Role: e.Role, Statement: e.Statement})
	}
	for _, u := range a.Undigested {
		l.Nodes = append(l.Nodes, LineageNode{Name: u.Role, URI: u.URI, Digests: map[string]string{}, Status: NodeUnverified})
		l.Edges = append(l.Edges, policies.Edge{From: u.From, To: len(l.Nodes) - 1, Role: u.Role, Statement: u.Statement})
	}
	if err != nil {
		l.Incomplete = err.Error()
	}
	for _, origin := range a.Unread {
		l.Notes = append(l.Notes, "cannot be read, and what it says is not known: "+origin)
	}
	return l.whole()
}

// whole leaves out what nothing connects with the artifact, and says so.
func (l *Lineage) whole() *Lineage {
	outgoing := l.outgoing()
	at := make([]int, len(l.Nodes))
	var kept []LineageNode
	for i := range at {
		at[i] = -1
	}
	var queue []int
	reach := func(i int) {
		if at[i] < 0 {
			at[i] = len(kept)
			kept = append(kept, l.Nodes[i])
			queue = append(queue, i)
		}
	}
	for reach(0); len(queue) > 0; queue = queue[1:] {
		for _, e := range outgoing[queue[0]] {
			reach(e.To)
		}
	}
	if lost := len(l.Nodes) - len(kept); lost > 0 {
		l.Notes = append(slices.Clone(l.Notes), fmt.Sprintf("left out: %d that only provenance about something else names, which is attached too", lost))
	}
	edges := []policies.Edge{}
	for _, list := range outgoing {
		for _, e := range list {
			if at[e.From] >= 0 {
				e.From, e.To = at[e.From], at[e.To]
				edges = append(edges, e)
			}
		}
	}
	slices.SortStableFunc(edges, func(a, b policies.Edge) int { return cmp.Or(a.From-b.From, a.To-b.To) })
	l.Nodes, l.Edges = kept, edges
	return l
}

// remarks are the notes for people: the parameters, what was not checked, and what else there is to say.
func (l *Lineage) remarks() []string {
	var out []string
	for _, o := range l.Overrides {
		out = append(out, "parameter "+overridden(o))
	}
	for _, s := range l.Skipped {
		out = append(out, s.Check+": not done: "+s.Reason)
	}
	return append(out, l.Notes...)
}

// outgoing lists the edges out of each node, without those that lead nowhere.
func (l *Lineage) outgoing() [][]policies.Edge {
	out := make([][]policies.Edge, len(l.Nodes))
	for _, e := range l.Edges {
		if e.From >= 0 && e.From < len(l.Nodes) && e.To >= 0 && e.To < len(l.Nodes) {
			out[e.From] = append(out[e.From], e)
		}
	}
	return out
}

// children are the edges out of each node with a role, each once however many statements say it.
func (l *Lineage) children() [][]policies.Edge {
	out := l.outgoing()
	for i, list := range out {
		seen := map[policies.Edge]bool{}
		out[i] = slices.DeleteFunc(list, func(e policies.Edge) bool {
			e.Statement = ""
			again := seen[e]
			seen[e] = true
			return again
		})
	}
	return out
}

// JSON implements Document.
func (l *Lineage) JSON() any { return l }

// mark is the node's status as one sign.
func (n *LineageNode) mark() string {
	switch n.Status {
	case NodePassed:
		return string(draw.Passed)
	case NodeFailed:
		return string(draw.Failed)
	}
	return string(draw.Unknown)
}

// name is what a person calls the node.
func (n *LineageNode) name() string { return cmp.Or(n.Name, "(no role)") }

// digest is the digest that names the node, whole; one it may have that no policy accepts comes last.
func (n *LineageNode) digest() string {
	all := n.digests()
	if len(all) == 0 {
		return "no digest"
	}
	return all[0]
}

// digests are all of them, the one that names the node first.
func (n *LineageNode) digests() []string {
	order := []string{"sha256", "dirHash", "sha512"}
	var all []string
	for algorithm, value := range n.Digests {
		all = append(all, algorithm+":"+value)
	}
	slices.SortFunc(all, func(a, b string) int {
		return cmp.Or(rankOf(order, a)-rankOf(order, b), strings.Compare(a, b))
	})
	return all
}

func rankOf(order []string, digest string) int {
	algorithm, _, _ := strings.Cut(digest, ":")
	if i := slices.Index(order, algorithm); i >= 0 {
		return i
	}
	return len(order)
}

// finding says in one line why the node ended as it did.
func (n *LineageNode) finding() string {
	switch {
	case n.Status == NodeFailed:
		return strings.TrimSuffix(string(n.Code)+": "+n.Detail, ": ")
	case n.Status == NodeUnverified && len(n.Digests) == 0:
		return "no digest: nobody knows what it is; not verified"
	case n.Status == NodeUnverified && n.Claims == 0:
		return "no statement found; not verified"
	case n.Status == NodeUnverified && n.Claims == 1:
		return "1 statement, not verified"
	case n.Status == NodeUnverified:
		return fmt.Sprintf("%d statements, not verified", n.Claims)
	case len(n.Statements) == 0:
		return n.Detail
	}
	const most = 3
	var all []string
	for i, s := range n.Statements {
		if i == most {
			all = append(all, fmt.Sprintf("and %d more", len(n.Statements)-most))
			break
		}
		all = append(all, vouches(s))
	}
	return strings.Join(all, "; ")
}

// vouches says who made a statement and when.
func vouches(s policies.Seen) string {
	text := shortType(s.PredicateType) + " by " + strings.Join(s.Signers, ", ")
	if s.Time.IsZero() {
		return text
	}
	return text + ", " + s.Time.UTC().Format(time.RFC3339) + " (" + s.TimeSource + ")"
}
