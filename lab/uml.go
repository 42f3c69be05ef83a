package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// uml is a virtual machine without hardware support: Linux as a process. It has
// one processor, and is pinned to one core, since its threads take turns and
// waking one on another core costs more than its work.
type uml struct {
	lab  *Lab
	host *Host
}

func (u uml) name() string { return "uml" }

func (u uml) runDir() string  { return filepath.Join(u.lab.hostDir(u.host.name), "run") }
func (u uml) rootDir() string { return filepath.Join(u.lab.hostDir(u.host.name), "root") }

// controlPath is where a change of the cables is announced.
func (l *Lab) controlPath(host string) string {
	return filepath.Join(l.hostDir(host), "run", "control")
}

func (u uml) seed() ([]seedFile, error) {
	cards := make([]string, len(u.host.Links))
	for i, link := range u.host.Links {
		cards[i] = link.Name + "=" + link.MAC
	}
	files := []seedFile{
		{path: "etc/lab/links", mode: 0o644, data: []byte("LINKS=" + strings.Join(cards, " ") + "\n")},
		// Its kernel has a hundred terminals that nobody needs to be told of.
		{path: "etc/systemd/system/systemd-udev-trigger.service.d/lab.conf", mode: 0o644, data: []byte(
			"[Service]\nExecStart=\nExecStart=-udevadm trigger --type=all --action=add --subsystem-match=block --subsystem-match=net --subsystem-match=misc --subsystem-match=watchdog\n")},
	}
	if !u.host.needsPods() {
		return files, nil
	}
	more, err := guestSeed(guestUMLPods)
	return append(append(files, more...),
		seedFile{path: "etc/systemd/system/sysinit.target.wants/lab-cpuinfo.service", link: "/etc/systemd/system/lab-cpuinfo.service"}), err
}

// prepare makes the folder that the kernel is locked into: its own program and
// libraries, the shared disk, and the host's own files.
func (u uml) prepare() error {
	base, err := u.lab.hostImage(u.host, func() []string {
		return []string{u.lab.umlDir(), u.lab.diskDir(u.host)}
	})
	if err != nil {
		return err
	}
	run := u.runDir()
	for _, d := range []string{run, u.rootDir()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	seed := filepath.Join(run, "seed.tar")
	if _, err := os.Stat(seed); err != nil {
		files, err := u.lab.seed(u.host)
		if err != nil {
			return err
		}
		own, err := u.seed()
		if err != nil {
			return err
		}
		if err := writeSeedDisk(seed, append(files, own...)); err != nil {
			return err
		}
	}
	for i, d := range u.host.Disks {
		if err := ensureDisk(filepath.Join(run, diskName(i)), d.Size); err != nil {
			return err
		}
	}
	if err := makeControl(u.lab.controlPath(u.host.name)); err != nil {
		return err
	}
	for _, m := range []struct{ source, target, fstype string }{
		{filepath.Join(base[0], "root"), "", ""},
		{"/dev", "dev", ""},
		{"proc", "proc", "proc"},
		// The guest's memory is a file in there.
		{"tmpfs", "tmp", "tmpfs"},
		{run, "lab/run", ""},
		{base[1], "lab/disk", ""},
	} {
		flags, data := uintptr(0), ""
		switch m.fstype {
		case "":
			flags = unix.MS_BIND
		case "tmpfs":
			data = fmt.Sprintf("size=%dm", u.memory()+64)
		}
		if err := unix.Mount(m.source, filepath.Join(u.rootDir(), m.target), m.fstype, flags, data); err != nil {
			return fmt.Errorf("mount %s for %s: %w", m.target, u.host.name, err)
		}
	}
	return nil
}

func diskName(i int) string { return fmt.Sprintf("disk%d.img", i+1) }

// ensureDisk makes an empty sparse disk of a size in MiB.
func ensureDisk(path string, size int) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	return errors.Join(f.Truncate(int64(size)<<20), f.Close())
}

func (u uml) memory() int { return memoryOf(u.host) }

// memoryOf a virtual machine in MiB.
func memoryOf(h *Host) int {
	if h.Memory == 0 {
		return 512
	}
	return h.Memory
}

func (u uml) plug() error { return u.lab.plugVM(u.host) }

// plugVM makes a virtual machine's ports: tap devices in the switch, which the
// machine's process opens from there.
func (l *Lab) plugVM(h *Host) error {
	ns := l.namespace(switchName)
	sw, err := netlinkIn(ns)
	if err != nil {
		return err
	}
	defer sw.Close()
	return inNamespace(ns, func() error {
		for _, link := range h.Links {
			port := portName(h.name, link.Name)
			if old, err := sw.LinkByName(port); err == nil {
				if err := sw.LinkDel(old); err != nil {
					return fmt.Errorf("old port %s: %w", port, err)
				}
			}
			// Made on this thread, which is inside the namespace.
			tap := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: port}, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_NO_PI | netlink.TUNTAP_VNET_HDR}
			if err := netlink.LinkAdd(tap); err != nil {
				return fmt.Errorf("tap %s: %w", port, err)
			}
			for _, f := range tap.Fds {
				f.Close()
			}
			if err := l.plugPort(sw, port, link.Network); err != nil {
				return err
			}
		}
		return nil
	})
}

// core that a virtual machine is pinned to: they take turns over the cores.
func (l *Lab) core(host string) int {
	n := 0
	for _, name := range l.topology.hostNames() {
		if name == host {
			break
		}
		if l.topology.Hosts[name].needsKernel() {
			n++
		}
	}
	return n % runtime.NumCPU()
}

func (u uml) args() []string {
	args := []string{
		"umid=" + u.host.name, "uml_dir=/tmp", fmt.Sprintf("mem=%dM", u.memory()), "seccomp=on",
		"ubda=/lab/run/root.cow,/lab/disk/root.img", "ubdbr=/lab/run/seed.tar",
		"root=/dev/ubda", "rw", "init=/usr/lib/lab/init",
		"systemd.hostname=" + u.host.name,
	}
	for i := range u.host.Disks {
		args = append(args, fmt.Sprintf("ubd%c=/lab/run/%s", 'c'+i, diskName(i)))
	}
	for i, link := range u.host.Links {
		args = append(args, fmt.Sprintf("vec%d:transport=tap,ifname=%s,gro=1", i, portName(u.host.name, link.Name)))
	}
	// The serial line carries the state of the cables, see guest/usr/lib/lab/links.
	return append(args, "ssl0=fd:3", "con0=null,fd:1", "con=null", "quiet")
}

func (u uml) run(ctx context.Context, console *os.File) (reboot bool, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("serial line: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "serial"), os.NewFile(uintptr(pair[1]), "serial")
	defer ours.Close()
	// Both ends, so that it never reads an end of file.
	control, err := os.OpenFile(u.lab.controlPath(u.host.name), os.O_RDWR, 0)
	if err != nil {
		return false, fmt.Errorf("control pipe: %w", err)
	}
	defer control.Close()
	// To restart, the kernel executes argv[0] in its place, with its network
	// devices still open, and finds them busy. A name that does not exist makes
	// it end instead, with a message, and the supervisor boots it afresh.
	exit := &exitWatch{to: console}
	cmd := exec.CommandContext(ctx, umlProgram)
	cmd.Path, cmd.Err = umlProgram, nil // a path inside of the chroot
	cmd.Args = append([]string{"/lab/reboot"}, u.args()...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "TMPDIR=/tmp", "HOME=/"}
	cmd.Stdout, cmd.Stderr = console, exit
	cmd.WaitDelay = time.Second
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &unix.SysProcAttr{Chroot: u.rootDir()}
	if err := inNamespace(u.lab.namespace(switchName), func() error {
		var set unix.CPUSet
		set.Set(u.lab.core(u.host.name))
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("pin to a core: %w", err)
		}
		return cmd.Start()
	}); err != nil {
		return false, fmt.Errorf("user-mode Linux: %w", err)
	}
	theirs.Close()
	go u.tellCards(ours, ours)
	go u.tellCards(control, ours)
	err = cmd.Wait()
	if exit.restarted() {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("user-mode Linux: %w", err)
	}
	return false, nil
}

const umlProgram = "/bin/linux.uml"

// exitWatch passes the kernel's last words on, and remembers whether it wanted
// to be started again.
type exitWatch struct {
	to   io.Writer
	mu   sync.Mutex
	text []byte
}

func (w *exitWatch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	w.text = w.text[max(0, len(w.text)-1024):]
	return w.to.Write(p)
}

func (w *exitWatch) restarted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Contains(w.text, []byte("Failed to exec kernel"))
}

// tellCards answers every line that comes in with the state of all cables: the
// guest says hello after each boot, and the control pipe says that it changed.
func (u uml) tellCards(in, serial *os.File) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		list, err := u.lab.faults()
		if err != nil {
			fmt.Println("lab:", err)
			continue
		}
		for _, link := range u.host.Links {
			state := "up"
			if isCut(list, u.host.name, link.Name) {
				state = "down"
			}
			fmt.Fprintf(serial, "%s %s\n", link.Name, state)
		}
	}
}

func (u uml) clear() error { return nil }

// notifyCards tells a running virtual machine that its cables may have changed.
func (l *Lab) notifyCards(host string) error {
	f, err := os.OpenFile(l.controlPath(host), os.O_WRONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENXIO) {
		return nil // no such pipe, or nobody at its other end
	}
	if err != nil {
		return fmt.Errorf("tell %s of its cables: %w", host, err)
	}
	defer f.Close()
	_, err = f.WriteString("changed\n")
	return err
}

// hostImage are the image folders that a host was first booted from. A later
// image must not be slipped under a disk that was written over an older one.
func (l *Lab) hostImage(h *Host, current func() []string) ([]string, error) {
	path := filepath.Join(l.hostDir(h.name), "image")
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		dirs := current()
		return dirs, writeFile(path, []byte(strings.Join(dirs, "\n")), 0o644)
	}
	if err != nil {
		return nil, fmt.Errorf("image of %s: %w", h.name, err)
	}
	dirs := strings.Split(string(data), "\n")
	if current != nil && !slices.Equal(dirs, current()) {
		for _, dir := range dirs {
			if _, err := os.Stat(dir); err != nil {
				return nil, fmt.Errorf("the image that %s was made from is gone, run: lab down: %w", h.name, err)
			}
		}
	}
	return dirs, nil
}
