package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/halinux/halinux/components/galera/pod"
	"github.com/halinux/halinux/components/galera/recovery"
)

// node is one node of the cluster.
type node struct {
	settings settings
	api      *api
	peers    *peers
	server   *server
	log      *slog.Logger
	writer   writer

	mu       sync.Mutex
	self     recovery.Node
	decision recovery.Decision // the last one, for people
	serving  bool              // clients may be sent here
	answered time.Time         // when the server last answered
	status   state             // and what it said then
	writes   bool              // the pod has the writer's label
	backups  []cronJob
	donor    bool
	// unrecorded: the cluster is new, and nobody but this node knows of it. Clients
	// wait: what they wrote would be taken for a first start that was cut short.
	unrecorded bool
}

func newNode(s settings, a *api, log *slog.Logger) *node {
	return &node{
		settings: s, api: a, peers: newPeers(s), log: log,
		self: recovery.Node{Ordinal: s.ordinal, Phase: recovery.Deciding, Seqno: -1},
	}
}

// state is what the node says of itself to others.
func (n *node) state() recovery.Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.self
}

func (n *node) set(change func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change()
}

// run is the node's life: decide, run the server, and again when it has ended.
func (n *node) run(ctx context.Context) error {
	var err error
	if n.server, err = newServer(n.settings); err != nil {
		return err
	}
	// What is in the folder is known before anybody is answered: an unknown
	// position would look like a lost one.
	first, err := n.server.inspect(ctx)
	if err != nil {
		return err
	}
	n.set(func() { n.self = first })
	answering, done := context.WithCancel(context.Background())
	group, answering := errgroup.WithContext(answering)
	group.Go(func() error { return n.peers.serve(answering, n.state) })
	group.Go(func() error { return n.check(answering) })
	group.Go(func() error { return n.watchBackups(answering) })
	group.Go(func() error {
		defer done()
		return n.live(ctx, answering)
	})
	return group.Wait()
}

// live decides and runs the server until the context ends, or what answers others
// cannot go on.
func (n *node) live(ctx, answering context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(answering, cancel)()
	rest := n.settings.rest
	for ctx.Err() == nil {
		d, r := n.wait(ctx)
		if ctx.Err() != nil {
			break
		}
		began := time.Now()
		err := n.serve(ctx, d, r)
		endOrphans()
		if ctx.Err() != nil {
			break
		}
		if time.Since(began) > time.Minute {
			rest = n.settings.rest
		}
		n.log.Warn("the server has ended", "error", err, "rest", rest.String())
		after, err := n.server.inspect(ctx)
		if err != nil {
			n.log.Error("what the folder holds cannot be told", "error", err)
		}
		after.Resting = true
		n.set(func() { n.self = after })
		pause(ctx, rest)
		rest = min(2*rest, time.Minute)
		n.set(func() { n.self.Resting = false })
	}
	return nil
}

// pause waits, or returns at the end of the context.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// look gathers all that a decision needs. The record is read before the nodes are
// asked: who has started a component since then has changed it.
func (n *node) look(ctx context.Context) (recovery.Situation, *record) {
	s := recovery.Situation{Self: n.settings.ordinal, Size: len(n.settings.peers)}
	r, err := n.api.read(ctx)
	if err == nil {
		s.Record, s.Lost = &r.Record, r.lost
	} else if ctx.Err() == nil {
		n.log.Warn("the record cannot be read", "error", err)
	}
	s.Nodes = n.peers.ask(ctx)
	s.Nodes[s.Self] = n.state()
	return s, r
}

// decided notes a decision, and says it once.
func (n *node) decided(d recovery.Decision) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if d != n.decision {
		n.decision = d
		n.log.Info("decision", "action", d.Action, "reason", d.Reason)
	}
}

// wait decides again and again until the server is to be started. A component is
// only started when nobody has changed the record since it was read.
func (n *node) wait(ctx context.Context) (recovery.Decision, *record) {
	for {
		s, r := n.look(ctx)
		d := recovery.Decide(s)
		n.decided(d)
		switch d.Action {
		case recovery.Join:
			n.set(func() { n.self.Phase = recovery.Joining })
			return d, r
		case recovery.Bootstrap:
			// Said before it is written: who reads the record later sees it.
			n.set(func() { n.self.Phase = recovery.Bootstrapping })
			r.Record, r.lost = r.Bootstrapped(s.Nodes[s.Self], s.Nodes, s.Lost), nil
			err := n.api.write(ctx, r)
			if err == nil {
				return d, r
			}
			n.set(func() { n.self.Phase = recovery.Deciding })
			n.log.Warn("the record was changed by another node, or cannot be written", "error", err)
		}
		pause(ctx, n.settings.interval)
		if ctx.Err() != nil {
			return d, r
		}
	}
}

// serve runs the server until it ends, or is to be ended.
func (n *node) serve(ctx context.Context, d recovery.Decision, _ *record) error {
	self := n.state()
	bootstrap := d.Action == recovery.Bootstrap
	var err error
	switch {
	case bootstrap && self.UUID == "":
		n.set(func() { n.unrecorded = true })
		err = n.server.create(ctx)
	case bootstrap:
		err = n.server.allow(self)
	case self.UUID == "" && !self.Interrupted:
		err = n.server.clear()
	}
	if err != nil {
		return err
	}
	if err := n.server.start(self, bootstrap); err != nil {
		return err
	}
	ticker := time.NewTicker(n.settings.interval)
	defer ticker.Stop()
	seen := time.Now() // when somebody was in a primary component
	recorded := false
	for {
		select {
		case <-n.server.ended:
			n.set(func() { n.serving = false })
			return fmt.Errorf("mariadbd: %v", n.server.err)
		case <-ctx.Done():
			n.set(func() { n.serving = false })
			release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*n.settings.interval)
			n.release(release)
			cancel()
			// Services forget the pod a moment later.
			pause(context.WithoutCancel(ctx), 2*n.settings.interval)
			n.log.Info("ending the server")
			n.server.stop()
			return ctx.Err()
		case <-ticker.C:
		}
		n.observe(ctx)
		if n.state().Phase == recovery.Primary {
			seen = time.Now()
			if !recorded {
				recorded = n.note(ctx)
			}
			n.elect(ctx)
			continue
		}
		s, _ := n.look(ctx)
		for _, peer := range s.Nodes {
			if peer.Phase == recovery.Primary {
				seen = time.Now()
			}
		}
		stalled := time.Since(seen) > n.settings.patience
		n.set(func() { n.self.Stalled = stalled })
		s.Nodes[s.Self] = n.state()
		leave := recovery.Decide(s)
		n.decided(leave)
		if leave.Action == recovery.Leave {
			n.server.stop()
			return fmt.Errorf("left: %s", leave.Reason)
		}
	}
}

// observe asks the server how it is.
func (n *node) observe(ctx context.Context) {
	st, err := n.server.ask(ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err != nil {
		// While a state transfer fills the folder, and InnoDB recovers, nobody can
		// be asked; what was known of a server that was there stays.
		if time.Since(n.answered) > 10*n.settings.interval {
			n.serving = false
		}
		return
	}
	n.answered, n.status = time.Now(), st
	n.donor = st.local == 2
	was := n.self.Phase
	switch {
	case st.primary && (st.local == 4 || st.local == 2):
		n.self.Phase, n.self.Stalled, n.self.Interrupted = recovery.Primary, false, false
	case !st.primary && was == recovery.Primary:
		n.self.Phase = recovery.NonPrimary
	}
	if st.primary && st.uuid != zeroUUID && n.self.Phase == recovery.Primary {
		n.self.UUID, n.self.Seqno = st.uuid, st.seqno
	}
	if was != n.self.Phase {
		n.log.Info("phase", "is", n.self.Phase, "was", was, "uuid", n.self.UUID, "seqno", n.self.Seqno)
	}
	// A donor of mariadb-backup serves on. Where it is the only one that has data,
	// nobody else could.
	n.serving = st.primary && st.ready && n.self.Phase == recovery.Primary && !n.unrecorded
}

// note writes down that this node is a member, and how far it has come.
func (n *node) note(ctx context.Context) bool {
	r, err := n.api.read(ctx)
	if err != nil {
		n.log.Warn("the record cannot be read", "error", err)
		return false
	}
	self := n.state()
	if r.UUID != "" && r.UUID != self.UUID {
		n.log.Error("this is another cluster than the recorded one", "uuid", self.UUID, "record", r.UUID)
		return false
	}
	seqnos := maps.Clone(r.Seqnos)
	if seqnos == nil {
		seqnos = map[int]int64{}
	}
	r.UUID, seqnos[self.Ordinal] = self.UUID, max(self.Seqno, seqnos[self.Ordinal])
	r.Seqnos = seqnos
	if err := n.api.write(ctx, r); err != nil {
		n.log.Warn("the record cannot be written", "error", err)
		return false
	}
	if err := n.server.finished(); err != nil {
		n.log.Error("the folder", "error", err)
		return false
	}
	n.set(func() { n.unrecorded = false })
	return true
}

// check answers the kubelet and Prometheus. A node that decides, joins, or gives its state to
// another one is alive, however long it takes: killing it would begin the same
// anew. Dead is a server that has answered before and has not for two minutes.
func (n *node) check(ctx context.Context) error {
	listener, err := net.Listen("tcp", net.JoinHostPort(n.settings.ip, strconv.Itoa(pod.PortCheck)))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, good bool) {
		n.mu.Lock()
		defer n.mu.Unlock()
		if !good {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintf(w, "%s: %s (%s)\n", n.self.Phase, n.decision.Action, n.decision.Reason)
	}
	registry, err := n.registry()
	if err != nil {
		return err
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		n.mu.Lock()
		good := n.serving
		n.mu.Unlock()
		answer(w, good)
	})
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) {
		n.mu.Lock()
		runs := n.self.Phase == recovery.Primary || n.self.Phase == recovery.NonPrimary
		good := !runs || n.donor || time.Since(n.answered) < 120*n.settings.interval
		n.mu.Unlock()
		answer(w, good)
	})
	return serve(ctx, listener, mux)
}
