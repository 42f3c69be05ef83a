package e2e

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/halinux/halinux/tests/e2e/writer"
	"github.com/halinux/halinux/tests/report"
)

// storageScenario is one fault of the storage. It leaves hosts, cables and the
// cluster's members to Restore, and undoes itself what that does not know of.
type storageScenario struct {
	id   string // as in FAULTS.md
	what string // what is done
	run  func(*testing.T, *store)
	full bool // for the report alone: too long for each test run
}

// storageScenarios go from those that lose no host to those that lose both.
var storageScenarios = []storageScenario{
	{id: "F20", what: "planned move: the serving host goes standby", run: plannedMove},
	{id: "storage-reboot", what: "the serving host is rebooted in order", run: plannedReboot},
	{id: "F30", what: "a client holds a POSIX lock while the service moves away and back at once", run: lockAcross},
	{id: "F32", what: "a project is filled to its quota", run: quotaHit},
	{id: "projects", what: "projects and volumes come, grow and go", run: projectsChange},
	{id: "F29", what: "all nfsd threads are killed", run: serverKilled},
	{id: "F19", what: "a member of the RAID below the primary is removed, then added again", run: memberLost},
	{id: "F23", what: "cut the replication link alone", run: replicationCut},
	{id: "F35", what: "the disk below the primary returns errors alone", run: diskFails},
	{id: "F21", what: "power off the serving host", run: powerCut},
	{id: "F22", what: "the serving host's kernel resets at once (sysrq b)", run: kernelReset},
	{id: "F24", what: "cut all links between the storage hosts", run: split},
	{id: "F28", what: "the witness is lost, then a storage host", run: witnessThenHost},
	{id: "F25", what: "the serving host dies and cannot be fenced", run: cannotFence},
	{id: "F33", what: "the primary dies while the other replica catches up", run: diesInResync},
	{id: "F27", what: "both storage hosts die, one after the other, and return", run: bothDie},
	{id: "agents", what: "the cluster fences by management controllers: a power cut, then a split", run: fencedByAgents, full: true},
	{id: "portblock", what: "the agent that keeps clients out of a half-open server, on a host that can filter", run: portClosed, full: true},
	{id: "replace", what: "a fresh machine takes the place of the host that does not serve", run: hostReplaced, full: true},
	{id: "disks", what: "arrays and a volume group are made, lose disks, get others and grow", run: arraysMade, full: true},
	{id: "verify", what: "a block of one replica changes behind DRBD's back", run: replicasCompared, full: true},
	{id: "witness", what: "another host becomes the witness", run: witnessChanged, full: true},
	{id: "grow", what: "the volume grows", run: volumeGrows, full: true},
	{id: "bench-nfs", what: "fio: a client against the volume itself, with and without the replica", run: measureFio, full: true},
	{id: "F37", what: "no storage for a while", run: goneForLong, full: true},
}

// TestStorage does to the replicated storage what FAULTS.md lists, while two
// clients write.
func TestStorage(t *testing.T) {
	b := open(t)
	f := b.facts(t)
	if f.Storage.VIP == "" {
		t.Skipf("SKIP: %s has no storage; that of the stack lab has", b.settingsFile())
	}
	s := b.store(t, f)
	for run := range b.runs {
		for _, c := range storageScenarios {
			if c.full && !b.full {
				continue
			}
			name := c.id
			if b.runs > 1 {
				name = fmt.Sprintf("%s/%d", c.id, run+1)
			}
			t.Run(name, func(t *testing.T) {
				b.inTime(t)
				if s.broken != "" {
					t.Fatalf("not run, since the storage did not recover %s", s.broken)
				}
				s.id, s.scenario = c.id, c.what
				s.done[c.id] = c.what
				s.ready(t)
				began, ended := time.Now(), false
				defer func() {
					if t.Failed() {
						b.Bundle(t)
					}
					steps := report.Measurement{ID: c.id, Scenario: c.what, Metric: "manual steps until the cluster was whole", Unit: "steps"}
					if s.Restore(t) {
						steps.Value, steps.Note = 1, "failures forgotten (crm_resource --cleanup), or a constraint taken away (drbd-unfence-peer)"
					}
					b.Record(t, steps)
					if !t.Skipped() {
						b.outcome(t, c.id, t.Failed() || !ended)
					}
					t.Logf("%s took %.0f s in all", c.id, time.Since(began).Seconds())
				}()
				c.run(t, s)
				ended = true
			})
		}
	}
}

// ---- moves ------------------------------------------------------------------------

// marks are what the hosts' journals say in the course of a failover, in order;
// the part that ends with each is named for it.
var marks = []struct {
	part string
	said *regexp.Regexp
}{
	{"stop", regexp.MustCompile(`pacemaker-controld.*Result of demote operation for \S+-replica on \S+: OK`)},
	{"detection", regexp.MustCompile(`corosync\[.*(processor failed|Members left)`)},
	{"fencing", regexp.MustCompile(`pacemaker-controld.*Peer \S+ was terminated|pacemaker-fenced.*Operation 'reboot'.*OK`)},
	{"promotion", regexp.MustCompile(`pacemaker-controld.*Result of promote operation for \S+-replica on \S+: OK`)},
	{"mount", regexp.MustCompile(`pacemaker-controld.*Result of start operation for \S+-filesystem on \S+: OK`)},
	{"server", regexp.MustCompile(`pacemaker-controld.*Result of start operation for \S+-server on \S+: OK`)},
	{"address", regexp.MustCompile(`pacemaker-controld.*Result of start operation for \S+-vip on \S+: OK`)},
	{"grace", regexp.MustCompile(`NFSD: all clients done reclaiming`)},
}

// part of a stall.
type part struct {
	name string
	took time.Duration
}

// parts says of what a stall was made: from the fault to each mark that was
// found, and from the last one to the end, in which clients find the server
// again. The grace period is no part of its own where it was not what the last
// writer waited for.
func parts(events []event, from, end time.Time) []part {
	var all []part
	for _, m := range marks {
		for _, e := range events {
			if e.at.Before(from) || e.at.After(end) || !m.said.MatchString(e.text) {
				continue
			}
			all = append(all, part{m.part, e.at.Sub(from)})
			from = e.at
			break
		}
	}
	return append(all, part{"reconnection", end.Sub(from)})
}

func partsNote(all []part) string {
	var notes []string
	for _, p := range all {
		notes = append(notes, fmt.Sprintf("%s %.1f s", p.name, p.took.Seconds()))
	}
	return strings.Join(notes, ", ")
}

// failover does something to the host that serves while clients write, waits
// until the other one serves and all writers go on, lets the first one return,
// and judges what was written while it does.
func (s *store) failover(t *testing.T, limit float64, fault, back func(primary string)) {
	t.Helper()
	w := s.work(t)
	from := s.serving(t)
	faulted := time.Now()
	fault(from)
	w.movedTo(t, s.other(from), faulted, 4*time.Minute)
	w.Steady(t, 3*time.Minute)
	back(from)
	r := w.Stop(t)
	s.stalled(t, w, r, faulted, limit)
}

// movedTo waits until a host serves. It listens to what is streamed anyway: to
// ask a host that is taking over would slow it down.
func (w *work) movedTo(t testing.TB, host string, since time.Time, deadline time.Duration) {
	t.Helper()
	Until(t, deadline, host+" to serve", func() error {
		if l := w.watch.role(host); !l.Primary() {
			return fmt.Errorf("it is %s, %s", l.Role, l.Connection)
		}
		_, err := w.watch.told(host, since, "Result of start operation for "+w.s.name+"-vip on "+host+": OK")
		return err
	})
}

// stalled records the longest stall of the writers, and of what it was made.
func (s *store) stalled(t testing.TB, w *work, r result, faulted time.Time, limit float64) {
	t.Helper()
	var events []event
	for _, h := range s.hosts {
		events = append(events, w.watch.since(h, faulted)...)
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	// A fault may be noticed long before anybody has to wait for it.
	from := faulted
	if r.stall.From.After(from) {
		from = r.stall.From
	}
	all := parts(events, from, r.stall.End())
	s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "longest stall of the writers", Unit: "s", Value: r.stall.For.Seconds(), Limit: limit,
		Note: partsNote(all)})
	for _, p := range all {
		if p.name != "fencing" {
			continue
		}
		s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "longest stall without the wait for the fence", Unit: "s", Value: (r.stall.For - p.took).Seconds(), Limit: limit,
			Note: fmt.Sprintf("%.1f s of fencing taken out", p.took.Seconds())})
	}
}

// plannedMove is a move by hand, back included.
func plannedMove(t *testing.T, s *store) {
	standby := func(how string) func(string) {
		return func(primary string) { s.On(t, primary, "crm_standby "+how+" --node "+primary) }
	}
	s.failover(t, 10, standby("--update on"), standby("--delete"))
}

// plannedReboot is what an administrator does who has not moved the service before.
// The units of the server wait for Pacemaker's end then, and Pacemaker for theirs.
func plannedReboot(t *testing.T, s *store) {
	w := s.work(t)
	from := s.serving(t)
	to := s.other(from)
	began := time.Now()
	_, _ = s.try(from, "systemctl reboot") // the connection may end before the answer
	w.movedTo(t, to, began, 4*time.Minute)
	w.Steady(t, 3*time.Minute)
	w.oneReset(t)
	r := w.Stop(t)
	s.stalled(t, w, r, began, 10)
	fenced := report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "hosts that had to be fenced", Unit: "hosts"}
	if line, err := w.watch.told(to, began, "pacemaker-controld", from+" was terminated"); err == nil {
		fenced.Value, fenced.Note = 1, line.text
		t.Errorf("%s did not shut down by itself: %s", from, line.text)
	}
	s.Record(t, fenced)
}

// lockAcross moves the service away and back at once, while clients may still be
// reclaiming what they held: a server that forgets who had a lock before it has
// written it down again loses it now. The replica stays, so both moves are short.
func lockAcross(t *testing.T, s *store) {
	const ban = "crm_resource --ban --resource %s-drbd --promoted --node %s"
	w := s.work(t)
	from := s.serving(t)
	to := s.other(from)
	clear := "crm_resource --clear --resource " + s.name + "-drbd"
	began := time.Now()
	s.On(t, from, fmt.Sprintf(ban, s.name, from))
	w.movedTo(t, to, began, 4*time.Minute)
	again := time.Now()
	s.On(t, to, clear+"; "+fmt.Sprintf(ban, s.name, to))
	w.movedTo(t, from, again, 4*time.Minute)
	s.On(t, from, clear)
	w.Steady(t, 3*time.Minute)
	r := w.Stop(t)
	s.stalled(t, w, r, began, 20)
}

func powerCut(t *testing.T, s *store) {
	s.failover(t, 20, func(primary string) { s.Lab(t, "crash", primary) }, func(primary string) { s.Lab(t, "restart", primary) })
}

func kernelReset(t *testing.T, s *store) {
	s.failover(t, 20, func(primary string) {
		s.On(t, primary, "echo 1 >/proc/sys/kernel/sysrq; (sleep 0.2; echo b >/proc/sysrq-trigger) >/dev/null 2>&1 &")
	}, func(string) {}) // it boots by itself
}

// ---- the server and its disks ----------------------------------------------------

// staying does something that must not move the service, and judges the stall.
func (s *store) staying(t *testing.T, limit float64, fault func(w *work, primary string)) {
	t.Helper()
	w := s.work(t)
	primary := s.serving(t)
	faulted := time.Now()
	fault(w, primary)
	w.Steady(t, 2*time.Minute)
	r := w.Stop(t)
	s.stalled(t, w, r, faulted, limit)
	if now := s.serving(t); now != primary {
		t.Errorf("the service moved from %s to %s", primary, now)
	}
}

// quotaHit fills one project from a client, which must be told so, and disturbs
// nobody else.
func quotaHit(t *testing.T, s *store) {
	s.staying(t, 5, func(w *work, primary string) {
		file := "/mnt/" + s.small + "/filler"
		defer func() { s.On(t, s.clients[1], "rm -f "+file) }()
		out := s.On(t, s.clients[1], fmt.Sprintf("dd if=/dev/zero of=%s bs=1M count=%d conv=fsync 2>&1 && echo written || :; stat -c %%s %s; df -k --output=size,avail /mnt/%s | tail -n 1", file, s.quota+20, file, s.small))
		if strings.Contains(out, "written") {
			t.Errorf("more than the quota of %d MiB was written:\n%s", s.quota, out)
		}
		told := 0.0
		if strings.Contains(out, "No space left") || strings.Contains(out, "quota exceeded") {
			told = 1
		} else {
			t.Errorf("the writer was not told of the quota:\n%s", out)
		}
		s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "writers told so (ENOSPC or EDQUOT)", Unit: "of 1", Value: told, Limit: 1, AtLeast: true})
		if out, err := s.try(s.clients[1], "dd if=/dev/zero of=/mnt/"+s.project+"/other bs=1M count=10 conv=fsync 2>&1; rm -f /mnt/"+s.project+"/other"); err != nil || !strings.Contains(out, "10 MB") {
			t.Errorf("another project cannot be written to: %v\n%s", err, out)
		}
	})
}

// monitorInterval is that of the server's resource.
const monitorInterval = 10

func serverKilled(t *testing.T, s *store) {
	w := s.work(t)
	primary := s.serving(t)
	faulted := time.Now()
	s.On(t, primary, "echo 0 >/proc/fs/nfsd/threads")
	if out := s.On(t, primary, "cat /proc/fs/nfsd/threads"); strings.TrimSpace(out) != "0" {
		t.Fatalf("nfsd still has %s threads", out)
	}
	w.Steady(t, 4*time.Minute)
	r := w.Stop(t)
	s.stalled(t, w, r, faulted, monitorInterval+20)
	s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "hosts that were fenced for it", Unit: "hosts", Value: float64(s.rebooted(t, w)), Note: "served by " + s.serving(t) + " then, by " + primary + " before"})
}

// rebooted counts the storage hosts that booted since the work began.
func (s *store) rebooted(t testing.TB, w *work) int {
	t.Helper()
	n := 0
	for h, before := range w.boots {
		now, err := s.bootID(h)
		if err != nil || now != before {
			n++
			t.Logf("%s was reset, or is away (%v)", h, err)
		}
	}
	return n
}

// alerted waits until a look at the host names a problem.
func (s *store) alerted(t testing.TB, host string, words ...string) time.Duration {
	t.Helper()
	return Until(t, time.Minute, "an alert on "+host, paced(func() error {
		out, err := s.try(host, "sh /var/lib/halinux/lib.sh check")
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "- ") && slices.IndexFunc(words, func(w string) bool { return strings.Contains(line, w) }) >= 0 {
				t.Logf("%s: %s", host, strings.TrimSpace(line))
				return nil
			}
		}
		return fmt.Errorf("none of %q in:\n%s", words, out)
	}))
}

func memberLost(t *testing.T, s *store) {
	const array = `md=$(awk '/^md/ {print $1; exit}' /proc/mdstat)` + "\n"
	s.staying(t, 5, func(w *work, primary string) {
		member := strings.TrimSpace(s.On(t, primary, array+`sed -n "s/^$md .* \([a-z0-9]*\)\[[0-9]*\]$/\1/p" /proc/mdstat`))
		added := false
		add := func() {
			if !added {
				added = true
				s.On(t, primary, array+"mdadm /dev/$md --add /dev/"+member)
			}
		}
		s.On(t, primary, array+"mdadm /dev/$md --fail /dev/"+member+"; n=0; until mdadm /dev/$md --remove /dev/"+member+" 2>/dev/null; do n=$((n + 1)); [ $n -lt 50 ]; sleep 0.1; done")
		defer add()
		told := s.alerted(t, primary, "degraded", "RAID", "array")
		s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "told of by a look at the host", Unit: "s", Value: told.Seconds(), Limit: 60})
		w.Steady(t, time.Minute)
		add()
		rebuilt := Until(t, 5*time.Minute, "the rebuild", paced(func() error {
			out, err := s.try(primary, "cat /proc/mdstat")
			if err == nil && (strings.Contains(out, "_]") || strings.Contains(out, "[_")) {
				err = errors.New(out)
			}
			return err
		}))
		t.Logf("rebuilt after %.1f s, while clients wrote", rebuilt.Seconds())
	})
}

// replicationCut takes DRBD's network away and nothing else: the primary has to
// find out, by way of the cluster, that its peer cannot take over, and go on.
func replicationCut(t *testing.T, s *store) {
	s.staying(t, 20, func(w *work, primary string) {
		peer, cut := s.other(primary), time.Now()
		s.Lab(t, "cut", peer, "eth1")
		var told event
		Until(t, 2*time.Minute, "the handler's answer", func() (err error) {
			told, err = w.watch.told(primary, cut, "drbd-fence-peer", "is there and cannot be promoted")
			return err
		})
		t.Logf("the handler was certain %.1f s after the cut: %s", told.at.Sub(cut).Seconds(), told.text)
		w.Steady(t, time.Minute)
		// What fell behind must not be had as primary, not even when asked by hand.
		stale := 0.0
		if out, err := s.try(peer, "drbdadm primary "+s.name+" 2>&1"); err == nil {
			stale = 1
			t.Errorf("the replica that fell behind was promoted: %s", out)
		}
		s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "promoted with old data", Unit: "hosts", Value: stale, Note: fmt.Sprintf("the handler was certain %.1f s after the cut", told.at.Sub(cut).Seconds())})
		s.Lab(t, "heal")
		healed := time.Now()
		Until(t, 2*time.Minute, "the replicas to be equal and the constraint gone", paced(s.Whole))
		t.Logf("whole %.1f s after the heal", time.Since(healed).Seconds())
	})
}

// diskFails lets every access to the disk below the primary's replica end with an
// error; DRBD has to let go of it and use the peer's.
func diskFails(t *testing.T, s *store) {
	device := strings.ReplaceAll(s.volume, "/", "-")
	w := s.work(t)
	primary := s.serving(t)
	table := s.On(t, primary, "dmsetup table "+device)
	sectors := strings.Fields(table)[1]
	load := func(table string) string {
		return fmt.Sprintf("printf '%%s\\n' '%s' | dmsetup load %s; dmsetup suspend --nolockfs --noflush %s; dmsetup resume %s\n", strings.TrimSpace(table), device, device, device)
	}
	faulted := time.Now()
	// A host that is reset for it cannot say so: it is not waited for.
	s.On(t, primary, "(sleep 0.2\n"+load("0 "+sectors+" error")+") >/dev/null 2>&1 &")
	cured := false
	cure := func() {
		if !cured {
			cured = true
			s.On(t, primary, load(table)+"drbdadm attach "+s.name+" || drbdadm adjust "+s.name)
		}
	}
	defer cure()
	let, err := poll(time.Minute, func() error {
		if l := w.watch.role(primary); !strings.HasPrefix(l.Disks, "Diskless/") {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("DRBD did not let go of the disk within a minute; hosts that were reset: %d; %v", s.rebooted(t, w), err)
	}
	t.Logf("the disk was let go of after %.1f s", let.Seconds())
	w.Steady(t, 2*time.Minute)
	s.alerted(t, primary, "Diskless", "replicas are")
	cure()
	Until(t, 2*time.Minute, "the replicas to be equal", paced(s.Whole))
	w.Steady(t, time.Minute)
	r := w.Stop(t)
	s.stalled(t, w, r, faulted, 20)
	s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "hosts that were reset for it", Unit: "hosts", Value: float64(s.rebooted(t, w)), Note: "served by " + s.serving(t) + " then, by " + primary + " before"})
}

// ---- splits and votes ----------------------------------------------------------------

// oneReset waits until one of the storage hosts has booted again since the work
// began.
func (w *work) oneReset(t testing.TB) {
	t.Helper()
	Until(t, 3*time.Minute, "one host to be reset", paced(func() error {
		for h, before := range w.boots {
			if now, err := w.s.bootID(h); err == nil && now != before {
				return nil
			}
		}
		if _, total, both := w.watch.both(); both {
			return fmt.Errorf("both go on, and were primary side by side for %.1f s", total.Seconds())
		}
		return errors.New("both go on")
	}))
}

// split cuts all links between the two; both still reach the witness.
func split(t *testing.T, s *store) {
	w := s.work(t)
	primary := s.serving(t)
	cut := time.Now()
	s.Lab(t, "cut", s.hosts[0], s.hosts[1])
	w.oneReset(t)
	w.Steady(t, 3*time.Minute)
	fenced := s.rebooted(t, w)
	s.Lab(t, "heal")
	r := w.Stop(t)
	s.stalled(t, w, r, cut, 20)
	note := "served by " + s.serving(t) + " then, by " + primary + " before"
	if fenced != 1 {
		t.Errorf("%d hosts were reset, not 1", fenced)
	}
	s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "hosts that were fenced beyond one", Unit: "hosts", Value: float64(fenced - 1), Note: note})
}

// fencedBy waits until a host is certain that its peer is gone. From then on
// nothing but what a scenario is about keeps it from being promoted.
func (w *work) fencedBy(t *testing.T, host string, since time.Time) {
	t.Helper()
	Until(t, 3*time.Minute, host+" to take its peer for fenced", func() error {
		_, err := w.watch.told(host, since, "pacemaker-controld", w.s.other(host)+" was terminated")
		return err
	})
}

// promotes is longer than a host takes to be promoted once its peer is fenced.
const promotes = 12 * time.Second

// halted looks on for a while longer in a time in which nobody may be promoted
// and no write be acknowledged, and returns how many promotions and
// acknowledgements there were since it began.
func (w *work) halted(t *testing.T, from time.Time, quiet time.Duration) (promoted, acked int) {
	t.Helper()
	_, _ = poll(quiet, func() error {
		if promoted = w.watch.promotions(from); promoted > 0 {
			return nil
		}
		return errors.New("nobody was")
	})
	if promoted > 0 {
		t.Errorf("%d hosts were promoted that must not be", promoted)
	}
	for _, x := range w.writers {
		for _, a := range x.said().Acks {
			if a.At.After(from.Add(2 * time.Second)) { // not what was on its way
				acked++
			}
		}
	}
	if acked > 0 {
		t.Errorf("%d writes were acknowledged though nobody may serve", acked)
	}
	return promoted, acked
}

// witnessThenHost takes two of three votes away: what is left must halt.
func witnessThenHost(t *testing.T, s *store) {
	w := s.work(t)
	primary := s.serving(t)
	for _, h := range s.hosts {
		s.Lab(t, "cut", s.witnesses[0], h)
	}
	Until(t, 2*time.Minute, "the witness's vote to be gone", paced(func() error {
		out, err := s.try(primary, "corosync-quorumtool -s | sed -n 's/^Total votes: *//p'")
		if err == nil && strings.TrimSpace(out) != "2" {
			err = fmt.Errorf("%s votes", strings.TrimSpace(out))
		}
		return err
	}))
	s.alerted(t, primary, "witness")
	w.Steady(t, time.Minute)
	s.Lab(t, "crash", s.other(primary))
	crashed := time.Now()
	Until(t, 2*time.Minute, "the one that is left to halt", func() error {
		l := w.writers[0].said()
		if silent := time.Since(l.Acks[len(l.Acks)-1].At); silent < 5*time.Second {
			return fmt.Errorf("a write was acknowledged %s ago", silent)
		}
		return nil
	})
	promoted, _ := w.halted(t, time.Now(), promotes)
	s.Lab(t, "heal")
	s.Lab(t, "up", storageGroup)
	back := time.Now()
	w.Steady(t, 4*time.Minute)
	t.Logf("the writers go on %.0f s after the votes returned", time.Since(back).Seconds())
	r := w.Stop(t)
	s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "hosts promoted without a majority", Unit: "hosts", Value: float64(promoted),
		Note: fmt.Sprintf("halted, as documented: no write acknowledged from %.1f s after the crash on, until the votes returned; %s", r.stall.From.Sub(crashed).Seconds(), r.note)})
}

// cannotFence takes the cluster's only way to be certain of a dead host away.
func cannotFence(t *testing.T, s *store) {
	const option = "crm_attribute --type crm_config --name stonith-watchdog-timeout "
	w := s.work(t)
	primary := s.serving(t)
	survivor := s.other(primary)
	value := strings.TrimSpace(s.On(t, primary, option+"--query --quiet"))
	wait, err := strconv.Atoi(strings.TrimSuffix(value, "s"))
	if err != nil {
		t.Fatalf("the time for which a fencing is waited for: %q", value)
	}
	quiet := time.Duration(wait)*time.Second + promotes
	s.On(t, primary, option+"--update 0")
	restored := false
	restore := func() {
		if !restored {
			restored = true
			s.On(t, survivor, option+"--update "+value)
		}
	}
	defer restore()
	s.Lab(t, "crash", primary)
	crashed := time.Now()
	Until(t, 2*time.Minute, "the survivor to say that it cannot fence", paced(func() error {
		c, err := s.cluster(survivor)
		if err != nil {
			return err
		}
		for _, n := range c.Nodes {
			if n.Name == primary && n.Unclean {
				return nil
			}
		}
		return fmt.Errorf("%+v", c.Nodes)
	}))
	told := time.Since(crashed)
	promoted, _ := w.halted(t, crashed, quiet)
	var clear []string
	for _, e := range w.watch.since(survivor, crashed) {
		if strings.Contains(e.text, "pacemaker-") && (strings.Contains(e.text, "fenc") || strings.Contains(e.text, "stonith")) {
			clear = append(clear, e.text)
		}
	}
	if len(clear) == 0 {
		t.Error("the survivor's journal says nothing of fencing")
	} else {
		t.Logf("%d lines of the survivor's journal, the last one: %s", len(clear), clear[len(clear)-1])
	}
	s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "promoted all the same", Unit: "hosts", Value: float64(promoted), Note: fmt.Sprintf("shown as unclean after %.1f s, not promoted for %.0f s more", told.Seconds(), quiet.Seconds())})
	s.Lab(t, "up", storageGroup)
	w.Steady(t, 4*time.Minute)
	restore()
	w.Stop(t)
}

// ---- generations of data ------------------------------------------------------------

// diesInResync lets the primary die while its peer has old data and new data
// mixed.
func diesInResync(t *testing.T, s *store) {
	const size = 120 // MiB
	w := s.work(t)
	primary := s.serving(t)
	peer := s.other(primary)
	slow := func(host string) {
		s.On(t, host, "drbdadm disk-options --c-plan-ahead=0 --resync-rate=1024 "+s.name)
	}
	s.Lab(t, "cut", peer, "eth1")
	Until(t, time.Minute, "the primary to be alone", func() error {
		if l := w.watch.role(primary); l.Connection == "Connected" {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
	w.Steady(t, 2*time.Minute)
	big := "/mnt/" + s.project + "/big"
	sum := s.On(t, s.clients[0], fmt.Sprintf("dd if=/dev/urandom of=%s bs=1M count=%d conv=fsync 2>/dev/null; sha256sum <%s", big, size, big))
	slow(primary)
	slow(peer)
	s.Lab(t, "heal")
	Until(t, time.Minute, "the peer to catch up", func() error {
		l := w.watch.role(peer)
		if l.Connection != "SyncTarget" || !strings.HasPrefix(l.Disks, "Inconsistent/") {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
	s.Lab(t, "crash", primary)
	crashed := time.Now()
	w.fencedBy(t, peer, crashed)
	promoted, _ := w.halted(t, crashed, promotes)
	if l := w.watch.role(peer); !strings.HasPrefix(l.Disks, "Inconsistent/") {
		t.Errorf("%s has %s: it was not in the middle of the resync", peer, l.Disks)
	}
	s.Lab(t, "up", storageGroup)
	back := time.Now()
	w.Steady(t, 4*time.Minute)
	outage := time.Since(back)
	for _, h := range s.hosts {
		s.On(t, h, "drbdadm adjust "+s.name)
	}
	w.Stop(t)
	corrupt := 0.0
	if now := s.On(t, s.clients[1], "echo 3 >/proc/sys/vm/drop_caches; sha256sum <"+big); now != sum {
		corrupt = 1
		t.Errorf("the file of %d MiB is another one: %s, it was %s", size, now, sum)
	}
	s.On(t, s.clients[0], "rm -f "+big)
	s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "promoted with half of the data", Unit: "hosts", Value: float64(promoted)})
	s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "corrupt files", Unit: "files", Value: corrupt,
		Note: fmt.Sprintf("looked at until it had fenced the primary, and for %.0f s more; served again %.0f s after the primary was switched on, %.0f s after it died", promotes.Seconds(), outage.Seconds(), time.Since(crashed).Seconds())})
}

// bothDie loses one host, writes on, and loses the other one: only that one has
// everything. The one with the older data returns first, and must wait; in full
// runs also the other way round, where nothing has to be waited for.
func bothDie(t *testing.T, s *store) {
	s.bothReturn(t, true)
	if s.full {
		Until(t, 4*time.Minute, "the cluster to be whole", paced(s.Whole))
		s.bothReturn(t, false)
	}
}

func (s *store) bothReturn(t *testing.T, olderFirst bool) {
	t.Helper()
	w := s.work(t)
	newer := s.serving(t)
	older := s.other(newer)
	s.Lab(t, "crash", older)
	Until(t, time.Minute, "the primary to notice", func() error {
		if l := w.watch.role(newer); l.Connection == "Connected" {
			return fmt.Errorf("%+v", l)
		}
		return nil
	})
	w.Steady(t, 3*time.Minute)
	s.Lab(t, "crash", newer)
	metric := "writers go on once the one with the newer data is back"
	var back time.Time
	if olderFirst {
		metric = "writers go on once both are back, the one with the older data first"
		alone := time.Now()
		s.Lab(t, "restart", older)
		w.fencedBy(t, older, alone)
		promoted, _ := w.halted(t, alone, promotes)
		s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "promoted with the older data", Unit: "hosts", Value: float64(promoted),
			Note: fmt.Sprintf("alone with the witness until it had fenced the other one, and for %.0f s more", promotes.Seconds())})
		s.Lab(t, "restart", newer)
		back = time.Now()
	} else {
		s.Lab(t, "restart", newer)
		back = time.Now()
	}
	w.Steady(t, 4*time.Minute)
	took := time.Since(back)
	s.Lab(t, "up", storageGroup)
	w.Stop(t)
	s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: metric, Unit: "s", Value: took.Seconds(), Limit: 120, Note: "served by " + s.serving(t) + "; " + newer + " had the newer data"})
}

// goneForLong leaves clients without their server. There are no pods yet: the
// processes are ordinary ones, of which some are killed and started anew.
func goneForLong(t *testing.T, s *store) {
	gone := time.Minute
	if s.full {
		gone = 10 * time.Minute
	}
	w := s.work(t)
	for _, h := range s.hosts {
		s.Lab(t, "crash", h)
	}
	lost := time.Now()
	s.start(t, s.clients[0], writer.Append, "/mnt/"+s.project+"/started-without-server")
	For(t, gone, "clients answer", func() error {
		if out, err := s.try(s.clients[0], "p=$(pgrep -f 'started-without-serve[r]' | head -n 1); [ -z \"$p\" ] || { kill -9 $p; n=0; while [ -e /proc/$p ]; do n=$((n + 1)); [ $n -lt 50 ] || exit 7; sleep 0.1; done; }"); err != nil {
			return fmt.Errorf("a process that waits for the server cannot be killed: %w %s", err, out)
		}
		return nil
	})
	s.Lab(t, "up", storageGroup)
	back := time.Now()
	w.Steady(t, 5*time.Minute)
	took := time.Since(back)
	w.Stop(t)
	s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "manual steps on the clients", Unit: "steps", Note: fmt.Sprintf("gone for %.0f s; the writers go on %.0f s after the hosts were started; no pods yet", back.Sub(lost).Seconds(), took.Seconds())})
}
