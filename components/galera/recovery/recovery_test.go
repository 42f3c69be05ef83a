package recovery

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const a, b = "6f1c2d3e-0000-11f1-8000-aaaaaaaaaaaa", "6f1c2d3e-0000-11f1-8000-bbbbbbbbbbbb"

// states are what a node may say of itself, but for its ordinal.
func states() []Node {
	all := []Node{
		{Phase: Deciding, Seqno: -1},
		{Phase: Deciding, Seqno: -1, Interrupted: true},
		{Phase: Deciding, UUID: a, Seqno: 1, Interrupted: true},
		{Phase: Deciding, UUID: a, Seqno: -1},
		{Phase: Deciding, UUID: a, Seqno: 1},
		{Phase: Deciding, UUID: a, Seqno: 2},
		{Phase: Deciding, UUID: a, Seqno: 2, SafeToBootstrap: true},
		{Phase: Deciding, UUID: a, Seqno: 3},
		{Phase: Deciding, UUID: b, Seqno: 9, SafeToBootstrap: true},
		{Phase: Joining, UUID: a, Seqno: -1},
		{Phase: Joining, UUID: a, Seqno: -1, Stalled: true},
		{Phase: Bootstrapping, UUID: a, Seqno: 2},
		{Phase: Primary, UUID: a, Seqno: 2},
		{Phase: Primary, UUID: b, Seqno: 9},
		{Phase: NonPrimary, UUID: a, Seqno: 2},
		{Phase: NonPrimary, UUID: a, Seqno: 2, Stalled: true},
	}
	return all
}

func records() []*Record {
	return []*Record{
		nil,
		{},
		{UUID: a, Generation: 1},
		{UUID: a, Generation: 2, Seqnos: map[int]int64{0: 1, 1: 2, 2: 1}},
		{UUID: a, Generation: 2, Seqnos: map[int]int64{2: 3}},
		{UUID: b, Generation: 1, Seqnos: map[int]int64{1: 9}},
	}
}

// every calls f with every situation of three nodes, silent ones included, once
// for each of those that answer, and for each list of what is given up.
func every(t *testing.T, everyLost [][]int, f func(Situation, Decision) string) {
	t.Helper()
	all := states()
	choose := make([]int, 3)
	count, wrong := 0, 0
	for i := range (len(all) + 1) * (len(all) + 1) * (len(all) + 1) {
		rest := i
		known := map[int]Node{}
		for ordinal := range choose {
			if which := rest % (len(all) + 1); which < len(all) {
				n := all[which]
				n.Ordinal = ordinal
				known[ordinal] = n
			}
			rest /= len(all) + 1
		}
		for _, record := range records() {
			for _, lost := range everyLost {
				for self := range known {
					s := Situation{Self: self, Size: 3, Nodes: known, Record: record, Lost: lost}
					d := Decide(s)
					count++
					if why := f(s, d); why != "" {
						if wrong++; wrong < 4 {
							t.Errorf("%s\n%s: %s (%s)", why, show(s), d.Action, d.Reason)
						}
					}
				}
			}
		}
	}
	t.Logf("%d decisions, %d wrong", count, wrong)
}

func show(s Situation) string {
	text := fmt.Sprintf("node %d of", s.Self)
	for o := range s.Size {
		if n, ok := s.Nodes[o]; ok {
			text += fmt.Sprintf("\n  %d %s uuid %.8s.. seqno %d safe %v interrupted %v stalled %v", o, n.Phase, n.UUID, n.Seqno, n.SafeToBootstrap, n.Interrupted, n.Stalled)
		}
	}
	return text + fmt.Sprintf("\n  record %+v, lost %v", s.Record, s.Lost)
}

// What holds in every situation there is: each is a promise to somebody with data.
func TestEverySituation(t *testing.T) {
	properties := map[string]func(Situation, Decision) string{
		"one that runs is never started again": func(s Situation, d Decision) string {
			starts := d.Action == Join || d.Action == Bootstrap
			stops := d.Action == Wait || d.Action == Stop
			if starts && !s.Nodes[s.Self].stopped() || stops && !s.Nodes[s.Self].stopped() || !starts && !stops && s.Nodes[s.Self].stopped() {
				return "the action does not fit the phase"
			}
			return ""
		},
		"where a primary component is, none is started": func(s Situation, d Decision) string {
			if d.Action == Bootstrap && len(s.in(Primary, Bootstrapping, Joining, NonPrimary)) > 0 {
				return "a second primary component"
			}
			return ""
		},
		"no decision without all, but for what is given up": func(s Situation, d Decision) string {
			if d.Action == Bootstrap && len(s.silent()) > 0 {
				return "started without knowing all"
			}
			return ""
		},
		"no decision without the record": func(s Situation, d Decision) string {
			if d.Action == Bootstrap && s.Record == nil {
				return "started without the record"
			}
			return ""
		},
		"an empty node makes a new cluster only where there was none": func(s Situation, d Decision) string {
			if d.Action != Bootstrap || s.Nodes[s.Self].hasData() {
				return ""
			}
			for o := range s.Size {
				if n, ok := s.Nodes[o]; !ok || n.UUID != "" || n.Interrupted {
					return "there is something, or may be"
				}
			}
			if s.Record.UUID != "" || s.Self != 0 {
				return "there was a cluster, or another one makes it too"
			}
			return ""
		},
		"a part of a cluster's data is never the start of one": func(s Situation, d Decision) string {
			if d.Action == Bootstrap && (s.Nodes[s.Self].Interrupted || s.Nodes[s.Self].UUID != "" && s.Nodes[s.Self].Seqno < 0) {
				return "started from a part"
			}
			return ""
		},
		"a foreign node neither starts a cluster nor is overwritten": func(s Situation, d Decision) string {
			self := s.Nodes[s.Self]
			if !self.hasData() {
				return ""
			}
			if d.Action == Bootstrap && s.Record.UUID != "" && s.Record.UUID != self.UUID {
				return "another cluster than the recorded one"
			}
			for _, p := range s.in(Primary) {
				if d.Action == Join && p.UUID != self.UUID {
					return "its data would be replaced"
				}
			}
			if d.Action == Bootstrap {
				for _, n := range s.in(Deciding) {
					if n.hasData() && n.UUID != self.UUID && !slices.Contains(s.Lost, n.Ordinal) {
						return "two clusters, and nobody chose"
					}
				}
			}
			return ""
		},
		"the most advanced": func(s Situation, d Decision) string {
			if d.Action != Bootstrap {
				return ""
			}
			self := s.Nodes[s.Self]
			for o, n := range s.Nodes {
				if n.hasData() && n.UUID == self.UUID && n.Seqno > self.Seqno {
					return fmt.Sprintf("node %d has more", o)
				}
			}
			return ""
		},
		"no transaction that was seen is given up by itself": func(s Situation, d Decision) string {
			if d.Action != Bootstrap {
				return ""
			}
			for o, seen := range s.Record.Seqnos {
				if seen > s.Nodes[s.Self].Seqno && !slices.Contains(s.Lost, o) {
					return fmt.Sprintf("node %d was seen with more", o)
				}
			}
			for _, n := range s.in(Deciding) {
				if n.UUID == s.Nodes[s.Self].UUID && n.hasData() && n.Seqno < 0 && !slices.Contains(s.Lost, n.Ordinal) {
					return fmt.Sprintf("node %d may have more", n.Ordinal)
				}
				if _, member := s.Record.Seqnos[n.Ordinal]; member && n.UUID == "" && !n.Interrupted && !slices.Contains(s.Lost, n.Ordinal) && s.Nodes[s.Self].UUID != "" {
					return fmt.Sprintf("node %d has lost its volume", n.Ordinal)
				}
			}
			return ""
		},
		"data that is ahead is never overwritten": func(s Situation, d Decision) string {
			if d.Action != Join || !s.Nodes[s.Self].hasData() {
				return ""
			}
			for _, p := range s.in(Primary) {
				if p.Seqno >= s.Nodes[s.Self].Seqno {
					return ""
				}
			}
			return "it has more than those that run"
		},
		"one joins at a time": func(s Situation, d Decision) string {
			if d.Action == Join && len(s.in(Joining)) > 0 {
				return "a second one joins"
			}
			return ""
		},
		"at most one of those who know the same starts or joins, and someone does who may": func(s Situation, d Decision) string {
			if first := s.in(Deciding); len(first) == 0 || first[0].Ordinal != s.Self {
				return "" // once for all of them
			}
			starts, wait, stop := 0, 0, 0
			for _, n := range s.in(Deciding) {
				peer := s
				peer.Self = n.Ordinal
				switch Decide(peer).Action {
				case Bootstrap, Join:
					starts++
				case Wait:
					wait++
				case Stop:
					stop++
				}
			}
			if starts > 1 {
				return fmt.Sprintf("%d of them", starts)
			}
			if wait > 0 && starts+stop == 0 && s.Record != nil && len(s.silent()) == 0 && len(s.in(Joining, Bootstrapping, NonPrimary)) == 0 && len(s.in(Deciding, Primary)) == s.Size {
				return "all wait for each other"
			}
			return ""
		},
		"a server in a primary component is never ended": func(s Situation, d Decision) string {
			if d.Action == Leave && (s.Nodes[s.Self].Phase == Primary || s.Nodes[s.Self].Phase == Bootstrapping || len(s.in(Primary)) > 0 || len(s.silent()) > 0) {
				return "ended"
			}
			return ""
		},
		"a reason is given": func(_ Situation, d Decision) string {
			if d.Reason == "" || d.Action == "" {
				return "none"
			}
			return ""
		},
	}
	every(t, [][]int{nil, {0}, {2}, {0, 1}}, func(s Situation, d Decision) string {
		for name, property := range properties {
			if why := property(s, d); why != "" {
				return name + ": " + why
			}
		}
		return ""
	})
}

// Those who see different parts of the cluster start at most one primary
// component, as long as nothing was given up.
func TestWhoSeesAPartStartsNothing(t *testing.T) {
	every(t, [][]int{nil}, func(s Situation, d Decision) string {
		if d.Action != Bootstrap {
			return ""
		}
		for other := range s.Nodes {
			for _, hidden := range []int{0, 1, 2, -1} {
				if other == s.Self || other == hidden {
					continue
				}
				view := s
				view.Self, view.Nodes = other, map[int]Node{}
				for o, n := range s.Nodes {
					if o != hidden {
						view.Nodes[o] = n
					}
				}
				if Decide(view).Action == Bootstrap {
					return fmt.Sprintf("node %d starts one too when it does not see node %d", other, hidden)
				}
			}
		}
		return ""
	})
}

// The cases that people know by name.
func TestDecide(t *testing.T) {
	stopped := func(seqno int64) Node { return Node{Phase: Deciding, UUID: a, Seqno: seqno} }
	empty := Node{Phase: Deciding, Seqno: -1}
	primary := Node{Phase: Primary, UUID: a, Seqno: 50}
	known := &Record{UUID: a, Generation: 1, Seqnos: map[int]int64{0: 10, 1: 10, 2: 10}}
	for _, c := range []struct {
		name   string
		nodes  []*Node
		record *Record
		lost   []int
		want   string // of each node that answers
	}{
		{"first start", []*Node{&empty, &empty, &empty}, &Record{}, nil, "bootstrap wait wait"},
		{"first start, one is late", []*Node{&empty, &empty, nil}, &Record{}, nil, "wait wait"},
		{"first start, the others follow", []*Node{&primary, &empty, &empty}, &Record{UUID: a}, nil, "stay join wait"},
		{"all dead at once", []*Node{ptr(stopped(11)), ptr(stopped(13)), ptr(stopped(12))}, known, nil, "wait bootstrap wait"},
		{"all dead, the newest is not back", []*Node{ptr(stopped(11)), nil, ptr(stopped(12))}, known, nil, "wait wait"},
		{"all dead, one given up", []*Node{ptr(stopped(11)), nil, ptr(stopped(12))}, known, []int{1}, "wait bootstrap"},
		{"all dead, one given up that is back with more", []*Node{ptr(stopped(11)), ptr(stopped(13)), ptr(stopped(12))}, known, []int{1}, "wait bootstrap wait"},
		{"all dead, one volume lost", []*Node{ptr(stopped(11)), ptr(empty), ptr(stopped(12))}, known, nil, "stop stop stop"},
		{"all dead, one volume lost and given up", []*Node{ptr(stopped(11)), ptr(empty), ptr(stopped(12))}, known, []int{1}, "wait wait bootstrap"},
		{"all volumes lost", []*Node{&empty, &empty, &empty}, known, nil, "stop stop stop"},
		{"shut down in order", []*Node{ptr(stopped(11)), ptr(Node{Phase: Deciding, UUID: a, Seqno: 12, SafeToBootstrap: true}), ptr(stopped(12))}, known, nil, "wait bootstrap wait"},
		{"one back", []*Node{&primary, ptr(stopped(40)), &primary}, known, nil, "stay join stay"},
		{"one back that is ahead", []*Node{&primary, ptr(stopped(51)), &primary}, known, nil, "stay stop stay"},
		{"a foreign one among them", []*Node{ptr(stopped(11)), ptr(Node{Phase: Deciding, UUID: b, Seqno: 99}), ptr(stopped(12))}, known, nil, "stop stop stop"},
		{"a transfer was cut short", []*Node{ptr(stopped(11)), ptr(Node{Phase: Deciding, Seqno: -1, Interrupted: true}), ptr(stopped(12))}, known, nil, "wait wait bootstrap"},
		{"the quorum went, one still runs", []*Node{{Phase: NonPrimary, UUID: a, Seqno: 12}, ptr(stopped(12)), ptr(stopped(11))}, known, nil, "leave wait wait"},
		{"the minority", []*Node{{Phase: NonPrimary, UUID: a, Seqno: 12, Stalled: true}, nil, nil}, known, nil, "stay"},
		{"the node that was chosen has lost its data since", []*Node{ptr(stopped(9)), ptr(stopped(9)), ptr(stopped(9))}, known, nil, "stop stop stop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := Situation{Size: 3, Nodes: map[int]Node{}, Record: c.record, Lost: c.lost}
			for o, n := range c.nodes {
				if n != nil {
					s.Nodes[o] = *n
					copied := s.Nodes[o]
					copied.Ordinal = o
					s.Nodes[o] = copied
				}
			}
			got, reasons := "", ""
			for o := range c.nodes {
				if _, ok := s.Nodes[o]; ok {
					s.Self = o
					d := Decide(s)
					got += " " + string(d.Action)
					reasons += "\n" + d.Reason
				}
			}
			assert.Equal(t, " "+c.want, got, reasons)
		})
	}
	d := Decide(Situation{Self: 3, Size: 3, Nodes: map[int]Node{3: stopped(1)}, Record: known})
	assert.Equal(t, Stop, d.Action)
}

func TestRecordAfterAStart(t *testing.T) {
	nodes := map[int]Node{0: {UUID: a, Seqno: 12}, 1: {UUID: a, Seqno: 11}, 2: {Interrupted: true, Seqno: -1}}
	next := Record{UUID: a, Generation: 4, Seqnos: map[int]int64{0: 10, 1: 10, 2: 10, 3: 20}}.Bootstrapped(nodes[0], nodes, []int{3})
	require.Equal(t, Record{UUID: a, Generation: 5, Seqnos: map[int]int64{0: 12, 1: 11, 2: 10}}, next)
	require.Equal(t, Record{Generation: 1, Seqnos: map[int]int64{}}, Record{}.Bootstrapped(Node{}, nodes, nil))
}

func ptr(n Node) *Node { return &n }
