package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// driver is how a host runs.
type driver interface {
	name() string
	// prepare makes the host's disk ready to boot from.
	prepare() error
	// plug gives the host its cards.
	plug() error
	// run boots the host and returns when it is off.
	run(ctx context.Context, console *os.File) (reboot bool, err error)
	// clear removes what the driver leaves outside of the instance's folder.
	clear() error
}

// driver is how a host runs: as it did at its first boot, since its disk fits
// no other way, else as it will.
func (l *Lab) driver(h *Host) driver {
	choice := l.chooseDriver(h)
	if recorded, err := os.ReadFile(l.driverPath(h.name)); err == nil {
		choice = string(recorded)
	}
	switch choice {
	case "kvm", "tcg":
		return kvm{lab: l, host: h, accel: choice}
	case "uml":
		return uml{lab: l, host: h}
	default:
		return container{lab: l, host: h}
	}
}

// chooseDriver goes by what the host needs, and what the machine can do.
// LAB_DRIVER=kvm makes every host a virtual machine under kvm, LAB_DRIVER=uml
// leaves kvm alone, and LAB_DRIVER=tcg (qemu without any support, very slow)
// serves to try the kvm driver where kvm does not work.
func (l *Lab) chooseDriver(h *Host) string {
	switch forced := os.Getenv("LAB_DRIVER"); {
	case forced == "kvm":
		return forced
	case !h.needsKernel():
		return containerName
	case forced == "tcg" || forced == "uml":
		return forced
	case l.kvmAnswer() == kvmYes:
		return "kvm"
	default:
		return "uml"
	}
}

func (l *Lab) driverPath(host string) string { return filepath.Join(l.hostDir(host), "driver") }

func (l *Lab) hostLock(host string) string { return filepath.Join(l.hostDir(host), "power.lock") }

// powered tells whether the host's supervisor lives.
func (l *Lab) powered(host string) bool { return locked(l.hostLock(host)) }

// power is what the supervisor writes down about a running host.
type power struct {
	Driver string
	Since  time.Time
}

func (l *Lab) readPower(host string) power {
	var p power
	if data, err := os.ReadFile(filepath.Join(l.hostDir(host), "power.json")); err == nil {
		json.Unmarshal(data, &p)
	}
	return p
}

// switchOn starts the host's supervisor as a process of its own, which outlives
// this program and its terminal.
func (l *Lab) switchOn(host string) error {
	return l.spawn(host, "_host", host)
}

// spawn starts this program again, detached, with a log.
func (l *Lab) spawn(node string, args ...string) error {
	if err := os.MkdirAll(filepath.Dir(l.logPath(node)), 0o755); err != nil {
		return err
	}
	log, err := os.OpenFile(l.logPath(node), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("log of %s: %w", node, err)
	}
	defer log.Close()
	wait, cancel := context.WithTimeout(context.Background(), gateDeadline)
	defer cancel()
	gate, err := flock(wait, l.gatePath(), unix.LOCK_SH)
	if err != nil {
		return fmt.Errorf("start %s: lab %s is being removed: %w", node, l.name, err)
	}
	defer gate.Close()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = "lab"
	cmd.ExtraFiles = []*os.File{gate} // descriptor 3
	cmd.Dir = "/"
	cmd.Env = []string{"LAB_NAME=" + l.name, "PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LAB_DRIVER=" + os.Getenv("LAB_DRIVER"), gateVariable + "=3"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", node, err)
	}
	return cmd.Process.Release()
}

// The gate is a lock that a started process shares until it is in its control
// group, by which down finds it. Otherwise down, right after a kill -9 of up,
// could miss one that is only just starting, and that would live on.
func (l *Lab) gatePath() string { return l.dir + ".gate" }

const gateVariable = "LAB_GATE"

// gateDeadline is how long a process may take to enter its control group.
const gateDeadline = 30 * time.Second

// enter moves a process that was started by spawn into its control group.
func (l *Lab) enter(node string) error {
	if err := enterCgroup(l.cgroup(node)); err != nil {
		return err
	}
	if fd, err := strconv.Atoi(os.Getenv(gateVariable)); err == nil {
		unix.Close(fd)
		os.Unsetenv(gateVariable)
	}
	return nil
}

// Supervise is the hardware around one host: it boots it, and boots it again
// when it asks for it, until it is switched off or fails.
func (l *Lab) Supervise(ctx context.Context, host string) error {
	h, ok := l.topology.Hosts[host]
	if !ok {
		return l.noHost(host)
	}
	if err := l.enter(host); err != nil {
		return err
	}
	lockCtx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	held, err := lock(lockCtx, l.hostLock(host))
	if err != nil {
		return err
	}
	defer held.Close()
	d := l.driver(h)
	if err := writeFile(l.driverPath(host), []byte(d.name()), 0o644); err != nil {
		return err
	}
	for {
		if err := l.clearHost(h); err != nil {
			return err
		}
		fmt.Printf("lab: %s is switched on (%s) at %s\n", host, d.name(), time.Now().Format(time.TimeOnly))
		record, err := json.Marshal(power{Driver: d.name(), Since: time.Now()})
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(l.hostDir(host), "power.json"), record, 0o644); err != nil {
			return err
		}
		reboot, err := l.boot(ctx, d, h)
		if err := errors.Join(err, l.clearHost(h)); err != nil {
			return err
		}
		if !reboot {
			fmt.Printf("lab: %s is off\n", host)
			return nil
		}
	}
}

func (l *Lab) boot(ctx context.Context, d driver, h *Host) (reboot bool, err error) {
	if err := d.prepare(); err != nil {
		return false, err
	}
	if err := ensureNamespace(l.namespace(h.name)); err != nil {
		return false, err
	}
	if err := d.plug(); err != nil {
		return false, err
	}
	// Cables that were pulled before stay so.
	if list, err := l.faults(); err != nil {
		return false, err
	} else if len(list) > 0 {
		if err := l.changeFaults(ctx, func(list []fault) ([]fault, error) { return list, nil }); err != nil {
			return false, err
		}
	}
	return d.run(ctx, os.Stdout)
}

// clearHost takes away everything of a host but its disk: processes, cables,
// mounts, namespace. The supervisor calls it between boots, and whoever
// switches a host on calls it for what a killed supervisor left.
func (l *Lab) clearHost(h *Host) error {
	if err := l.unplug(h.name); err != nil {
		return err
	}
	if err := killAll(anyOf(inCgroup(l.cgroup(h.name)), inNetns(l.namespace(h.name)))); err != nil {
		return fmt.Errorf("%s: %w", h.name, err)
	}
	return errors.Join(
		unmountBelow(l.hostDir(h.name)),
		deleteNamespace(l.namespace(h.name)),
		l.driver(h).clear(),
	)
}

// Crash is a power cut: the cables are dead, then every process is killed.
// Nothing gets a chance to say goodbye.
func (l *Lab) Crash(ctx context.Context, host string) error {
	h, ok := l.topology.Hosts[host]
	if !ok {
		return l.noHost(host)
	}
	if err := l.clearHost(h); err != nil {
		return err
	}
	return removeCgroup(l.cgroup(host))
}

// Restart switches a host off, if it is on, and on again, with its disk as it was.
func (l *Lab) Restart(ctx context.Context, host string) error {
	if err := l.wasUp(host); err != nil {
		return err
	}
	if err := l.Crash(ctx, host); err != nil {
		return err
	}
	return l.startHosts(ctx, []string{host})
}

// wasUp fails for a host of a group that has not been brought up: there may be
// no image for it yet.
func (l *Lab) wasUp(host string) error {
	h, ok := l.topology.Hosts[host]
	if !ok {
		return l.noHost(host)
	}
	if _, err := os.Stat(l.driverPath(host)); err != nil && h.Group != "" {
		return fmt.Errorf("%s is in group %s, which is not up, run: lab up %s", host, h.Group, h.Group)
	}
	return nil
}

// Replace puts a fresh machine in the place of a host, under the same
// addresses: another disk, another machine id, another SSH host key.
func (l *Lab) Replace(ctx context.Context, host string) error {
	if err := l.wasUp(host); err != nil {
		return err
	}
	if err := l.Crash(ctx, host); err != nil {
		return err
	}
	off := func() (bool, error) { return !l.powered(host), nil }
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := poll(wait, 50*time.Millisecond, off); err != nil {
		return fmt.Errorf("%s does not go off: %w", host, err)
	}
	if err := os.RemoveAll(l.hostDir(host)); err != nil {
		return err
	}
	if err := l.ensureIdentity(); err != nil {
		return err
	}
	return l.startHosts(ctx, []string{host})
}

func (l *Lab) noHost(host string) error {
	return fmt.Errorf("there is no host %q, there are: %s", host, strings.Join(l.topology.hostNames(), ", "))
}
