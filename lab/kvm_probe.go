package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kvmProbeDeadline bounds one try. A /dev/kvm of a nested machine may exist and
// never run its guest.
const kvmProbeDeadline = 10 * time.Second

// kvmWorks tells whether this machine runs guests, and remembers the answer
// until the machine boots again.
func (l *Lab) kvmWorks(ctx context.Context) bool {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return false
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return false
	}
	path := filepath.Join(l.cache, "kvm-"+strings.TrimSpace(string(boot)))
	if answer, err := os.ReadFile(path); err == nil {
		return string(answer) == "yes\n"
	}
	answer := "yes\n"
	if err := l.probeKVM(ctx); err != nil {
		answer = fmt.Sprintf("no: %v\n", err)
	}
	if ctx.Err() != nil {
		return false
	}
	if old, err := filepath.Glob(filepath.Join(l.cache, "kvm-*")); err == nil {
		for _, name := range old {
			os.Remove(name)
		}
	}
	if err := writeFile(path, []byte(answer), 0o644); err != nil {
		l.progress.say("remember the probe of /dev/kvm: %v", err)
	}
	l.progress.say("does /dev/kvm run a guest? %s", strings.TrimSpace(answer))
	return answer == "yes\n"
}

// probeKVM runs the guest in a process of its own, which can be killed.
func (l *Lab) probeKVM(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, kvmProbeDeadline)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "_kvm")
	cmd.Args[0] = "lab"
	cmd.Env = append(os.Environ(), "LAB_NAME="+l.name)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("the guest did not end within %v", kvmProbeDeadline)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Numbers of linux/kvm.h.
const (
	kvmCreateVM            = 0xae01
	kvmCreateVCPU          = 0xae41
	kvmGetVCPUMmapSize     = 0xae04
	kvmRun                 = 0xae80
	kvmSetUserMemoryRegion = 0x4020ae46
	kvmGetSregs            = 0x8138ae83
	kvmSetSregs            = 0x4138ae84
	kvmSetRegs             = 0x4090ae82
	kvmExitIO              = 2
	kvmExitHLT             = 5
)

// RunProbeGuest runs a guest that counts to a hundred thousand, says so on a
// port, and halts.
func RunProbeGuest() error {
	code := []byte{
		0x66, 0xb9, 0xa0, 0x86, 0x01, 0x00, // mov ecx, 100000
		0x66, 0x49, // dec ecx
		0x75, 0xfc, // jnz -4
		0xb0, 0x2a, // mov al, 42
		0xe6, 0x10, // out 0x10, al
		0xf4, // hlt
	}
	fd, err := unix.Open("/dev/kvm", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/kvm: %w", err)
	}
	call := func(fd int, request, arg uintptr) (int, error) {
		for {
			r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, arg)
			if errno == unix.EINTR {
				continue
			}
			if errno != 0 {
				return 0, fmt.Errorf("kvm request %#x: %w", request, errno)
			}
			return int(r), nil
		}
	}
	vm, err := call(fd, kvmCreateVM, 0)
	if err != nil {
		return err
	}
	memory, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("memory of the guest: %w", err)
	}
	copy(memory, code)
	region := struct {
		slot, flags           uint32
		guest, size, userland uint64
	}{guest: 0x1000, size: 4096, userland: uint64(uintptr(unsafe.Pointer(&memory[0])))}
	if _, err := call(vm, kvmSetUserMemoryRegion, uintptr(unsafe.Pointer(&region))); err != nil {
		return err
	}
	cpu, err := call(vm, kvmCreateVCPU, 0)
	if err != nil {
		return err
	}
	size, err := call(fd, kvmGetVCPUMmapSize, 0)
	if err != nil {
		return err
	}
	state, err := unix.Mmap(cpu, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("state of the guest: %w", err)
	}
	// struct kvm_sregs begins with the code segment: base (8 bytes), limit (4),
	// selector (2).
	var sregs [312]byte
	if _, err := call(cpu, kvmGetSregs, uintptr(unsafe.Pointer(&sregs))); err != nil {
		return err
	}
	clear(sregs[0:8])
	clear(sregs[12:14])
	if _, err := call(cpu, kvmSetSregs, uintptr(unsafe.Pointer(&sregs))); err != nil {
		return err
	}
	var regs [18]uint64 // struct kvm_regs: 16 general ones, rip, rflags
	regs[16], regs[17] = 0x1000, 2
	if _, err := call(cpu, kvmSetRegs, uintptr(unsafe.Pointer(&regs))); err != nil {
		return err
	}
	said := false
	for {
		if _, err := call(cpu, kvmRun, 0); err != nil {
			return err
		}
		switch reason := *(*uint32)(unsafe.Pointer(&state[8])); reason {
		case kvmExitIO:
			said = true
		case kvmExitHLT:
			if !said {
				return errors.New("the guest halted without a word")
			}
			return nil
		default:
			return fmt.Errorf("the guest ended for reason %d", reason)
		}
	}
}
