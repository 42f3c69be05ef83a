package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halinux/halinux/archive"
)

// kvm is a virtual machine of qemu with the machine's support, running Debian's
// own kernel.
type kvm struct {
	lab  *Lab
	host *Host
	// accel is "kvm", or "tcg" for a try without the machine's support.
	accel string
}

func (k kvm) name() string { return k.accel }

func (k kvm) runDir() string { return filepath.Join(k.lab.hostDir(k.host.name), "run") }

// kernelPackages are Debian's kernel for virtual machines and what its modules
// are loaded by before the root disk is there.
var kernelPackages = []string{"linux-image-cloud-" + debianArch(), "initramfs-tools", "zstd"}

// kernelDir holds a layer with the kernel, and the kernel beside it.
func (l *Lab) kernelDir() string {
	return l.imageDir("kernel", l.baseDir(), strings.Join(kernelPackages, " "))
}

func (l *Lab) buildKernel(ctx context.Context, s archive.Sources, dir string) error {
	upper := filepath.Join(dir, "upper")
	if err := l.withBuildRoot(ctx, s, upper, dir, func(root string) error {
		if err := run(inChroot(ctx, root, append([]string{"apt-get", "-qq", "-y", "install"}, kernelPackages...)...)); err != nil {
			return err
		}
		return errors.Join(removeGlob(filepath.Join(root, "var/lib/apt/lists/*")), removeGlob(filepath.Join(root, "var/cache/apt/*.bin")))
	}); err != nil {
		return err
	}
	for pattern, name := range map[string]string{"boot/vmlinuz-*": "vmlinuz", "boot/initrd.img-*": "initrd"} {
		found, err := filepath.Glob(filepath.Join(upper, pattern))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("%s: found %v: %w", pattern, found, err)
		}
		if err := os.Link(found[0], filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes a disk over the shared one, and the seed.
func (k kvm) prepare() error {
	base, err := k.lab.hostImage(k.host, func() []string {
		return []string{k.lab.kernelDir(), k.lab.kvmDiskDir(k.host)}
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(k.runDir(), 0o755); err != nil {
		return err
	}
	root := filepath.Join(k.runDir(), "root.qcow2")
	if _, err := os.Stat(root); err != nil {
		if err := run(exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw",
			"-b", filepath.Join(base[1], "root.img"), root)); err != nil {
			return err
		}
	}
	seed := filepath.Join(k.runDir(), "seed.tar")
	if _, err := os.Stat(seed); err != nil {
		files, err := k.lab.seed(k.host)
		if err != nil {
			return err
		}
		for _, link := range k.host.Links {
			files = append(files, seedFile{
				path: "etc/systemd/network/10-" + link.Name + ".link", mode: 0o644,
				data: fmt.Appendf(nil, "[Match]\nMACAddress=%s\n\n[Link]\nName=%s\n", link.MAC, link.Name),
			})
		}
		if err := writeSeedDisk(seed, files); err != nil {
			return err
		}
	}
	for i, d := range k.host.Disks {
		if err := ensureDisk(filepath.Join(k.runDir(), diskName(i)), d.Size); err != nil {
			return err
		}
	}
	return makeControl(k.lab.controlPath(k.host.name))
}

func (k kvm) plug() error { return k.lab.plugVM(k.host) }

func (k kvm) args(kernel string) []string {
	// Paths are relative to the run folder.
	args := []string{
		"-name", k.host.name, "-accel", k.accel, "-m", strconv.Itoa(memoryOf(k.host)), "-smp", "1",
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio",
		"-kernel", filepath.Join(kernel, "vmlinuz"), "-initrd", filepath.Join(kernel, "initrd"),
		"-append", "root=/dev/vda rw console=ttyS0 quiet init=/usr/lib/lab/init systemd.hostname=" + k.host.name,
		"-qmp", "unix:qmp,server=on,wait=off",
		"-device", "virtio-rng-pci",
		"-device", "i6300esb", "-action", "watchdog=reset",
		"-drive", "file=root.qcow2,format=qcow2,if=virtio,cache=writeback",
		"-drive", "file=seed.tar,format=raw,if=virtio,readonly=on",
	}
	if k.accel == "kvm" {
		args = append(args, "-cpu", "host")
	}
	for i := range k.host.Disks {
		args = append(args, "-drive", fmt.Sprintf("file=%s,format=raw,if=virtio,cache=writeback", diskName(i)))
	}
	for _, link := range k.host.Links {
		args = append(args,
			"-netdev", fmt.Sprintf("tap,id=%s,ifname=%s,script=no,downscript=no", link.Name, portName(k.host.name, link.Name)),
			"-device", fmt.Sprintf("virtio-net-pci,id=card-%s,netdev=%s,mac=%s", link.Name, link.Name, link.MAC))
	}
	return args
}

func (k kvm) run(ctx context.Context, console *os.File) (reboot bool, err error) {
	base, err := k.lab.hostImage(k.host, nil)
	if err != nil {
		return false, err
	}
	control, err := os.OpenFile(k.lab.controlPath(k.host.name), os.O_RDWR, 0)
	if err != nil {
		return false, fmt.Errorf("control pipe: %w", err)
	}
	defer control.Close()
	os.Remove(filepath.Join(k.runDir(), "qmp"))
	cmd := exec.CommandContext(ctx, "qemu-system-"+qemuArch(), k.args(base[0])...)
	cmd.Dir = k.runDir()
	cmd.Stdout, cmd.Stderr = console, console
	// The ports are in the switch. A reboot or a watchdog's reset happens inside
	// of qemu, which ends only when the guest powers off.
	if err := inNamespace(k.lab.namespace(switchName), cmd.Start); err != nil {
		return false, fmt.Errorf("qemu: %w", err)
	}
	cards := &qmpCards{path: filepath.Join(k.runDir(), "qmp")}
	go func() {
		// The cables at power on, then at each change.
		tell := func() {
			list, err := k.lab.faults()
			for _, link := range k.host.Links {
				if err == nil {
					err = cards.set("card-"+link.Name, !isCut(list, k.host.name, link.Name))
				}
			}
			if err != nil {
				fmt.Println("lab:", err)
			}
		}
		tell()
		for lines := bufio.NewScanner(control); lines.Scan(); {
			tell()
		}
	}()
	if err := cmd.Wait(); err != nil {
		return false, fmt.Errorf("qemu: %w", err)
	}
	return false, nil
}

func (k kvm) clear() error { return nil }

func qemuArch() string {
	switch arch := debianArch(); arch {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	default:
		return arch
	}
}

// qmpCards plugs and unplugs cables over qemu's control socket.
type qmpCards struct {
	path string
	mu   sync.Mutex
}

func (q *qmpCards) set(card string, up bool) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// A socket's path has at most 107 characters, a descriptor's is short.
	dir, err := os.Open(filepath.Dir(q.path))
	if err != nil {
		return fmt.Errorf("control socket of qemu: %w", err)
	}
	defer dir.Close()
	short := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(q.path))
	var conn net.Conn
	if err := poll(ctx, 20*time.Millisecond, func() (bool, error) {
		conn, err = net.Dial("unix", short)
		return err == nil, nil
	}); err != nil {
		return fmt.Errorf("control socket of qemu: %w", err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	replies := json.NewDecoder(conn)
	var greeting json.RawMessage
	if err := replies.Decode(&greeting); err != nil {
		return fmt.Errorf("greeting of qemu: %w", err)
	}
	for _, command := range []any{
		map[string]any{"execute": "qmp_capabilities"},
		map[string]any{"execute": "set_link", "arguments": map[string]any{"name": card, "up": up}},
	} {
		if err := json.NewEncoder(conn).Encode(command); err != nil {
			return fmt.Errorf("command to qemu: %w", err)
		}
		for {
			var reply struct {
				Event  string
				Return json.RawMessage
				Error  *struct{ Desc string }
			}
			if err := replies.Decode(&reply); err != nil {
				return fmt.Errorf("reply of qemu: %w", err)
			}
			if reply.Error != nil {
				return fmt.Errorf("cable of %s: %s", card, reply.Error.Desc)
			}
			if reply.Return != nil {
				break
			}
		}
	}
	return nil
}

// makeControl makes the pipe that a change of the cables is announced on.
func makeControl(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return fmt.Errorf("control pipe: %w", err)
	}
	return nil
}

// bootsKernel boots the real kernel without a disk: it looks for its root, finds
// none, panics, and thereby ends qemu. What a guest of a few instructions can do,
// a kernel may still hang on.
func (l *Lab) bootsKernel(ctx context.Context, kernel, accel string) error {
	ctx, cancel := context.WithTimeout(ctx, kvmBootDeadline)
	defer cancel()
	args := []string{"-accel", accel, "-m", "256", "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", filepath.Join(kernel, "vmlinuz"), "-append", "console=ttyS0 panic=-1"}
	if accel == "kvm" {
		args = append(args, "-cpu", "host")
	}
	cmd := exec.CommandContext(ctx, "qemu-system-"+qemuArch(), args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("a kernel did not boot within %v", kvmBootDeadline)
	}
	if err != nil || !strings.Contains(string(out), "Unable to mount root fs") {
		return fmt.Errorf("a kernel does not boot: %v: %s", err, tail(string(out), 3))
	}
	return nil
}

// kvmBootDeadline is generous: with working support it takes two seconds.
const kvmBootDeadline = 30 * time.Second
