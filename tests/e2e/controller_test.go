package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/halinux/halinux/tests/report"
)

const baseKey, edgeKey = "halinux:base", "halinux:edge"

// variation changes something in many phases on all hosts, and other things
// for every number.
func variation(n int) Change {
	return func(s Settings) {
		Append(map[string]any{"name": "net.ipv4.tcp_fin_timeout", "value": fmt.Sprint(30 + n)}, baseKey, "kernel", "sysctl")(s)
		Append(map[string]any{"name": "try", "to": []any{"edge1", "edge2", "backend1"}, "protocol": "tcp", "ports": []any{20000 + n}, "from": []any{"lan"}}, baseKey, "firewall", "extra")(s)
		Append(map[string]any{"name": fmt.Sprintf("try%d", n), "type": "TXT", "value": `"here"`}, edgeKey, "dns", "records")(s)
		Set(fmt.Sprintf("%ds", 3000+n), edgeKey, "services", "0", "timeout")(s)
	}
}

// killedRuns kills "up" at random moments and runs it again. Where the platform
// does not stand yet, the first kills hit its making.
func killedRuns(t *testing.T, b *Bed, f *facts) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	window, manual := 20*time.Second, 0
	for n := range b.kills {
		changes := []Change{}
		if n%2 == 1 {
			changes = append(changes, variation(n))
		}
		moment := time.Duration(random.Int64N(int64(window)))
		r := b.Start(t, "up", changes...)
		_, err := poll(moment, func() error {
			select {
			case <-r.done:
				return nil
			default:
				return errors.New("it runs")
			}
		})
		how := "with all of its processes"
		switch {
		case err == nil:
			how = "not: it had ended"
			window = max(r.Took, time.Second)
		case n%2 == 0:
			r.Kill()
		default:
			how = "alone, its engine went on"
			r.KillOne()
		}
		t.Logf("run %d killed after %.1f s, %s", n+1, moment.Seconds(), how)
	}
	r := b.Do(t, "up")
	if r.Code != 0 {
		manual++
		t.Errorf("up after %d kills failed:\n%s", b.kills, tail(r.Output()))
		b.Up(t)
	}
	Until(t, 3*time.Minute, "the platform to be well", func() error { return b.Well(f) })
	second := b.Up(t)
	changed := changesIn(second.Output())
	if changed != "" {
		t.Errorf("the second run changed something: %s", changed)
	}
	b.NoDrift(t)
	b.whole(t)
	m := report.Measurement{ID: "C1", Scenario: fmt.Sprintf("kill -9 of up at a random moment, %d times", b.kills), Metric: "manual steps", Unit: "steps", Value: float64(manual)}
	b.Record(t, m)
	m.Metric, m.Unit, m.Value = "changes of the second run", "resources", float64(strings.Count(changed, ",")+min(1, len(changed)))
	b.Record(t, m)
}

// whole sees that no host has half a file, half a package or a run's remains,
// and returns how many there are.
func (b *Bed) whole(t testing.TB) int {
	t.Helper()
	halves := 0
	for name := range b.hosts {
		left := b.On(t, name, `find /etc /usr/local -name '*.halinux' 2>/dev/null || :; dpkg --audit`)
		if strings.TrimSpace(left) != "" {
			t.Errorf("%s: half of something was left:\n%s", name, left)
			halves += len(strings.Split(strings.TrimSpace(left), "\n"))
		}
	}
	return halves
}

// edit is something that a person does to a host by hand.
type edit struct {
	host, do string
	phase    string // where it must be found
	line     string // what the finding names
}

// handEdits changes hosts behind the platform's back, and has them repaired.
func handEdits(t *testing.T, b *Bed, f *facts) {
	idle := f.other(b.owner(t, f))
	b.On(t, idle, "unattended-upgrade --dry-run") // every night hosts do so by themselves
	b.NoDrift(t)                                  // nothing is found where nothing is
	backend := f.Edge.Services[0].Backends[0].Host
	edits := []edit{
		{idle, `echo '# by hand' >>/etc/haproxy/haproxy.cfg`, "haproxy", "/etc/haproxy/haproxy.cfg differs"},
		{idle, `chmod 600 /etc/keepalived/keepalived.conf`, "keepalived", "/etc/keepalived/keepalived.conf has mode"},
		{idle, `systemctl stop nginx.service`, "nginx", "nginx.service is not running"},
		{idle, `systemctl disable -q keepalived.service`, "keepalived", "keepalived.service is not enabled"},
		{idle, `rm /etc/nginx/nginx.conf`, "nginx", "/etc/nginx/nginx.conf is missing"},
		{idle, `nft delete table inet halinux`, "firewall", "halinux"},
		{backend, `sysctl -q -w net.ipv4.tcp_fin_timeout=77`, "kernel", "net.ipv4.tcp_fin_timeout"},
		{backend, `DEBIAN_FRONTEND=noninteractive dpkg --purge --force-depends chrony`, "time", "package chrony is not installed"},
	}
	sysctl := Append(map[string]any{"name": "net.ipv4.tcp_fin_timeout", "value": "30"}, baseKey, "kernel", "sysctl")
	b.Up(t, sysctl)
	for _, e := range edits {
		b.On(t, e.host, e.do)
	}
	r := b.Do(t, "drift", sysctl)
	if r.Code != 2 {
		t.Errorf("drift: exit %d, not 2", r.Code)
	}
	found, wrong := 0, 0
	table := drifted(r.Output())
	meant := map[finding]bool{}
	for _, e := range edits {
		at := finding{e.host, e.phase}
		meant[at] = true
		if strings.Contains(table[at], e.line) {
			found++
		} else {
			t.Errorf("not found on %s in %s: %s; but: %s", e.host, e.phase, e.line, table[at])
		}
	}
	for at, text := range table {
		if !meant[at] {
			wrong++
			t.Errorf("nobody touched %s on %s: %s", at.phase, at.host, text)
		}
	}
	m := report.Measurement{ID: "C7", Scenario: "files, units, a package, a sysctl and rules changed by hand", Metric: "found", Unit: "%", Value: 100 * float64(found) / float64(len(edits)), Limit: 100, AtLeast: true, Note: fmt.Sprintf("%d edits on 2 hosts; drift took %.1f s", len(edits), r.Took.Seconds())}
	b.Record(t, m)
	m.Metric, m.Unit, m.Value, m.Limit, m.AtLeast = "false findings", "phases", float64(wrong), 0, false
	b.Record(t, m)
	b.Up(t, sysctl, Set("detect", "halinux:drift"))
	if r := b.Do(t, "drift", sysctl); r.Code != 0 {
		t.Errorf("up did not repair everything:\n%s", tail(r.Output()))
	}
	b.Unchanged(t, sysctl, Set("detect", "halinux:drift"))
	b.Unchanged(t, sysctl)
	b.Up(t)
}

// finding is a place where something can have drifted.
type finding struct{ host, phase string }

// drifted reads the table that "drift" prints: what differs, for each phase
// that is not as it was left. A host that could not be looked at has a finding
// without a phase.
func drifted(table string) map[finding]string {
	found := map[finding]string{}
	var at finding
	for line := range strings.Lines(table) {
		line = strings.TrimRight(line, "\n")
		words := strings.Fields(line)
		switch {
		case len(words) < 2 || words[0] == "HOST":
		case strings.HasPrefix(line, " "):
			if _, open := found[at]; open {
				found[at] += "\n" + strings.TrimSpace(line)
			}
		case strings.HasPrefix(words[1], "unknown"):
			at = finding{words[0], ""}
			found[at] = strings.Join(words[1:], " ")
		case len(words) > 2 && words[2] == "drifted:":
			at = finding{words[0], words[1]}
			found[at] = strings.Join(words[3:], " ")
		default:
			at = finding{}
		}
	}
	return found
}

// aptLocked keeps apt's lock on a host until the returned function is called,
// as another process would. The extra package is not there, so that a run which
// wants it has to wait.
func (b *Bed) aptLocked(t testing.TB, host string) (release func()) {
	t.Helper()
	b.On(t, host, "dpkg --purge "+extra)
	b.On(t, host, `systemd-run -q --collect --unit=halinux-test-lock python3 -c '
import fcntl, signal
f = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(f, fcntl.LOCK_EX)
open("/run/halinux-test-lock", "w").close()
signal.pause()
'`)
	Until(t, time.Minute, "apt's lock", func() error {
		_, err := b.try(host, "test -e /run/halinux-test-lock")
		return err
	})
	return func() {
		_, _ = b.try(host, "rm -f /run/halinux-test-lock; systemctl stop halinux-test-lock.service")
	}
}

// extra is a package that the platform does not otherwise install.
const extra = "lsof"

var withExtra = Append(extra, baseKey, "packages", "install")

// inPhase waits until a run is in the middle of a phase on the host: in apt,
// which waits for its lock.
func (b *Bed) inPhase(t testing.TB, r *Run, host string) {
	t.Helper()
	Until(t, 3*time.Minute, "the run to be inside a phase on "+host, func() error {
		select {
		case <-r.done:
			t.Fatalf("the run has ended:\n%s", tail(r.Output()))
		default:
		}
		_, err := b.try(host, "pidof apt-get && ! flock -n /run/halinux.lock true")
		return err
	})
}

// rebootInPhase takes the power from a host in the middle of a phase, and from
// one right after it: a machine of its own, which loses what its disk does not
// have yet (containers share the memory of the machine below).
func rebootInPhase(t *testing.T, b *Bed, f *facts) {
	host := f.Edge.Services[0].Backends[0].Host
	defer b.aptLocked(t, host)()
	r := b.Start(t, "up", withExtra)
	b.inPhase(t, r, host)
	b.Lab(t, "crash", host)
	b.Lab(t, "up")
	r.Wait(t, patience)
	t.Logf("the run whose host went away: exit %d after %.1f s", r.Code, r.Took.Seconds())
	if r.Code != 0 {
		has(t, r.Output(), host)
	}
	b.Up(t, withExtra)
	halves := b.whole(t)
	if r := b.Do(t, "drift"); r.Code != 0 {
		t.Errorf("drift after the second run:\n%s", tail(r.Output()))
	}
	b.Record(t, report.Measurement{ID: "C2", Scenario: "a host loses power during its phase", Metric: "half-written files", Unit: "files", Value: float64(halves), Note: fmt.Sprintf("that run ended with %d after %.0f s, the next one converged", r.Code, r.Took.Seconds())})
	b.Up(t)
	machine := bonded(t, b)
	b.Lab(t, "crash", machine)
	b.Lab(t, "up")
	Until(t, 2*time.Minute, machine+" to be well again", func() error { return b.Well(f) })
	b.NoDrift(t)
}

// connectionCut ends the SSH connection in the middle of a script.
func connectionCut(t *testing.T, b *Bed, f *facts) {
	host := f.Edge.Services[0].Backends[0].Host
	release := b.aptLocked(t, host)
	defer release()
	r := b.Start(t, "up", withExtra)
	b.inPhase(t, r, host)
	// Every session but the one that does this.
	b.On(t, host, `mine=$(awk '/^PPid/ {print $2}' /proc/$$/status)
for p in $(pgrep -f '^sshd-session: root'); do
	[ "$p" = "$mine" ] || [ "$p" = "$(awk '/^PPid/ {print $2}' /proc/$mine/status)" ] || kill -KILL "$p"
done`)
	r.Wait(t, patience)
	if r.Code == 0 {
		t.Error("up succeeded though its connection was cut")
	}
	has(t, r.Output(), host)
	again := b.Start(t, "up", withExtra)
	release()
	if again.Wait(t, patience); again.Code != 0 {
		t.Fatalf("the next run failed:\n%s", tail(again.Output()))
	}
	halves := b.whole(t)
	b.Record(t, report.Measurement{ID: "C3", Scenario: "ssh cut in the middle of a script", Metric: "half-written files", Unit: "files", Value: float64(halves), Note: fmt.Sprintf("that run ended with %d after %.0f s, the next one converged", r.Code, r.Took.Seconds())})
	b.Up(t)
	machine := bonded(t, b)
	b.Lab(t, "crash", machine)
	b.Lab(t, "up")
	Until(t, 2*time.Minute, machine+" to be well again", func() error { return b.Well(f) })
	b.NoDrift(t)
}

// readOnly and full make a host's disk so. The folders are mounted over, since a
// container's disk is the machine's; what a daemon has open stays as it is.
const (
	readOnly = `for d in /etc /usr /var; do mount --bind $d $d; mount -o remount,ro,bind $d; done`
	full     = `mkdir /run/halinux-full; mount -t tmpfs -o size=256k none /run/halinux-full
for d in etc usr var; do
	mkdir /run/halinux-full/$d.new /run/halinux-full/$d.work
	mount -t overlay -o lowerdir=/$d,upperdir=/run/halinux-full/$d.new,workdir=/run/halinux-full/$d.work none /$d
done
dd if=/dev/zero of=/run/halinux-full/filler bs=4k 2>/dev/null || :
! echo 1 2>/dev/null >/var/lib/halinux-full`
	roomAgain = `for d in /etc /usr /var /run/halinux-full; do while umount -l $d 2>/dev/null; do :; done; done; rm -rf /run/halinux-full`
)

// diskFull takes the room from one file of a phase, then from the whole disk,
// which is read-only at last, as ext4 makes it after an error. What served goes
// on, and comes back when it dies then.
func diskFull(t *testing.T, b *Bed, f *facts) {
	const folder, file = "/etc/haproxy", "/etc/haproxy/haproxy.cfg"
	edge := b.owner(t, f)
	change := variation(40)
	clear, back := 0, 0.0
	faults := []struct {
		what, do, undo string
		words          []string
	}{
		{
			"full below " + folder,
			"cp -a " + folder + " /run/kept; mount -t tmpfs -o size=64k,mode=755 none " + folder + "; cp -a /run/kept/. " + folder + "; dd if=/dev/zero of=" + folder + "/.filler bs=4k 2>/dev/null || :",
			"umount " + folder + "; rm -rf /run/kept",
			[]string{"haproxy", file},
		},
		{"full", full, roomAgain, []string{"full", "/var/lib/halinux"}},
		{"read-only", readOnly, roomAgain, []string{"read-only", "/var/lib/halinux"}},
	}
	before := b.On(t, edge, "sha256sum "+file)
	for _, c := range faults {
		func() {
			lan, internet := both(t, b, f, patient)
			b.On(t, edge, c.do)
			defer func() { b.On(t, edge, c.undo) }()
			r := b.Do(t, "up", change)
			if r.Code == 0 {
				t.Errorf("up succeeded on a file system that is %s", c.what)
				return
			}
			has(t, r.Output(), append(c.words, edge)...)
			clear++
			if now := b.On(t, edge, "sha256sum "+file); now != before {
				t.Errorf("%s: %s changed", c.what, file)
			}
			if left := b.On(t, edge, "find /etc /usr/local -name '*.halinux'"); left != "" {
				t.Errorf("%s: left behind: %s", c.what, left)
			}
			lossless(t, b, report.Measurement{ID: "C4", Scenario: "the file system of the VIP's owner is full, or read-only"}, lan, internet)

			const serving = `systemctl show -P MainPID haproxy.service; printf 'GET /healthz HTTP/1.0\r\n\r\n' | socat -t 1 - UNIX-CONNECT:/run/haproxy/health.sock,shut-none`
			pid, _, _ := strings.Cut(b.On(t, edge, serving), "\n")
			b.On(t, edge, "systemctl kill --signal=KILL --kill-whom=all haproxy.service")
			killed := time.Now()
			Until(t, time.Minute, "HAProxy to serve again on a file system that is "+c.what, func() error {
				out, err := b.try(edge, serving)
				if now, _, _ := strings.Cut(out, "\n"); err == nil && (now == pid || !strings.Contains(out, " 200 ")) {
					err = errors.New(out)
				}
				return err
			})
			back = max(back, time.Since(killed).Seconds())
		}()
	}
	m := report.Measurement{ID: "C4", Scenario: "the file system of the VIP's owner is full, or read-only", Metric: "errors that name host and path", Unit: fmt.Sprintf("of %d", len(faults)), Value: float64(clear), Limit: float64(len(faults)), AtLeast: true}
	b.Record(t, m)
	m.Metric, m.Unit, m.Value, m.Limit, m.AtLeast = "HAProxy back after a SIGKILL then", "s", back, 2, false
	b.Record(t, m)
	Until(t, time.Minute, "the platform to be well", func() error { return b.Well(f) })
	b.Up(t, change)
	b.Up(t)
}

// mirrorDown lets apt fail for every reason that passes, and one that does not.
func mirrorDown(t *testing.T, b *Bed, f *facts) {
	host := f.Edge.Services[0].Backends[0].Host
	b.On(t, host, "dpkg --purge "+extra+"; rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb")
	b.Lab(t, "cut", "mirror", "eth0")
	r := b.Start(t, "up", withExtra)
	r.says(t, "trying again")
	b.Lab(t, "heal")
	if r.Wait(t, patience); r.Code != 0 {
		t.Errorf("up failed though the mirror came back:\n%s", tail(r.Output()))
	}
	named := 0 // the errors that say where and why
	names := func(r *Run, words ...string) {
		t.Helper()
		has(t, r.Output(), words...)
		named++
	}
	names(r, host, "trying again")
	b.Up(t)

	release := b.aptLocked(t, host)
	defer release()
	r = b.Start(t, "up", withExtra)
	r.says(t, "lock")
	release()
	if r.Wait(t, patience); r.Code != 0 {
		t.Errorf("up failed though apt's lock was freed:\n%s", tail(r.Output()))
	}
	names(r, host, "lock")
	r = b.Do(t, "up", withExtra, Append("no-such-package", baseKey, "packages", "install"))
	if r.Code == 0 {
		t.Error("up succeeded with a package that does not exist")
	}
	names(r, host, "no-such-package")
	b.Record(t, report.Measurement{ID: "C5", Scenario: "package mirror down, apt locked, package unknown", Metric: "errors that name host and reason", Unit: "of 3", Value: float64(named), Limit: 3, AtLeast: true, Note: fmt.Sprintf("an unknown package was refused after %.0f s", r.Took.Seconds())})
	b.Up(t)
}

// slowNetwork brings fresh hosts up, over a good line and over a bad one. The
// storage stays: its hosts keep data, and wait for each other more than for a line.
func slowNetwork(t *testing.T, b *Bed, f *facts) {
	fresh := func() {
		for name := range b.hosts {
			if b.topology.Hosts[name].Group != storageGroup {
				b.Lab(t, "replace", name)
			}
		}
	}
	fresh()
	clean := b.Up(t)
	fresh()
	// In each direction: a ping loses 20 % and takes 200 ms.
	b.Lab(t, "slow", controller, "loss=10.5%", "delay=100ms")
	bad := b.Up(t)
	b.Lab(t, "heal")
	b.Record(t, report.Measurement{ID: "C6", Scenario: "20 % loss and 200 ms delay between controller and hosts, all of them fresh", Metric: "time against a clean run", Unit: "times", Value: bad.Took.Seconds() / clean.Took.Seconds(), Limit: 3, Note: fmt.Sprintf("%.0f s against %.0f s", bad.Took.Seconds(), clean.Took.Seconds())})
	Until(t, 3*time.Minute, "the platform to be well", func() error { return b.Well(f) })
	b.NoDrift(t)
	b.Unchanged(t)
}

// twoControllers runs "up" twice at once: on one stack, and on a copy of it as
// another controller would have.
func twoControllers(t *testing.T, b *Bed, f *facts) {
	host := f.Edge.Services[0].Backends[0].Host
	watch := make(chan string, 1)
	stop := b.watchScripts(t, host, watch)

	first, second := b.Start(t, "up", variation(80)), b.Start(t, "up", variation(81))
	first.Wait(t, patience)
	second.Wait(t, patience)
	if first.Code != 0 && second.Code != 0 {
		t.Errorf("of two runs at once, neither succeeded:\n%s\n%s", tail(first.Output()), tail(second.Output()))
	}
	for _, r := range []*Run{first, second} {
		if r.Code != 0 {
			has(t, r.Output(), "lock")
		}
	}

	other := filepath.Join(t.TempDir(), "state")
	if out, err := exec.Command("cp", "-a", b.state(), other).CombinedOutput(); err != nil {
		t.Fatalf("copy the state: %v\n%s", err, out)
	}
	first = b.Start(t, "up", variation(82))
	second = b.startOn(t, "file://"+other, "up", variation(83))
	first.Wait(t, patience)
	second.Wait(t, patience)
	for _, r := range []*Run{first, second} {
		if r.Code != 0 {
			t.Errorf("with a state of its own:\n%s", tail(r.Output()))
		}
	}
	stop()
	most := <-watch
	if strings.TrimSpace(most) != "1" {
		t.Errorf("at most %s scripts ran at once on %s, not 1", strings.TrimSpace(most), host)
	}
	b.Record(t, report.Measurement{ID: "C8", Scenario: "two controllers at once", Metric: "interleaved scripts on a host", Unit: "scripts", Value: max(0, atof(most)-1)})
	b.Up(t, Set("detect", "halinux:drift"))
	b.Up(t)
}

// watchScripts counts the scripts that run on a host at the same time, and
// tells the most that it saw when it is stopped.
func (b *Bed) watchScripts(t testing.TB, host string, most chan<- string) (stop func()) {
	t.Helper()
	b.On(t, host, "rm -f /run/halinux-test-stop")
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		out, err := b.ssh.run(ctx, b.hosts[host], `most=0
while [ ! -e /run/halinux-test-stop ]; do
	n=0
	# Each runs below a "timeout" of its own; a shell's own children, which look
	# like it, do not.
	for p in $(pgrep -x timeout); do
		case $(tr '\0' ' ' </proc/$p/cmdline 2>/dev/null) in *" /var/lib/halinux/lib.sh script "*)
			! pgrep -P $p -x sh >/dev/null || n=$((n + 1)) ;;
		esac
	done
	[ $n -le $most ] || most=$n
	sleep 0.05
done
echo $most`, nil)
		if err != nil {
			out = err.Error()
		}
		most <- out
	}()
	return func() { b.On(t, host, ": >/run/halinux-test-stop") }
}

func atof(s string) float64 {
	var v float64
	_, _ = fmt.Sscan(s, &v)
	return v
}

// lockedOut makes changes that would cut the controller off.
func lockedOut(t *testing.T, b *Bed, f *facts) {
	host := f.Edge.Services[0].Backends[0].Host
	for _, c := range []struct {
		what, host    string
		change        Change
		phase, reason string
	}{
		{"a firewall that blocks ssh", host, Set([]any{"203.0.113.0/24"}, baseKey, "firewall", "ssh"), "firewall", "with this change the controller"},
		{"a bond with a wrong gateway", bonded(t, b), wrongGateway, "network", "the router 10.10.0.254 does not answer on bond0"},
	} {
		const look = "! command -v nft >/dev/null || nft list ruleset; ip -4 -br address; ip route; find /etc/systemd/network /etc/halinux/firewall.nft -type f -exec sha256sum {} + | sort"
		before := b.On(t, c.host, look)
		r := b.Start(t, "up", c.change)
		unreachable, longest := time.Time{}, time.Duration(0)
		var ended time.Time
		_, _ = poll(patience, func() error {
			// A whole login: sshd refuses for a while who only comes and goes.
			asked := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			client, err := b.ssh.dial(ctx, b.hosts[c.host])
			cancel()
			switch {
			case err == nil:
				client.Close()
				if !unreachable.IsZero() {
					longest = max(longest, time.Since(unreachable))
				}
				unreachable = time.Time{}
			case unreachable.IsZero():
				unreachable = asked
			}
			select {
			case <-r.done:
				if ended.IsZero() {
					ended = time.Now()
				}
				if err == nil || time.Since(ended) > time.Minute {
					return nil
				}
			default:
			}
			return errors.New("going on")
		})
		if !unreachable.IsZero() {
			t.Errorf("%s: the host could not be reached a minute after the run, for %.0f s: %s", c.what, time.Since(unreachable).Seconds(), tail(r.Output()))
		}
		r.Wait(t, patience)
		if r.Code == 0 {
			t.Errorf("%s: up succeeded", c.what)
		}
		has(t, r.Output(), "error: "+c.host+": "+c.phase+": the change was undone", "error: "+c.host+": "+c.phase+": "+c.reason)
		if after := b.On(t, c.host, look); after != before {
			t.Errorf("%s: the host is not as it was; before:\n%s\nafter:\n%s", c.what, before, after)
		}
		b.Record(t, report.Measurement{ID: "C9", Scenario: "a change that would lock the controller out", Metric: "host unreachable: " + c.what, Unit: "s", Value: longest.Seconds(), Limit: 60, Note: fmt.Sprintf("the run said so after %.0f s", r.Took.Seconds())})
		b.Up(t)
	}
}

// bonded is the host with two links on one network.
func bonded(t testing.TB, b *Bed) string {
	t.Helper()
	if _, ok := b.hosts["backend3"]; !ok {
		t.Fatal("the lab has no host with two links on one network")
	}
	return "backend3"
}

// wrongGateway makes the default route of the site's network an address that
// nobody has.
func wrongGateway(s Settings) {
	for _, n := range s["halinux:networks"].([]any) {
		if m := n.(map[string]any); m["name"] == "lan" {
			m["gateway"] = "10.10.0.254"
		}
	}
}

// bondLinkCut pulls one of the two cables of a bonded host, then the other.
func bondLinkCut(t *testing.T, b *Bed, f *facts) {
	host := bonded(t, b)
	s := f.lan()
	s.URL = "http://" + b.hosts[host] + "/"
	s.Rate = b.rate / 4 // one emulated processor, a kernel in user mode
	for _, mode := range []string{"new", "keepalive"} {
		s.Mode = mode
		l := b.Send(t, controller, with(s, patient))
		for _, link := range []string{"eth0", "eth1"} {
			b.Lab(t, "cut", host, link)
			l.Steady(t, 3*time.Second, time.Minute)
			b.Lab(t, "heal", host, link)
			Until(t, time.Minute, link+" to be part of the bond again", func() error {
				out, err := b.try(host, "cat /sys/class/net/"+link+"/operstate /sys/class/net/"+link+"/bonding_slave/mii_status")
				if err == nil && strings.Fields(out)[1] != "up" {
					err = errors.New(out)
				}
				return err
			})
		}
		lossless(t, b, report.Measurement{ID: "bond", Scenario: "pull each cable of a bond in turn, " + mode + " connections"}, l)
	}
}

// cleanReboot reboots hosts, one after the other: the VIP's owner and one with
// a bond, or all.
func cleanReboot(t *testing.T, b *Bed, f *facts) {
	owner := b.owner(t, f)
	for _, h := range f.Hosts {
		if !b.full && h.Name != owner && h.Name != bonded(t, b) {
			continue
		}
		boot := b.On(t, h.Name, "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1")
		l := b.Send(t, controller, with(f.lan(), patient))
		_, _ = b.try(h.Name, "systemctl reboot")
		started := time.Now()
		Until(t, 5*time.Minute, h.Name+" to come back", func() error {
			now, err := b.try(h.Name, "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1")
			if err == nil && now == boot {
				err = errors.New("it has not gone yet")
			}
			return err
		})
		Until(t, 5*time.Minute, "the platform to be well", func() error { return b.Well(f) })
		s := l.Stop(t)
		b.Record(t, report.Measurement{ID: "reboot", Scenario: "reboot every host in turn", Metric: "time without service at the VIP while " + h.Name + " reboots", Unit: "s", Value: outage(s), Limit: 3.7, Note: fmt.Sprintf("well again after %.0f s; %s", time.Since(started).Seconds(), loads(s))})
	}
	b.NoDrift(t)
	b.Unchanged(t)
}

// replaced gives a host's address to a fresh one.
func replaced(t *testing.T, b *Bed, f *facts) {
	host := f.Edge.Services[0].Backends[0].Host
	known := filepath.Join(b.root, ".lab", "known_hosts")
	old, err := os.ReadFile(known)
	if err != nil {
		t.Fatal(err)
	}
	b.Lab(t, "replace", host)
	fresh, err := os.ReadFile(known)
	if err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(stale, old, 0o600); err != nil {
		t.Fatal(err)
	}
	if string(old) == string(fresh) {
		t.Fatal("the fresh host has the key of the old one")
	}
	// The connection by which this asks is kept, and so counted once.
	const logins = "journalctl -q -b --no-pager -t sshd -t sshd-session | grep -c 'Accepted ' || :"
	before := b.On(t, host, logins)
	r := b.Do(t, "up", variation(100), Set(stale, "halinux:ssh", "knownHosts"))
	if r.Code == 0 {
		t.Error("up went on with a host whose key is another")
	}
	touched := 0
	if after := b.On(t, host, logins); after != before {
		touched++
		t.Errorf("up logged in on the fresh host before its key was accepted: %s logins, were %s", strings.TrimSpace(after), strings.TrimSpace(before))
	}
	has(t, r.Output(), host, "key")
	b.Up(t)
	Until(t, 3*time.Minute, "the platform to be well", func() error { return b.Well(f) })
	b.NoDrift(t)
	b.Unchanged(t)
	b.Record(t, report.Measurement{ID: "C10", Scenario: "a host is replaced by a fresh one under its address", Metric: "touched before its key was accepted", Unit: "hosts", Value: float64(touched), Note: "refused, then rebuilt once the key was accepted"})
}
