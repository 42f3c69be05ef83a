package recovery

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// world is a cluster as Galera makes one of servers that start and end: what
// decisions lead to, one after the other, with everything that may happen in
// between.
type world struct {
	nodes     [3]machine
	record    Record
	lost      []int
	committed int64 // the last transaction that a client was told of
	started   int   // primary components that were started
}

type machine struct {
	up, cut     bool
	node        Node
	view        Situation // what it knew when it last looked
	looked      bool
	incremental bool // its join takes no full transfer
}

// component is the primary component.
func (w *world) component() []int {
	var members []int
	for o, m := range w.nodes {
		if m.up && m.node.Phase == Primary {
			members = append(members, o)
		}
	}
	return members
}

// leave is a member gone without a word: the others go on where they are more
// than half.
func (w *world) leave(gone ...int) {
	before := w.component()
	for _, o := range gone {
		if slices.Contains(before, o) {
			w.nodes[o].node.Phase = NonPrimary
		}
	}
	if rest := w.component(); len(rest)*2 <= len(before) {
		for _, o := range rest {
			w.nodes[o].node.Phase = NonPrimary
		}
	}
}

func (w *world) crash(gone ...int) {
	w.leave(gone...)
	for _, o := range gone {
		m := &w.nodes[o]
		if m.node.Phase == Joining && !m.incremental {
			m.node.UUID, m.node.Seqno, m.node.Interrupted = "", -1, true
		}
		m.up, m.looked, m.node.SafeToBootstrap, m.node.Stalled = false, false, false, false
	}
}

// look gathers what a node can know.
func (w *world) look(o int) {
	m := &w.nodes[o]
	m.view = Situation{Self: o, Size: 3, Nodes: map[int]Node{}, Lost: slices.Clone(w.lost)}
	record := w.record
	record.Seqnos = maps.Clone(w.record.Seqnos)
	m.view.Record = &record
	for other, p := range w.nodes {
		if other == o || p.up && !p.cut && !m.cut {
			m.view.Nodes[other] = p.node
		}
	}
	m.looked = true
}

// act does what the node decides from what it knew, which may have changed.
func (w *world) act(o int) error {
	m := &w.nodes[o]
	if !m.up || !m.looked {
		return nil
	}
	m.looked = false
	switch d := Decide(m.view); d.Action {
	case Join:
		m.node.Phase = Joining
		m.incremental = m.node.hasData()
	case Bootstrap:
		if m.view.Record.Generation != w.record.Generation {
			return nil // somebody was faster
		}
		w.record = m.view.Record.Bootstrapped(m.node, m.view.Nodes, m.view.Lost)
		w.lost = nil
		w.started++
		if len(w.component()) > 0 {
			return fmt.Errorf("node %d starts a second primary component", o)
		}
		if m.node.UUID == "" {
			if w.committed > 0 {
				return fmt.Errorf("node %d makes a new cluster, and %d transactions are forgotten", o, w.committed)
			}
			m.node.UUID, m.node.Seqno = a, 0
		}
		m.node.Phase, m.node.Interrupted = Primary, false
		w.synced(o)
	case Leave:
		m.node.Phase = Deciding
	}
	return nil
}

func (w *world) synced(o int) {
	if w.record.Seqnos == nil {
		w.record.Seqnos = map[int]int64{}
	}
	w.record.UUID = w.nodes[o].node.UUID
	w.record.Seqnos[o] = max(w.record.Seqnos[o], w.nodes[o].node.Seqno)
}

// arrive is the end of a join, or of the patience with it.
func (w *world) arrive(o int) {
	m := &w.nodes[o]
	members := w.component()
	switch {
	case !m.up:
	case (m.node.Phase == Joining || m.node.Phase == NonPrimary) && len(members) > 0 && !m.cut:
		m.node = Node{Ordinal: o, Phase: Primary, UUID: w.nodes[members[0]].node.UUID, Seqno: w.nodes[members[0]].node.Seqno}
		w.synced(o)
	case m.node.Phase == Joining || m.node.Phase == NonPrimary:
		m.node.Stalled = true
	}
	if m.node.Phase == Deciding || m.node.Phase == Primary {
		m.node.Stalled = false
	}
}

func newWorld() *world {
	w := &world{}
	for o := range w.nodes {
		w.nodes[o].node = Node{Ordinal: o, Phase: Deciding, Seqno: -1}
	}
	return w
}

// check finds whether what clients were told is still there.
func (w *world) check() error {
	for _, o := range w.component() {
		if n := w.nodes[o].node; n.Seqno != w.committed {
			return fmt.Errorf("node %d serves transactions up to %d of %d", o, n.Seqno, w.committed)
		}
	}
	return nil
}

// step lets one thing happen.
func (w *world) step(t *rapid.T, wipes bool) error {
	o := rapid.IntRange(0, 2).Draw(t, "node")
	m := &w.nodes[o]
	what := []string{"start", "start", "turn", "turn", "turn", "turn", "turn", "turn", "look", "act", "arrive", "commit", "commit", "crash", "crash all", "stop", "cut", "heal"}
	if wipes {
		what = append(what, "wipe")
	}
	switch rapid.SampledFrom(what).Draw(t, "what") {
	case "start":
		if !m.up {
			m.up, m.node.Phase = true, Deciding
		}
	case "turn": // nothing comes in between
		w.look(o)
		if err := w.act(o); err != nil {
			return err
		}
		w.arrive(o)
	case "look":
		w.look(o)
	case "act":
		return w.act(o)
	case "arrive":
		w.arrive(o)
	case "commit":
		if members := w.component(); len(members) > 0 {
			w.committed++
			for _, member := range members {
				w.nodes[member].node.Seqno = w.committed
			}
		}
	case "crash":
		w.crash(o)
	case "crash all":
		w.crash(0, 1, 2)
	case "stop":
		members := w.component()
		if m.up && m.node.Phase == Primary {
			m.node.Phase, m.node.SafeToBootstrap = Deciding, len(members) == 1
		}
		m.up, m.looked = false, false
	case "cut":
		m.cut = true
		w.leave(o)
	case "heal":
		for i := range w.nodes {
			w.nodes[i].cut = false
		}
	case "wipe":
		if !m.up {
			m.node = Node{Ordinal: o, Seqno: -1}
		}
	}
	return w.check()
}

// Whatever happens in whatever order: as long as nobody's data is given up by a
// person, what was committed is never forgotten, and there is one primary
// component.
func TestNothingCommittedIsForgotten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for range 80 {
			if err := w.step(t, true); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Whatever has happened, if all data is there and all nodes are up, all of them
// come into one primary component by themselves.
func TestAllComeBackByThemselves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		for range 60 {
			if err := w.step(t, false); err != nil {
				t.Fatal(err)
			}
		}
		before := w.started
		for o := range w.nodes {
			m := &w.nodes[o]
			m.cut = false
			if !m.up {
				m.up, m.node.Phase = true, Deciding
			}
		}
		for range 12 {
			for o := range w.nodes {
				w.look(o)
				if err := w.act(o); err != nil {
					t.Fatal(err)
				}
				w.arrive(o)
			}
		}
		if len(w.component()) != 3 {
			var why string
			for o := range w.nodes {
				w.look(o)
				why += fmt.Sprintf("\nnode %d %s: %s", o, w.nodes[o].node.Phase, Decide(w.nodes[o].view).Reason)
			}
			t.Fatalf("%v are in the primary component%s", w.component(), why)
		}
		if w.started > before+1 {
			t.Fatalf("%d primary components were started", w.started-before)
		}
		if err := w.check(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestMain lets rapid try more than its hundred: one costs a tenth of a millisecond.
func TestMain(m *testing.M) {
	flag.Parse()
	// A failing sequence is printed; files of it would be of the moment.
	if err := errors.Join(flag.Set("rapid.checks", "5000"), flag.Set("rapid.nofailfile", "true")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
