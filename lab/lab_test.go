package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const testTopology = `
networks: {lan: 10.10.0.0/24, wan: 192.0.2.0/24}
controller: {links: [{network: lan, address: 10.10.0.2}]}
mirror: {links: [{network: lan, address: 10.10.0.3}]}
hosts:
  one:
    links: [{network: lan, address: 10.10.0.11}, {network: wan, address: 192.0.2.11}]
    sysctls: {net.ipv4.ip_forward: "1"}
  two:
    memory: 300
    links: [{network: lan, address: 10.10.0.12}, {network: wan, address: 192.0.2.12}]
  four:
    group: more
    links: [{network: lan, address: 10.10.0.14}]
  three:
    needs: [kernel]
    memory: 256
    links: [{network: lan, address: 10.10.0.13}, {network: lan}]
    disks: [{size: 64}]
`

// bench is a lab of its own for the tests, driven through the program as a user
// would.
type bench struct {
	*testing.T
	lab     *Lab
	program string
	file    string
}

func newBench(t *testing.T) *bench {
	if os.Getenv("HALINUX_E2E") == "" {
		t.Skip("SKIP: set HALINUX_E2E=1 to start hosts")
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIP: the lab needs root")
	}
	// Its name is fixed, so that what a killed run left is found.
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	held, err := lock(ctx, filepath.Join(os.TempDir(), "halinux-lab-test.lock"))
	if err != nil {
		t.Fatalf("another test of the lab runs: %v", err)
	}
	t.Cleanup(func() { held.Close() })
	dir := t.TempDir()
	b := &bench{T: t, program: filepath.Join(dir, "lab"), file: filepath.Join(dir, "topology.yaml")}
	if out, err := exec.Command("go", "build", "-o", b.program, "./cmd/lab").CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	if err := os.WriteFile(b.file, []byte(testTopology), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LAB_NAME", "test")
	t.Chdir(dir)
	if b.lab, err = Open("test", b.file, os.Stderr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.run("down") })
	return b
}

// in is the same lab, for a part of the test.
func (b *bench) in(t *testing.T) *bench {
	part := *b
	part.T = t
	return &part
}

// long marks a part that the short form leaves out.
func (b *bench) long() {
	if testing.Short() {
		b.Skip("SKIP: only in the long form of the test (without -short)")
	}
}

// run runs a verb and returns what it wrote to stdout.
func (b *bench) run(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.program, append([]string{"-f", b.file}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("lab %s: %w\n%s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(out.String()), err
}

func (b *bench) must(args ...string) string {
	b.Helper()
	out, err := b.run(args...)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// until polls a condition.
func (b *bench) until(what string, deadline time.Duration, f func() bool) time.Duration {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	began := time.Now()
	if err := poll(ctx, 100*time.Millisecond, func() (bool, error) { return f(), nil }); err != nil {
		b.Fatalf("%s: not within %v", what, deadline)
	}
	return time.Since(began)
}

func (b *bench) bootID(host string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.program, "ssh", host, "cat /proc/sys/kernel/random/boot_id")
	cmd.WaitDelay = time.Second // its ssh may hang on a host that is gone
	out, _ := cmd.Output()
	return strings.TrimSpace(string(out))
}

// knownBootID is that of a host that is up.
func (b *bench) knownBootID(host string) string {
	b.Helper()
	id := ""
	b.until("boot id of "+host, time.Minute, func() bool { id = b.bootID(host); return id != "" })
	return id
}

// ping counts the answers to n requests.
func (b *bench) ping(addr string, n int) int {
	out, _ := b.run("exec", "--", "ping", "-n", "-q", "-c", strconv.Itoa(n), "-i", "0.02", "-W", "1", addr)
	_, rest, _ := strings.Cut(out, "transmitted, ")
	count, _, _ := strings.Cut(rest, " ")
	got, err := strconv.Atoi(count)
	if err != nil {
		b.Fatalf("ping: %s", out)
	}
	return got
}

// answersAll wants n requests answered in a row. More than one try, since ping
// does not wait for an answer that is late by more than twice the usual time.
func (b *bench) answersAll(addr string, n int) {
	b.Helper()
	b.until(fmt.Sprintf("%d answers in a row", n), 30*time.Second, func() bool { return b.ping(addr, n) == n })
}

// killAfter runs a verb and kills it.
func (b *bench) killAfter(d time.Duration, args ...string) {
	b.Helper()
	cmd := exec.Command(b.program, append([]string{"-f", b.file}, args...)...)
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	pause(d)
	cmd.Process.Kill()
	cmd.Wait()
}

// trace is everything a lab could leave on a machine.
func (b *bench) trace() []string {
	var found []string
	names, err := filepath.Glob(filepath.Join(netnsDir, "hl-test-*"))
	if err != nil {
		b.Fatal(err)
	}
	found = append(found, names...)
	mounts, err := mountsBelow(b.lab.dir)
	if err != nil {
		b.Fatal(err)
	}
	found = append(found, mounts...)
	// What "exec" started is in no control group, and its namespace may have
	// lost its name; the environment tells.
	spared := ancestors()
	mine := func(pid int) bool {
		env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		return !spared[pid] && slices.Contains(strings.Split(string(env), "\x00"), "LAB_NAME=test")
	}
	match := anyOf(inCgroup(filepath.Join(cgroupTop, "test")), mine)
	// init may take a moment to collect the dead
	for _, pid := range findProcesses(func(pid int) bool { return !zombie(pid) && match(pid) }) {
		found = append(found, fmt.Sprintf("process %d", pid))
	}
	for _, pattern := range []string{b.lab.dir, b.lab.dir + ".lock", b.lab.gatePath(), filepath.Join(os.TempDir(), agentPrefix("test")+"*"), "/run/systemd/nspawn/propagate/hl-test-*", "/sys/fs/cgroup/halinux-lab/test", "/sys/fs/cgroup/*/halinux-lab/test"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			b.Fatal(err)
		}
		found = append(found, names...)
	}
	return found
}

func (b *bench) processes(host string) []int {
	return findProcesses(func(pid int) bool {
		return !zombie(pid) && anyOf(inCgroup(b.lab.cgroup(host)), inNetns(b.lab.namespace(host)))(pid)
	})
}

func TestLab(t *testing.T) {
	b := newBench(t)
	hosts, err := b.lab.topology.namesOf(nil)
	if err != nil {
		t.Fatal(err)
	}
	b.must("down")
	b.must("setup")
	b.must("image")
	began := time.Now()
	b.must("up")
	t.Logf("up: %.1f s", time.Since(began).Seconds())

	t.Run("every host answers ssh and is itself", func(t *testing.T) {
		b := b.in(t)
		ids := map[string]bool{}
		for _, host := range hosts {
			if got := b.must("ssh", host, "hostname"); got != host {
				t.Errorf("%s says it is %q", host, got)
			}
			ids[b.must("ssh", host, "cat /etc/machine-id")] = true
			if got := b.must("ssh", host, "systemctl is-system-running --wait || systemctl --failed --no-legend"); got != "running" {
				t.Errorf("%s: %s", host, got)
			}
		}
		if len(ids) != len(hosts) {
			t.Errorf("machine ids are not unique: %v", ids)
		}
		if got := b.must("ssh", "one", "sysctl -n net.ipv4.ip_forward"); got != "1" {
			t.Errorf("ip_forward is %q", got)
		}
	})
	t.Run("up with everything running is quick and starts nothing", func(t *testing.T) {
		b := b.in(t)
		before := b.knownBootID("one")
		began := time.Now()
		b.must("up")
		t.Logf("up again: %.2f s", time.Since(began).Seconds())
		if b.knownBootID("one") != before {
			t.Error("one was started again")
		}
	})
	t.Run("exec passes exit code and agent", func(t *testing.T) {
		b := b.in(t)
		if _, err := b.run("exec", "--", "sh", "-c", "exit 7"); err == nil || !strings.Contains(err.Error(), "exit status 7") {
			t.Errorf("exit code 7 became %v", err)
		}
		if got := b.must("exec", "--", "ssh-add", "-l"); !strings.Contains(got, "ED25519") {
			t.Errorf("agent holds %q", got)
		}
	})
	t.Run("packages come from the mirror, signed", func(t *testing.T) {
		b := b.in(t)
		key, err := os.ReadFile(filepath.Join(b.lab.dir, "mirror.asc"))
		if err != nil {
			t.Fatal(err)
		}
		b.must("ssh", "two", "cat > /etc/apt/lab.asc <<'EOF'\n"+string(key)+"EOF\n"+
			"echo 'deb [signed-by=/etc/apt/lab.asc] http://10.10.0.3/debian trixie main' > /etc/apt/sources.list.d/lab.list; apt-get -qq update && apt-get -qq -y install jq >/dev/null 2>&1")
		if got := b.must("ssh", "two", "echo 5 | jq '.+1'"); got != "6" {
			t.Errorf("jq says %q", got)
		}
	})
	t.Run("a container's kernel parameters stay in it", func(t *testing.T) {
		b := b.in(t)
		before, err := os.ReadFile("/proc/sys/kernel/panic")
		if err != nil {
			t.Fatal(err)
		}
		if got := b.must("ssh", "one", "sysctl -qw kernel.panic=77 && sysctl -n kernel.panic"); got != "77" {
			t.Errorf("one reads %q", got)
		}
		after, _ := os.ReadFile("/proc/sys/kernel/panic")
		if !bytes.Equal(before, after) {
			t.Errorf("the machine's own went from %s to %s", before, after)
		}
		if got := b.must("ssh", "two", "sysctl -n kernel.panic"); got == "77" {
			t.Error("it reached another host")
		}
	})
	t.Run("a container's memory is bounded", func(t *testing.T) {
		b := b.in(t)
		got := b.must("ssh", "two", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || echo v2")
		if got == "v2" {
			data, err := os.ReadFile("/sys/fs/cgroup/" + b.lab.cgroup("two") + "/memory.max")
			if err != nil {
				t.Fatal(err)
			}
			got = strings.TrimSpace(string(data))
		}
		if got != strconv.Itoa(300<<20) {
			t.Errorf("the limit is %s", got)
		}
	})
	t.Run("nothing leads out", func(t *testing.T) {
		b := b.in(t)
		if out, err := b.run("exec", "--", "ip", "route", "get", "9.9.9.9"); err == nil {
			t.Errorf("the controller has a way out: %s", out)
		}
	})

	for _, host := range []string{"one", "three"} {
		addr := b.lab.topology.addressOf(b.lab.topology.Hosts[host]).String()
		t.Run("crash of "+host+" leaves no process and no answer", func(t *testing.T) {
			b := b.in(t)
			b.must("ssh", host, "echo kept > /root/file; sync")
			b.must("crash", host)
			if got := b.ping(addr, 3); got != 0 {
				t.Errorf("%d answers from the dead", got)
			}
			if pids := b.processes(host); len(pids) > 0 {
				t.Errorf("processes %v live on", pids)
			}
		})
		t.Run("restart of "+host+" brings its files back", func(t *testing.T) {
			b := b.in(t)
			began := time.Now()
			b.must("restart", host)
			t.Logf("restart of %s: %.1f s", host, time.Since(began).Seconds())
			if got := b.must("ssh", host, "cat /root/file"); got != "kept" {
				t.Errorf("file holds %q", got)
			}
		})
		t.Run("reboot inside of "+host, func(t *testing.T) {
			b := b.in(t)
			if host == "three" {
				b.long() // its resets are tested below
			}
			before := b.knownBootID(host)
			b.run("ssh", host, "systemctl reboot")
			took := b.until("reboot", 2*time.Minute, func() bool { id := b.bootID(host); return id != "" && id != before })
			t.Logf("reboot of %s: %.1f s", host, took.Seconds())
			if got := b.must("ssh", host, "cat /root/file"); got != "kept" {
				t.Errorf("file holds %q", got)
			}
		})
		t.Run("up heals "+host+" after kill -9 of its supervisor", func(t *testing.T) {
			b := b.in(t)
			pids := findProcesses(func(pid int) bool {
				args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				return string(args) == "lab\x00_host\x00"+host+"\x00" && inCgroup(b.lab.cgroup(host))(pid)
			})
			if len(pids) != 1 {
				t.Fatalf("supervisors: %v", pids)
			}
			unix.Kill(pids[0], unix.SIGKILL)
			b.until("supervisor gone", 10*time.Second, func() bool { return !b.lab.powered(host) })
			b.must("up")
			if got := b.must("ssh", host, "cat /root/file"); got != "kept" {
				t.Errorf("file holds %q", got)
			}
			if n := len(b.processes(host)); n == 0 {
				t.Error("no process of the host is found")
			}
		})
		t.Run("up heals "+host+" after kill -9 of what runs it", func(t *testing.T) {
			b := b.in(t)
			b.long()
			killed := 0
			for _, pid := range b.processes(host) {
				exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
				if name := filepath.Base(exe); name == "systemd-nspawn" || name == "linux.uml" {
					unix.Kill(pid, unix.SIGKILL)
					killed++
				}
			}
			if killed == 0 {
				t.Fatal("found nothing to kill")
			}
			b.until("host off", 20*time.Second, func() bool { return !b.lab.powered(host) })
			b.must("up")
			if got := b.must("ssh", host, "cat /root/file"); got != "kept" {
				t.Errorf("file holds %q", got)
			}
		})
	}
	t.Run("watchdog and sudden reset of a virtual machine", func(t *testing.T) {
		b := b.in(t)
		for _, command := range []string{
			"modprobe softdog soft_margin=2 && echo x > /dev/watchdog",
			"echo b > /proc/sysrq-trigger",
		} {
			before := b.knownBootID("three")
			// Detached, since the session would hang on a host that is gone.
			b.must("ssh", "three", "systemd-run -q --on-active=1 sh -c '"+command+"'")
			b.until(command, 2*time.Minute, func() bool { id := b.bootID("three"); return id != "" && id != before })
		}
	})
	t.Run("a virtual machine has its disk", func(t *testing.T) {
		b := b.in(t)
		const disk = "/dev/disk/by-id/lab-disk1"
		if got := b.must("ssh", "three", "blockdev --getsize64 "+disk); got != "67108864" {
			t.Errorf("disk has %s bytes", got)
		}
		b.must("ssh", "three", "echo kept | dd conv=fsync of="+disk)
		b.must("restart", "three")
		if got := b.must("ssh", "three", "head -c 4 "+disk); got != "kept" {
			t.Errorf("after a restart it holds %q", got)
		}
		key := b.must("exec", "--", "ssh-keyscan", "-t", "ed25519", "10.10.0.13")
		b.must("replace", "three")
		if got := b.must("ssh", "three", "head -c 4 "+disk+" | tr -d '\\0'"); got != "" {
			t.Errorf("a fresh machine's disk holds %q", got)
		}
		if b.must("exec", "--", "ssh-keyscan", "-t", "ed25519", "10.10.0.13") == key {
			t.Error("a fresh machine has the old one's key")
		}
	})
	t.Run("what storage needs of a kernel is there", func(t *testing.T) {
		b := b.in(t)
		b.must("ssh", "three", "modprobe -a drbd nfsd nfsv4 raid0 raid1 raid456 dm_mod dm_flakey xfs softdog bonding")
	})
	t.Run("power off stays off until up", func(t *testing.T) {
		b := b.in(t)
		b.long()
		b.run("ssh", "two", "systemctl poweroff")
		b.until("off", time.Minute, func() bool { return !b.lab.powered("two") })
		b.must("up")
		b.must("ssh", "two", "true")
	})

	t.Run("a pulled cable loses the carrier, also after a restart", func(t *testing.T) {
		b := b.in(t)
		b.long()
		carrier := func(host, card string) func() bool {
			return func() bool { return b.must("ssh", host, "cat /sys/class/net/"+card+"/carrier") == "1" }
		}
		b.must("ssh", "three", "ip link set eth1 up")
		for host, card := range map[string]string{"one": "eth1", "three": "eth1"} {
			b.until("carrier before", 10*time.Second, carrier(host, card))
			b.must("cut", host, card)
			b.until("no carrier", 10*time.Second, func() bool { return !carrier(host, card)() })
		}
		b.must("restart", "one")
		if carrier("one", "eth1")() {
			t.Error("the cable of one is back after a restart")
		}
		if out := b.must("status"); !strings.Contains(out, "three eth1") {
			t.Errorf("status does not tell: %s", out)
		}
		b.must("heal")
		b.until("carrier again", 20*time.Second, func() bool { return carrier("one", "eth1")() && carrier("three", "eth1")() })
	})
	t.Run("a virtual machine is there again after its only cable was pulled", func(t *testing.T) {
		b := b.in(t)
		const addr = "10.10.0.13"
		// Traffic while it is out: a driver that meets an error gives up for good.
		b.must("ssh", "three", "systemd-run -q ping -n -q -c 300 -i 0.05 10.10.0.2")
		b.must("cut", "three", "eth0")
		if got := b.ping(addr, 20); got != 0 {
			t.Errorf("%d answers through a pulled cable", got)
		}
		b.must("restart", "one") // other hosts' changes must not plug it in
		if got := b.ping(addr, 5); got != 0 {
			t.Errorf("%d answers through a pulled cable after another host's restart", got)
		}
		b.must("heal")
		b.until("answer after heal", 20*time.Second, func() bool { return b.ping(addr, 1) == 1 })
	})
	t.Run("a bond goes on over its other cable", func(t *testing.T) {
		b := b.in(t)
		const addr = "10.10.0.13"
		b.must("ssh", "three", `cd /etc/systemd/network
printf '[NetDev]\nName=bond0\nKind=bond\n[Bond]\nMode=active-backup\nMIIMonitorSec=100ms\n' >05-bond0.netdev
printf '[Match]\nName=eth0 eth1\n[Network]\nBond=bond0\n' >05-cards.network
printf '[Match]\nName=bond0\n[Network]\nAddress=10.10.0.13/24\nLinkLocalAddressing=no\n' >06-bond0.network
systemd-run -q --on-active=1 systemctl restart systemd-networkd`)
		active := func(card string) func() bool {
			return func() bool {
				out, err := b.run("ssh", "three", "grep 'Active Slave' /proc/net/bonding/bond0")
				return err == nil && strings.HasSuffix(out, ": "+card)
			}
		}
		// A session that is under way when the bond takes the address over hangs
		// until ssh gives it up, after a minute (ServerAliveInterval).
		b.until("bond", 2*time.Minute, func() bool { return active("eth0")() || active("eth1")() })
		for _, cards := range [][2]string{{"eth0", "eth1"}, {"eth1", "eth0"}, {"eth0", "eth1"}} {
			pulled, other := cards[0], cards[1]
			b.must("cut", "three", pulled)
			b.until("bond over "+other, 20*time.Second, active(other))
			b.answersAll(addr, 50)
			b.must("heal")
			b.until("carrier of "+pulled, 20*time.Second, func() bool {
				return b.must("ssh", "three", "grep -A1 'Interface: "+pulled+"' /proc/net/bonding/bond0 | grep -c up || true") == "1"
			})
		}
	})
	t.Run("a cut between two hosts, whole or one protocol", func(t *testing.T) {
		b := b.in(t)
		reach := func() (lan, wan bool) {
			out := b.must("ssh", "one", "for a in 10.10.0.12 192.0.2.12; do ping -n -q -c 1 -W 1 $a >/dev/null && echo yes || echo no; done")
			lines := strings.Fields(out)
			return lines[0] == "yes", lines[1] == "yes"
		}
		if lan, wan := reach(); !lan || !wan {
			t.Fatalf("before: %v %v", lan, wan)
		}
		b.must("cut", "one", "two")
		if lan, wan := reach(); lan || wan {
			t.Errorf("cut: %v %v", lan, wan)
		}
		b.must("ssh", "one", "true")
		b.must("ssh", "two", "true")
		b.must("heal", "two", "one")
		b.must("cut", "two", "one", "tcp 22")
		if lan, wan := reach(); !lan || !wan {
			t.Errorf("cut of one port stops icmp: %v %v", lan, wan)
		}
		if _, err := b.run("ssh", "one", "timeout 2 bash -c 'exec 3<>/dev/tcp/10.10.0.12/22'"); err == nil {
			t.Error("the port is still open")
		}
		b.must("heal")
		b.must("ssh", "one", "timeout 2 bash -c 'exec 3<>/dev/tcp/10.10.0.12/22'")
	})
	t.Run("a slow link delays and loses, also after a restart", func(t *testing.T) {
		b := b.in(t)
		b.long()
		// As ping itself measures: starting it may take longer than the delay.
		rtt := func() float64 {
			for range 20 {
				out, _ := b.run("exec", "--", "ping", "-n", "-c", "1", "-W", "2", "10.10.0.12")
				_, rest, _ := strings.Cut(out, " time=")
				value, _, _ := strings.Cut(rest, " ")
				if ms, err := strconv.ParseFloat(value, 64); err == nil {
					return ms
				}
			}
			t.Fatal("no answer")
			return 0
		}
		fast := rtt()
		b.must("slow", "two", "eth0", "delay=200ms")
		if slow := rtt(); slow < 400 {
			t.Errorf("round trip took %.1f ms, 400 were asked for; before %.1f ms", slow, fast)
		}
		b.must("slow", "two", "eth0", "loss=50%")
		if got := b.ping("10.10.0.12", 200); got < 10 || got > 110 {
			t.Errorf("%d of 200 came back, a quarter should", got)
		}
		b.must("restart", "two")
		if got := b.ping("10.10.0.12", 200); got < 10 || got > 110 {
			t.Errorf("%d of 200 came back after a restart, a quarter should", got)
		}
		b.must("heal", "two")
		b.answersAll("10.10.0.12", 20)
	})
	t.Run("a group is brought up when asked for, and left alone otherwise", func(t *testing.T) {
		b := b.in(t)
		if _, err := b.run("restart", "four"); err == nil || !strings.Contains(err.Error(), "lab up more") {
			t.Errorf("restart of a host that is not up: %v", err)
		}
		b.must("up", "more")
		b.must("ssh", "four", "true")
		b.must("crash", "four")
		b.must("up")
		if b.lab.powered("four") {
			t.Error("up has started the host of a group that was not asked for")
		}
		if _, err := b.run("up", "mroe"); err == nil || !strings.Contains(err.Error(), "more") {
			t.Errorf("a group that does not exist: %v", err)
		}
	})
	t.Run("nothing is left after kill -9 at any moment", func(t *testing.T) {
		b := b.in(t)
		b.must("down")
		moments := []time.Duration{20, 80, 150, 300, 500, 800, 1200, 2000, 3500, 6000}
		if testing.Short() {
			moments = []time.Duration{50, 250, 700, 1500}
		}
		for _, ms := range moments {
			b.killAfter(ms*time.Millisecond, "up", "more")
			b.killAfter(ms*time.Millisecond, "exec", "--", "sleep", "10")
			b.killAfter(ms*time.Millisecond/10, "down")
			b.must("down")
			if found := b.trace(); len(found) > 0 {
				t.Errorf("kill after %d ms leaves %v", ms, found)
			}
		}
	})
	t.Run("up after a kill in the middle of up", func(t *testing.T) {
		b := b.in(t)
		b.long()
		cmd := exec.Command(b.program, "-f", b.file, "up")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		b.until("some host has power", time.Minute, func() bool {
			return slices.ContainsFunc(hosts, b.lab.powered)
		})
		cmd.Process.Kill()
		cmd.Wait()
		b.must("up")
		for _, host := range hosts {
			b.must("ssh", host, "true")
		}
	})
	t.Run("down leaves nothing", func(t *testing.T) {
		b := b.in(t)
		b.must("down")
		if found := b.trace(); len(found) > 0 {
			t.Errorf("left over: %v", found)
		}
		b.must("down")
	})
}
