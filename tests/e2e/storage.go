package e2e

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/halinux/halinux/tests/e2e/sampler"
	"github.com/halinux/halinux/tests/e2e/writer"
	"github.com/halinux/halinux/tests/report"
)

const (
	// storageGroup is the lab's group of storage hosts and NFS clients, and the
	// hosts' role.
	storageGroup = "storage"
	// storageKey is where the storage stands in the settings.
	storageKey = "halinux:storage"
)

// store is what a storage scenario works with.
type store struct {
	*Bed
	name      string   // of the cluster, and of its DRBD resource
	vip       string   // where clients mount
	hosts     []string // the two storage hosts
	witnesses []string // the first one has the vote
	clients   []string // the two hosts that mount
	project   string   // the one that is written to
	small     string   // another one, which may be filled
	quota     int      // of the small one, in MiB
	volume    string   // group/volume below the replica
	options   string   // of a mount
	writer    string   // programs, to be copied to hosts
	writerAt  string   // where the writer is on the clients
	sampler   string
	scenario  string // what the report says the running scenario does
	id        string
}

// storageOf is the storage as the platform's settings have it, for a look at it.
func (b *Bed) storageOf(f *facts) *store {
	s := &store{Bed: b, name: cmp.Or(f.Storage.Name, "nfs"), vip: f.Storage.VIP, volume: f.Storage.Volume, writerAt: writerPath}
	for _, h := range f.Hosts {
		if slices.Contains(h.Roles, cmp.Or(f.Storage.Role, storageGroup)) {
			s.hosts = append(s.hosts, h.Name)
		}
	}
	slices.Sort(s.hosts)
	return s
}

// store is the storage with all that its scenarios need.
func (b *Bed) store(t testing.TB, f *facts) *store {
	t.Helper()
	s := b.storageOf(f)
	if len(s.hosts) != 2 || len(f.Storage.Witnesses) == 0 || len(f.Storage.Projects) < 2 || s.vip == "" {
		t.Fatalf("the scenarios need two storage hosts, a witness, a VIP and two projects in %s; found %+v", b.settingsFile(), f.Storage)
	}
	s.witnesses = f.Storage.Witnesses
	for name, h := range b.topology.Hosts {
		if h.Group == storageGroup && !slices.Contains(s.hosts, name) {
			s.clients = append(s.clients, name)
		}
	}
	slices.Sort(s.clients)
	if len(s.clients) < 2 {
		t.Fatalf("the lab's group %s has the NFS clients %v, not two", storageGroup, s.clients)
	}
	// The smallest project can be filled soonest; the largest is written to.
	projects := slices.Clone(f.Storage.Projects)
	slices.SortFunc(projects, func(a, b storageProject) int { return a.Quota - b.Quota })
	s.small, s.quota, s.project = projects[0].Name, projects[0].Quota, projects[len(projects)-1].Name
	s.options = b.output(t, "storageMountOptions")
	s.writer, s.sampler = b.build(t, "./tests/e2e/writer/cmd/writer"), b.build(t, "./tests/e2e/sampler/cmd/sampler")
	return s
}

// other is the storage host that is not the one.
func (s *store) other(host string) string {
	if s.hosts[0] == host {
		return s.hosts[1]
	}
	return s.hosts[0]
}

// size is what the volume below the replica has, in MiB: growing cannot be taken
// back, so it may be more than the settings say.
func (s *store) size() (int, error) {
	out, err := s.try(s.hosts[0], "lvs --noheadings --nosuffix --units m -o lv_size "+s.volume)
	if err != nil {
		return 0, err
	}
	mib, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
	return int(mib), err
}

// sized are the settings with as many MiB more as are given than the volume has.
func (s *store) sized(t testing.TB, more int) []Change {
	t.Helper()
	mib, err := s.size()
	if err != nil {
		t.Fatalf("the size of %s: %v", s.volume, err)
	}
	var changes []Change
	for _, h := range s.hosts {
		changes = append(changes, Set(mib+more, storageKey, "disks", h, "groups", "0", "volumes", "0", "size"))
	}
	return changes
}

// build compiles one of the programs that run on hosts.
func (b *Bed) build(t testing.TB, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	c := exec.Command("go", "build", "-o", path, pkg)
	c.Dir, c.Env = b.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return path
}

// ---- the cluster's health ------------------------------------------------------

// clusterState is what crm_mon says, as far as it is asked for.
type clusterState struct {
	Nodes []struct {
		Name    string `xml:"name,attr"`
		Online  bool   `xml:"online,attr"`
		Unclean bool   `xml:"unclean,attr"`
		Standby bool   `xml:"standby,attr"`
		Pending bool   `xml:"pending,attr"`
	} `xml:"nodes>node"`
	Groups []struct {
		Resources []clusterResource `xml:"resource"`
	} `xml:"resources>group"`
	Clones []struct {
		Resources []clusterResource `xml:"resource"`
	} `xml:"resources>clone"`
	Resources []clusterResource `xml:"resources>resource"`
	Bans      []struct {
		ID string `xml:"id,attr"`
	} `xml:"bans>ban"`
	Failures []struct {
		Op string `xml:"op_key,attr"`
	} `xml:"failures>failure"`
}

type clusterResource struct {
	ID     string `xml:"id,attr"`
	Role   string `xml:"role,attr"`
	Active bool   `xml:"active,attr"`
	Failed bool   `xml:"failed,attr"`
	Node   struct {
		Name string `xml:"name,attr"`
	} `xml:"node"`
}

// all resources, members of groups and instances of clones too.
func (c clusterState) all() []clusterResource {
	all := slices.Clone(c.Resources)
	for _, g := range append(c.Groups, c.Clones...) {
		all = append(all, g.Resources...)
	}
	return all
}

func parseCluster(text string) (clusterState, error) {
	var c clusterState
	err := xml.Unmarshal([]byte(text), &c)
	return c, err
}

// whole says what keeps the cluster from being as it was made, or nil.
func (c clusterState) whole(hosts []string) error {
	online := 0
	for _, n := range c.Nodes {
		switch {
		case !n.Online || n.Pending:
			return fmt.Errorf("%s is not in the cluster", n.Name)
		case n.Unclean:
			return fmt.Errorf("%s is unclean", n.Name)
		case n.Standby:
			return fmt.Errorf("%s is standby", n.Name)
		}
		online++
	}
	if online != len(hosts) {
		return fmt.Errorf("the cluster has %d hosts, not %d", online, len(hosts))
	}
	resources := c.all()
	promoted := 0
	for _, r := range resources {
		if !r.Active || r.Failed {
			return fmt.Errorf("%s is %s, active %t, failed %t", r.ID, r.Role, r.Active, r.Failed)
		}
		if r.Role == "Promoted" {
			promoted++
		}
	}
	if promoted != 1 || len(resources) < 4 {
		return fmt.Errorf("%d resources, %d promoted", len(resources), promoted)
	}
	for _, b := range c.Bans {
		// Ours keep a host's fencing device off the host itself.
		if !strings.HasPrefix(b.ID, "halinux-") {
			return fmt.Errorf("a constraint stands: %s", b.ID)
		}
	}
	return nil
}

const clusterXML = "crm_mon --output-as=xml --one-shot --inactive --include=none,nodes,resources,bans,failures\n"

// cluster asks a host what it knows of the cluster.
func (s *store) cluster(host string) (clusterState, error) {
	out, err := s.try(host, clusterXML)
	if err != nil {
		return clusterState{}, err
	}
	return parseCluster(out)
}

// primary is the host that serves, as either host knows it.
func (s *store) primary() (string, error) {
	var errs []error
	for _, h := range s.hosts {
		out, err := s.try(h, "grep -q ' ro:Primary/' /proc/drbd && ip -4 -o address show to "+s.vip)
		if err == nil && strings.Contains(out, s.vip) {
			return h, nil
		}
		errs = append(errs, fmt.Errorf("%s does not serve: %w", h, cmp.Or(err, errors.New("no VIP"))))
	}
	return "", errors.Join(errs...)
}

// serving waits for the host that serves.
func (s *store) serving(t testing.TB) string {
	t.Helper()
	host := ""
	Until(t, time.Minute, "a host that serves", func() (err error) {
		host, err = s.primary()
		return err
	})
	return host
}

// bootID tells one boot of a host from the next.
func (s *store) bootID(host string) (string, error) {
	out, err := s.try(host, "cat /proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(out), err
}

// votes that the cluster's hosts and the witness give in all.
const votes = 3

// Whole says what keeps the storage from surviving the next fault, or nil: both
// hosts in the cluster, all resources started, the replicas equal, the witness
// heard, the arrays complete.
func (s *store) Whole() error {
	for _, h := range s.hosts {
		out, err := s.try(h, clusterXML+"echo; echo ==; cat /proc/drbd; echo ==; corosync-quorumtool -s | sed -n 's/^Total votes: *//p'; cat /proc/mdstat")
		if err != nil {
			return err
		}
		parts := strings.SplitN(out, "\n==\n", 3)
		if len(parts) != 3 {
			return fmt.Errorf("%s: %q", h, out)
		}
		c, err := parseCluster(parts[0])
		if err == nil {
			err = c.whole(s.hosts)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", h, err)
		}
		if !strings.Contains(parts[1], "cs:Connected") || !strings.Contains(parts[1], "ds:UpToDate/UpToDate") {
			return fmt.Errorf("%s: the replicas: %s", h, parts[1])
		}
		heard, arrays, _ := strings.Cut(parts[2], "\n")
		if strings.TrimSpace(heard) != fmt.Sprint(votes) {
			return fmt.Errorf("%s: %s votes, not %d", h, heard, votes)
		}
		if strings.Contains(arrays, "_]") || strings.Contains(arrays, "[_") || strings.Contains(arrays, "recovery") {
			return fmt.Errorf("%s: an array is not complete: %s", h, arrays)
		}
	}
	_, err := s.primary()
	return err
}

// ready waits until the storage is whole: no scenario starts on one that is not.
func (s *store) ready(t testing.TB) {
	t.Helper()
	if err := s.Whole(); err != nil {
		t.Logf("not whole: %v", err)
		s.Restore(t)
	}
	for _, c := range s.clients {
		if err := s.mount(c); err != nil {
			t.Fatal(err)
		}
	}
}

// paced looks at a condition once a second at most: each look is a login and some
// programs on a virtual machine that is busy becoming well.
func paced(holds condition) condition {
	var looked time.Time
	var last error
	return func() error {
		if last == nil || time.Since(looked) >= time.Second {
			last = holds()
			looked = time.Now()
		}
		return last
	}
}

// Restore takes back what a scenario did, and waits until the cluster is whole.
func (s *store) Restore(t testing.TB) (helped bool) {
	t.Helper()
	s.Lab(t, "heal")
	s.Lab(t, "up", storageGroup)
	for _, h := range s.hosts {
		_, _ = s.try(h, "crm_standby --delete --node "+h+" || :; crm_resource --clear --resource "+s.name+"-drbd || :")
	}
	started := time.Now()
	if _, err := poll(4*time.Minute, paced(s.wholeOrHelped(t, &helped))); err != nil {
		t.Logf("not whole four minutes after the heal: %v", err)
		// As a user would, with open eyes.
		helped = true
		changes := []Change{Set("detect", "halinux:drift")}
		if _, err := s.size(); err == nil {
			changes = append(changes, s.sized(t, 0)...)
		}
		if r := s.Do(t, "up", changes...); r.Code != 0 {
			t.Logf("up failed:\n%s", tail(r.Output()))
		}
		if _, err := poll(3*time.Minute, paced(s.Whole)); err != nil {
			s.broken = fmt.Sprintf("after %s: %v", t.Name(), err)
			t.Error(s.broken)
			return helped
		}
	}
	t.Logf("whole again %.0f s after the heal", time.Since(started).Seconds())
	for _, c := range s.clients {
		if err := s.mount(c); err != nil {
			s.broken = fmt.Sprintf("after %s: %v", t.Name(), err)
			t.Error(s.broken)
		}
	}
	return helped
}

// wholeOrHelped also does once, after a while (a host boots, and SBD lets it wait
// for longer than a fencing takes), what a person would: it forgets
// failures, and lets go of a constraint that DRBD calls no handler for.
func (s *store) wholeOrHelped(t testing.TB, helped *bool) condition {
	started := time.Now()
	return func() error {
		err := s.Whole()
		if err == nil || *helped || time.Since(started) < 90*time.Second {
			return err
		}
		*helped = true
		t.Logf("not whole by itself after %.0f s (%v): cleaning up by hand", time.Since(started).Seconds(), err)
		for _, h := range s.hosts {
			out, err := s.try(h, "crm_resource --cleanup 2>&1; /usr/local/lib/halinux/drbd-unfence-peer "+s.name+" 2>&1 || :")
			if err != nil {
				t.Logf("%s: %v %s", h, err, out)
			}
		}
		return errors.New("helped")
	}
}

// ---- clients ----------------------------------------------------------------------

const (
	writerPath  = "/run/halinux-writer"
	samplerPath = "/run/halinux-sampler"
)

// mount mounts both projects on a client, unless they are.
func (s *store) mount(client string) error {
	for _, p := range []string{s.project, s.small} {
		_, err := s.try(client, fmt.Sprintf("mkdir -p /mnt/%[1]s; mountpoint -q /mnt/%[1]s || timeout 50 mount -t nfs4 -o %[2]s %[3]s:/srv/%[4]s/%[1]s /mnt/%[1]s", p, s.options, s.vip, s.name))
		if err != nil {
			return err
		}
	}
	return s.install(client, s.writer, s.writerAt)
}

// running is one writer on one host.
type running struct {
	*remote
	mode, path, run string
	mu              sync.Mutex
	log             writer.Log
	heard           time.Time
}

// said is a copy of what it has said so far.
func (r *running) said() writer.Log {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.log
	l.Acks, l.Errors, l.Attempts = slices.Clone(l.Acks), slices.Clone(l.Errors), maps.Clone(l.Attempts)
	return l
}

// start starts a writer on a client.
func (s *store) start(t testing.TB, client, mode, path string) *running {
	t.Helper()
	w := &running{mode: mode, path: path, run: fmt.Sprintf("%s-%d", mode, time.Now().UnixMicro()%1e9)}
	every := "20ms"
	if mode == writer.Try {
		every = "200ms"
	}
	r, err := s.stream(client, []string{s.writerAt, "-mode", mode, "-path", path, "-run", w.run, "-every", every, "-time", "30m"}, func(text []byte) {
		at := time.Now()
		var line writer.Line
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.heard = at; json.Unmarshal(text, &line) == nil {
			w.log.Hear(line, at)
		}
	})
	if err != nil {
		t.Fatalf("a writer on %s: %v", client, err)
	}
	w.remote = r
	t.Cleanup(func() { r.end(); r.drop(); <-r.done })
	return w
}

// work is W: what is written by two clients while something happens, and who
// asks for a lock that another one holds.
type work struct {
	s         *store
	writers   []*running // fsync and lock on the first client, append on the second
	contender *running
	watch     *watch
	boots     map[string]string // of the storage hosts, as the work began
}

// work starts the writers, and the samplers of both storage hosts.
func (s *store) work(t testing.TB) *work {
	t.Helper()
	boots := map[string]string{}
	for _, h := range s.hosts {
		boot, err := s.bootID(h)
		if err != nil {
			t.Fatal(err)
		}
		boots[h] = boot
	}
	watch := s.watch(t)
	w := s.write(t, "/mnt/"+s.project)
	w.watch, w.boots = watch, boots
	return w
}

// write starts the writers in a folder that both clients see.
func (s *store) write(t testing.TB, dir string) *work {
	t.Helper()
	w := &work{s: s}
	w.writers = []*running{
		s.start(t, s.clients[0], writer.Fsync, dir+"/fsync"),
		s.start(t, s.clients[0], writer.Lock, dir+"/lock"),
		s.start(t, s.clients[1], writer.Append, dir+"/append"),
	}
	Until(t, time.Minute, "the lock to be held", func() error {
		if w.writers[1].said().Attempts[writer.Held] == 0 {
			return fmt.Errorf("not yet (%v)", w.writers[1].err)
		}
		return nil
	})
	w.contender = s.start(t, s.clients[1], writer.Try, dir+"/lock")
	w.Steady(t, time.Minute)
	return w
}

// Steady waits until each writer has had twenty acknowledgements one after the
// other without a break of a second, and the contender an answer.
func (w *work) Steady(t testing.TB, deadline time.Duration) {
	t.Helper()
	from := time.Now()
	Until(t, deadline, "all writers to go on", func() error {
		for _, r := range append(slices.Clone(w.writers), w.contender) {
			select {
			case <-r.done:
				return fmt.Errorf("%s on %s has ended: %v", r.mode, r.host, r.err)
			default:
			}
			l := r.said()
			if r == w.contender {
				if l.Attempts[writer.Refused]+l.Attempts[writer.Granted] == 0 {
					return fmt.Errorf("no answer to who asks for the lock: %v", l.Errors)
				}
				continue
			}
			if len(l.Errors) > 0 {
				continue // as after a lost lock, for ever; Stop says so
			}
			n := 0
			for i := len(l.Acks) - 1; i > 0 && l.Acks[i].At.After(from) && l.Acks[i].At.Sub(l.Acks[i-1].At) < time.Second; i-- {
				n++
			}
			if n < 20 || time.Since(l.Acks[len(l.Acks)-1].At) > time.Second {
				return fmt.Errorf("%s on %s: %d acknowledgements in a row", r.mode, r.host, n)
			}
		}
		return nil
	})
}

// result is what the writers noticed, and what another client found of it.
type result struct {
	stall            writer.Stall // the longest of all
	lost, errors     int
	granted, refused int // of attempts at the lock while it was held
	note             string
}

// uncached reads a file with nothing in the cache.
const uncached = "echo 3 >/proc/sys/vm/drop_caches; cat "

// readOrGone reads a file, and nothing when its folder, which can be read, does not
// have it: then none of its records is there. Any other failure is the reader's.
func readOrGone(read, path string) string {
	return fmt.Sprintf("%s%s || { names=$(ls -1 %s) && ! printf '%%s\\n' \"$names\" | grep -qxF %s; }", read, path, filepath.Dir(path), filepath.Base(path))
}

// judge ends the writers and looks for every acknowledged record on the client
// that did not write it.
func (w *work) judge(t testing.TB, read string) result {
	t.Helper()
	s := w.s
	now := time.Now()
	c := w.contender.said() // as long as the holder is there
	r := result{granted: c.Attempts[writer.Granted], refused: c.Attempts[writer.Refused]}
	var notes []string
	for _, x := range w.writers {
		l := x.said()
		if st := l.LongestStall(now); st.For > r.stall.For {
			r.stall = st
		}
		x.end()
	}
	for i, x := range w.writers {
		select {
		case <-x.done:
		case <-time.After(2 * time.Minute):
			t.Fatalf("the writer %s on %s does not end", x.mode, x.host)
		}
		l := x.said()
		if !l.Done {
			t.Errorf("the writer %s on %s ended early: %v", x.mode, x.host, x.err)
		}
		reader := s.clients[1]
		if i == len(w.writers)-1 {
			reader = s.clients[0]
		}
		text := s.On(t, reader, readOrGone(read, x.path))
		v, err := writer.Judge(x.run, &l, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		r.lost += len(v.Lost)
		r.errors += len(l.Errors)
		if len(v.Lost) > 0 || v.Torn > 0 {
			keep := filepath.Join(os.TempDir(), "halinux-lost-"+x.run)
			_ = os.WriteFile(keep, []byte(text), 0o600)
			t.Errorf("%s on %s: %s; what %s read is in %s", x.mode, x.host, v, reader, keep)
		}
		if len(l.Errors) > 0 {
			t.Errorf("%s on %s: %d errors, first %q", x.mode, x.host, len(l.Errors), l.Errors[0])
		}
		notes = append(notes, fmt.Sprintf("%s: %s, %d begun and never acknowledged, median %.1f ms, longest stall %.1f s", x.mode, v, l.Unacknowledged(), float64(l.Median().Microseconds())/1000, l.LongestStall(now).For.Seconds()))
	}
	if r.granted > 0 {
		t.Errorf("the lock that another client held was granted %d times", r.granted)
	}
	if r.refused == 0 {
		t.Error("the lock was never asked for")
	}
	// The holder has ended: now it must be had, or the server refuses everybody.
	Until(t, time.Minute, "the lock to be free", func() error {
		if l := w.contender.said(); l.LastLock != writer.Granted {
			return fmt.Errorf("%+v %v", l.Attempts, l.Errors)
		}
		return nil
	})
	w.contender.end()
	r.note = strings.Join(notes, "; ")
	t.Log(r.note)
	return r
}

// Stop ends the work, and records what became of it.
func (w *work) Stop(t testing.TB) result {
	t.Helper()
	s := w.s
	r := w.judge(t, uncached)
	w.watch.stop()
	if first, total, both := w.watch.both(); both {
		t.Errorf("both hosts were primary, first at %s, for %s", first.Format("15:04:05.000"), total)
	}
	m := report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "acknowledged writes lost", Unit: "records", Value: float64(r.lost), Note: r.note}
	s.Record(t, m)
	m.Metric, m.Unit, m.Value, m.Note = "writes that ended with an error", "records", float64(r.errors), ""
	s.Record(t, m)
	m.Metric, m.Unit, m.Value = "locks lost", "locks", float64(r.granted)
	m.Note = fmt.Sprintf("asked for %d times by another client while it was held", r.refused)
	s.Record(t, m)
	m.Metric, m.Unit, m.Value, m.Note = "both hosts primary", "s", w.watch.overlap(), w.watch.note()
	s.Record(t, m)
	return r
}

// ---- what the storage hosts say ------------------------------------------------------

// event is a line of a host's journal, at the time of who listened: the clocks of
// virtual machines on a busy machine are seconds apart.
type event struct {
	at   time.Time
	host string
	text string
}

// watch listens to the samplers and journals of both storage hosts, whenever
// they are there.
type watch struct {
	mu     sync.Mutex
	roles  map[string]*sampler.Log
	events []event
	stop   func()
}

// identifiers of the journal that tell of a failover.
var identifiers = []string{"kernel", "corosync", "corosync-qdevice", "pacemaker-controld", "pacemaker-fenced", "pacemaker-schedulerd", "drbd-fence-peer", "drbd-unfence-peer", "drbd-split-brain", "sbd"}

func (s *store) watch(t testing.TB) *watch {
	t.Helper()
	w := &watch{roles: map[string]*sampler.Log{}}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	w.stop = sync.OnceFunc(func() { close(ended); wg.Wait() })
	t.Cleanup(w.stop)
	for _, h := range s.hosts {
		w.roles[h] = &sampler.Log{}
		wg.Go(func() {
			s.follow(h, ended, func() error { return s.install(h, s.sampler, samplerPath) }, listening(), 5*time.Second, func(text []byte) {
				at := time.Now()
				w.mu.Lock()
				defer w.mu.Unlock()
				var l sampler.Line
				if json.Unmarshal(text, &l) == nil {
					w.roles[h].Hear(l, at)
				} else {
					w.events = append(w.events, event{at, h, string(text)})
				}
			})
		})
	}
	Until(t, time.Minute, "the samplers", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for h, l := range w.roles {
			if len(l.Seen) == 0 {
				return fmt.Errorf("nothing from %s", h)
			}
		}
		return nil
	})
	return w
}

// listening is a program that reads the journal of a storage host and samples
// its replica. The sampler ends with its input, and the reader with it.
func listening() []string {
	words := []string{"journalctl", "-f", "-n", "0", "-q", "-o", "short"}
	for _, i := range identifiers {
		words = append(words, "-t", i)
	}
	return []string{"sh", "-c", strings.Join(words, " ") + " & p=$!; " + samplerPath + "; kill $p"}
}

// follow keeps a program running on a host, again after each return of the host.
// It has to say something now and then: a connection that is silent for longer is
// taken for dead with its host.
func (b *Bed) follow(host string, ended <-chan struct{}, install func() error, words []string, silence time.Duration, heard func([]byte)) {
	again := time.NewTicker(silence / 10)
	defer again.Stop()
	for {
		var last atomic.Int64
		err := install()
		var r *remote
		if err == nil {
			r, err = b.stream(host, words, func(text []byte) {
				last.Store(time.Now().UnixNano())
				heard(text)
			})
			last.Store(time.Now().UnixNano())
		}
		for err == nil {
			select {
			case <-ended:
				r.end()
				select {
				case <-r.done:
				case <-time.After(3 * time.Second):
					r.drop()
				}
				return
			case <-r.done:
				err = errors.New("ended")
			case <-again.C:
				if time.Since(time.Unix(0, last.Load())) > silence {
					r.drop()
					err = errors.New("silent")
				}
			}
		}
		select {
		case <-ended:
			return
		case <-again.C:
		}
	}
}

// both is sampler.Both of the two hosts.
func (w *watch) both() (time.Time, time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var logs []*sampler.Log
	for _, l := range w.roles {
		logs = append(logs, l)
	}
	return sampler.Both(logs[0], logs[1])
}

// overlap is how long both were primary; a single look counts as a moment.
func (w *watch) overlap() float64 {
	_, total, both := w.both()
	if both {
		return max(total.Seconds(), 0.001)
	}
	return 0
}

func (w *watch) note() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var notes []string
	for h, l := range w.roles {
		notes = append(notes, fmt.Sprintf("%s looked at every 100 ms, longest time without a look %.1f s", h, l.LongestGap().Seconds()))
	}
	slices.Sort(notes)
	return strings.Join(notes, "; ")
}

// since are the events of a host after a moment.
func (w *watch) since(host string, from time.Time) []event {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []event
	for _, e := range w.events {
		if e.host == host && !e.at.Before(from) {
			all = append(all, e)
		}
	}
	return all
}

// told is the first event of a host after a moment that contains all the words.
func (w *watch) told(host string, from time.Time, words ...string) (event, error) {
	for _, e := range w.since(host, from) {
		if slices.IndexFunc(words, func(word string) bool { return !strings.Contains(e.text, word) }) < 0 {
			return e, nil
		}
	}
	return event{}, fmt.Errorf("the journal of %s does not say %q", host, words)
}

// promotions counts how often a host became primary after a moment.
func (w *watch) promotions(after time.Time) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, l := range w.roles {
		n += l.Promotions(after)
	}
	return n
}

// role is what the sampler of a host said last.
func (w *watch) role(host string) sampler.Line {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.roles[host].Last()
}
