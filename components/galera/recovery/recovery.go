// Package recovery decides what a node of a Galera cluster does when its server
// is not running, and when it runs outside of a primary component: join, start a
// primary component anew (bootstrap), wait, or stop and say why.
//
// It is one pure function of what is known, [Decide]; who asks nodes for their
// state, keeps the record and runs servers is cmd/galera-node. Where a choice
// could lose a committed transaction or replace somebody's data, it is a
// person's, and the reason of the decision says how to make it.
package recovery

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Phase is what a node does at the moment.
type Phase string

// The phases of a node.
const (
	// Deciding: its server does not run.
	Deciding Phase = "deciding"
	// Joining: its server has been started, and is not a member of a primary
	// component yet.
	Joining Phase = "joining"
	// Bootstrapping: its server has been started as the first member of a new
	// primary component, which is not there yet.
	Bootstrapping Phase = "bootstrapping"
	// Primary: its server runs in a primary component.
	Primary Phase = "primary"
	// NonPrimary: its server runs, and has lost the primary component.
	NonPrimary Phase = "non-primary"
)

// Node is what a node says of itself.
type Node struct {
	// Ordinal is the number of its pod, from 0.
	Ordinal int   `json:"ordinal"`
	Phase   Phase `json:"phase"`
	// UUID is that of the cluster whose data the node has; empty where it has
	// none, as before its first start.
	UUID string `json:"uuid,omitempty"`
	// Seqno is the last transaction in its data: of grastate.dat, else what
	// mariadbd --wsrep-recover has found, else what the running server says. It
	// is -1 where it cannot be told.
	Seqno int64 `json:"seqno"`
	// SafeToBootstrap is that of grastate.dat: the node was the last to leave.
	SafeToBootstrap bool `json:"safeToBootstrap,omitempty"`
	// Interrupted: a state transfer to the node has not come to its end. What is
	// there is a part of what its donor has.
	Interrupted bool `json:"interrupted,omitempty"`
	// Stalled: for longer than its patience the node has seen no primary
	// component, with its server running.
	Stalled bool `json:"stalled,omitempty"`
	// Resting: its last start has failed a moment ago, and it lets others go first.
	Resting bool `json:"resting,omitempty"`
}

// hasData says whether a cluster could be made of what the node has.
func (n Node) hasData() bool { return n.UUID != "" && !n.Interrupted }

// stopped says whether the node's server does not run.
func (n Node) stopped() bool { return n.Phase == Deciding }

// Record is what is known of a cluster apart from its nodes' own data: it is kept
// where no node's loss takes it along.
type Record struct {
	// UUID is the cluster's; empty before its first start.
	UUID string `json:"uuid,omitempty"`
	// Generation counts how often a primary component was started anew.
	Generation int `json:"generation"`
	// Seqnos are the highest that members have been seen with, by ordinal. A
	// selection is never made from the nodes' files alone: these change when a
	// start fails.
	Seqnos map[int]int64 `json:"seqnos,omitempty"`
}

// Bootstrapped is the record of the cluster that node is about to start anew:
// what all nodes have been seen with is in it, but for what was given up.
func (r Record) Bootstrapped(node Node, nodes map[int]Node, lost []int) Record {
	next := Record{UUID: node.UUID, Generation: r.Generation + 1, Seqnos: map[int]int64{}}
	if node.UUID == "" {
		return next
	}
	for ordinal, seqno := range r.Seqnos {
		if !slices.Contains(lost, ordinal) {
			next.Seqnos[ordinal] = seqno
		}
	}
	for ordinal, n := range nodes {
		if n.hasData() && n.UUID == node.UUID {
			next.Seqnos[ordinal] = max(next.Seqnos[ordinal], n.Seqno)
		}
	}
	return next
}

// Situation is all that a decision is made from.
type Situation struct {
	// Self is the ordinal of the node that decides.
	Self int
	// Size is the number of nodes that the cluster is to have.
	Size int
	// Nodes are those that have answered, the node itself among them, by ordinal.
	Nodes map[int]Node
	// Record is nil where it could not be read.
	Record *Record
	// Lost are the ordinals whose data a person has given up for good, in this
	// generation.
	Lost []int
}

// Action is what a node is to do.
type Action string

// The actions. A node that is to wait or stop decides again when it knows more.
const (
	// Join: start the server as a member of the primary component that is there.
	Join Action = "join"
	// Bootstrap: start the server as the first member of a new primary component,
	// if the record has not changed in between. A node without data makes a new
	// cluster.
	Bootstrap Action = "bootstrap"
	// Wait: what is missing may come by itself.
	Wait Action = "wait"
	// Stop: a person is needed.
	Stop Action = "stop"
	// Stay: let the server run.
	Stay Action = "stay"
	// Leave: end the server, which is outside of any primary component and will
	// not come into one by itself, to take part in the selection of who starts one.
	Leave Action = "leave"
)

// Decision is an action and its reason, for people.
type Decision struct {
	Action Action
	Reason string
}

func decide(a Action, format string, args ...any) Decision {
	return Decision{a, fmt.Sprintf(format, args...)}
}

// Decide says what the node is to do. It keeps to these rules:
//
//  1. Where a primary component is, nodes join it, whatever else is known.
//  2. Else the states of all nodes are needed, or a person's word that a node's
//     data is lost for good.
//  3. All data is of one cluster, and of the one that the record names.
//  4. A node without data, or with a part of it, is never chosen; nor is data
//     that was there before taken for never having been there.
//  5. The node with the last transaction is chosen; among equals the one that
//     left last, then the lowest ordinal.
//  6. It is behind no transaction that a member has been seen with before.
//  7. Nobody but the chosen one starts a primary component.
//  8. The others join one after the other.
//  9. Only where no node has data and no record says that there has been any, a
//     new cluster is made, by the first node, when all are there.
func Decide(s Situation) Decision {
	self, ok := s.Nodes[s.Self]
	if !ok || s.Self < 0 || s.Self >= s.Size {
		return decide(Stop, "node %d is none of the %d of the cluster, or says nothing of itself; look at the number of replicas", s.Self, s.Size)
	}
	switch self.Phase {
	case Primary, Bootstrapping:
		return decide(Stay, "the server is, or starts, a primary component")
	case Joining, NonPrimary:
		return s.outside(self)
	}
	if primary := s.in(Primary); len(primary) > 0 {
		return s.join(self, primary)
	}
	if running := s.in(Joining, Bootstrapping, NonPrimary); len(running) > 0 {
		return decide(Wait, "%s running without a primary component", nodes(running, "is", "are"))
	}
	return s.elect(self)
}

// in are the nodes that answer and are in one of the phases, by their ordinals.
func (s Situation) in(phases ...Phase) []Node {
	var found []Node
	for _, ordinal := range slices.Sorted(maps.Keys(s.Nodes)) {
		if n := s.Nodes[ordinal]; slices.Contains(phases, n.Phase) {
			found = append(found, n)
		}
	}
	return found
}

// silent are the ordinals of nodes that do not answer and are not given up.
func (s Situation) silent() []int {
	var missing []int
	for ordinal := range s.Size {
		if _, ok := s.Nodes[ordinal]; !ok && !slices.Contains(s.Lost, ordinal) {
			missing = append(missing, ordinal)
		}
	}
	return missing
}

// outside decides for a server that runs, or starts, without a primary component.
// It cannot commit anything there, so leaving costs nothing but time.
func (s Situation) outside(self Node) Decision {
	switch {
	case len(s.in(Primary, Bootstrapping)) > 0:
		return decide(Stay, "there is a primary component, or one starts")
	case len(s.silent()) > 0:
		return decide(Stay, "%s not answer: a primary component may be there", ordinals(s.silent(), "does", "do"))
	case self.Phase == NonPrimary && len(s.in(Deciding)) == len(s.Nodes)-1:
		return decide(Leave, "all other servers have ended, and wait")
	case self.Stalled:
		return decide(Leave, "all nodes answer, and for too long none has seen a primary component")
	}
	return decide(Stay, "the servers may find each other again")
}

// refused says why a node may not join; nil where it may.
func (s Situation) refused(n Node, primary []Node) *Decision {
	var d Decision
	for _, p := range primary[1:] {
		if p.UUID != primary[0].UUID {
			d = decide(Stop, "node %d runs the cluster %s, and node %d the cluster %s; end one of them and give up its volume", primary[0].Ordinal, primary[0].UUID, p.Ordinal, p.UUID)
			return &d
		}
	}
	cluster := primary[0].UUID
	if s.Record != nil && s.Record.UUID != "" && s.Record.UUID != cluster {
		d = decide(Stop, "node %d runs the cluster %s, and the record names %s; find out which is the right one", primary[0].Ordinal, cluster, s.Record.UUID)
		return &d
	}
	if !n.hasData() {
		return nil
	}
	if n.UUID != cluster {
		d = decide(Stop, "the data of node %d is of the cluster %s, and that of the cluster %s, which runs, would replace it; give node %d an empty volume if nobody needs what is there", n.Ordinal, n.UUID, cluster, n.Ordinal)
		return &d
	}
	last := slices.MaxFunc(primary, func(a, b Node) int { return cmp.Compare(a.Seqno, b.Seqno) })
	if n.Seqno > last.Seqno {
		d = decide(Stop, "node %d has transactions up to %d, and the cluster that runs only those up to %d; save what is there, then give node %d an empty volume", n.Ordinal, n.Seqno, last.Seqno, n.Ordinal)
		return &d
	}
	return nil
}

// join decides for a node that finds a primary component.
func (s Situation) join(self Node, primary []Node) Decision {
	if d := s.refused(self, primary); d != nil {
		return *d
	}
	if joining := s.in(Joining); len(joining) > 0 {
		return decide(Wait, "%s joining; one at a time, as each takes a donor", nodes(joining, "is", "are"))
	}
	for _, n := range s.in(Deciding) {
		if n.Ordinal < self.Ordinal && !n.Resting && s.refused(n, primary) == nil {
			return decide(Wait, "node %d joins first", n.Ordinal)
		}
	}
	return decide(Join, "%s in the primary component", nodes(primary, "is", "are"))
}

// elect decides when no server runs.
func (s Situation) elect(self Node) Decision {
	if s.Record == nil {
		return decide(Wait, "the record of the cluster cannot be read; without it nobody starts a primary component")
	}
	var with []Node
	cluster, of := s.Record.UUID, "the record names"
	for _, n := range s.in(Deciding) {
		if !n.hasData() {
			continue
		}
		if cluster == "" {
			cluster, of = n.UUID, fmt.Sprintf("that of node %d is of", n.Ordinal)
		}
		given := slices.Contains(s.Lost, n.Ordinal)
		switch {
		case n.UUID != cluster && !given:
			return decide(Stop, "the data of node %d is of the cluster %s, and %s %s; give up the one that does not belong here", n.Ordinal, n.UUID, of, cluster)
		case n.UUID == cluster && n.Seqno < 0 && !given:
			return decide(Stop, "node %d has data, and how far it goes cannot be told; see its log, or give it up", n.Ordinal)
		case n.UUID == cluster && n.Seqno >= 0:
			with = append(with, n)
		}
	}
	if missing := s.silent(); len(missing) > 0 {
		return decide(Wait, "%s not answer, and may have the last transaction; start the missing, or give up what they have", ordinals(missing, "does", "do"))
	}
	if len(with) == 0 {
		return s.create(self, cluster)
	}
	for _, n := range s.in(Deciding) {
		if _, member := s.Record.Seqnos[n.Ordinal]; member && n.UUID == "" && !n.Interrupted && !slices.Contains(s.Lost, n.Ordinal) {
			return decide(Stop, "the volume of node %d was a member's and is empty, and may have had the last transaction; bring it back, or give it up", n.Ordinal)
		}
	}
	chosen := slices.MinFunc(with, func(a, b Node) int {
		return cmp.Or(cmp.Compare(b.Seqno, a.Seqno), boolean(b.SafeToBootstrap)-boolean(a.SafeToBootstrap), a.Ordinal-b.Ordinal)
	})
	for _, ordinal := range slices.Sorted(maps.Keys(s.Record.Seqnos)) {
		if seen := s.Record.Seqnos[ordinal]; seen > chosen.Seqno && !slices.Contains(s.Lost, ordinal) {
			return decide(Stop, "node %d has been seen with transactions up to %d, and now none has more than %d; bring its data back, or give it up", ordinal, seen, chosen.Seqno)
		}
	}
	if chosen.Ordinal != self.Ordinal {
		return decide(Wait, "node %d starts the primary component, with transactions up to %d", chosen.Ordinal, chosen.Seqno)
	}
	return decide(Bootstrap, "of %d nodes none has more than the transactions up to %d", len(s.Nodes), chosen.Seqno)
}

// create decides when no node has data.
func (s Situation) create(self Node, cluster string) Decision {
	if cluster != "" {
		return decide(Stop, "no node has data, and there has been the cluster %s; restore a backup", cluster)
	}
	for ordinal := range s.Size {
		n, ok := s.Nodes[ordinal]
		switch {
		case !ok:
			return decide(Wait, "node %d does not answer; a new cluster is made when all nodes have been seen to be empty", ordinal)
		case n.Interrupted || n.UUID != "":
			return decide(Stop, "node %d has a part of a cluster's data, and no node has all of it; restore a backup, or give node %d an empty volume", ordinal, ordinal)
		}
	}
	if self.Ordinal != 0 {
		return decide(Wait, "node 0 makes a new cluster")
	}
	return decide(Bootstrap, "all %d nodes are empty and there has been no cluster", s.Size)
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

func nodes(list []Node, one, many string) string {
	var o []int
	for _, n := range list {
		o = append(o, n.Ordinal)
	}
	return ordinals(o, one, many)
}

// ordinals is a subject with its verb.
func ordinals(list []int, one, many string) string {
	var names []string
	for _, o := range list {
		names = append(names, fmt.Sprint(o))
	}
	if len(list) == 1 {
		return "node " + names[0] + " " + one
	}
	return "nodes " + strings.Join(names, ", ") + " " + many
}
