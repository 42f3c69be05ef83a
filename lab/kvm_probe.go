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

// Answers to whether this machine runs guests, kept until it boots again.
const (
	kvmUnknown = ""
	kvmGuest   = "guest" // a guest of a few instructions ran; a kernel has not been tried
	kvmYes     = "yes"   // a kernel booted
)

func (l *Lab) kvmPath() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return filepath.Join(l.cache, "kvm-unknown")
	}
	return filepath.Join(l.cache, "kvm-"+strings.TrimSpace(string(boot)))
}

// kvmAnswer is what is known so far; anything else than the constants is a no
// with its reason.
func (l *Lab) kvmAnswer() string {
	answer, err := os.ReadFile(l.kvmPath())
	if err != nil {
		return kvmUnknown
	}
	return strings.TrimSpace(string(answer))
}

func (l *Lab) rememberKVM(answer string) error {
	if err := removeGlob(filepath.Join(l.cache, "kvm-*")); err != nil {
		return err
	}
	l.progress.say("does /dev/kvm run guests? %s", answer)
	return writeFile(l.kvmPath(), []byte(answer+"\n"), 0o644)
}

// wantsKVM tells whether any host would run under kvm where it works, or must.
func (l *Lab) wantsKVM() bool {
	switch os.Getenv("LAB_DRIVER") {
	case "kvm":
		return true
	case "uml", "tcg":
		return false
	}
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return false
	}
	for _, h := range l.topology.Hosts {
		if h.needsKernel() {
			return true
		}
	}
	return false
}

// firstKVMTry runs a guest of a few instructions, before anything is installed
// or downloaded for kvm's sake.
func (l *Lab) firstKVMTry(ctx context.Context) error {
	if !l.wantsKVM() || l.kvmAnswer() != kvmUnknown {
		return nil
	}
	err := l.probeKVM(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return l.rememberKVM(fmt.Sprintf("no: %v", err))
	}
	return l.rememberKVM(kvmGuest)
}

// secondKVMTry boots a kernel.
func (l *Lab) secondKVMTry(ctx context.Context) error {
	if l.kvmAnswer() != kvmGuest {
		return nil
	}
	err := l.bootsKernel(ctx, l.kernelDir(), "kvm")
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return l.rememberKVM(fmt.Sprintf("no: %v", err))
	}
	return l.rememberKVM(kvmYes)
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

// RunProbeGuest runs a guest of a few instructions: it leaves for a port many
// times, and uses an instruction of today's kernels. Some nested machines
// offer a /dev/kvm that emulates what it does not know, and stops at that one.
func RunProbeGuest() error {
	code := []byte{
		0xb9, 0x20, 0x4e, 0x00, 0x00, // mov ecx, 20000
		0xe6, 0x10, // out 0x10, al
		0x49,       // dec ecx
		0x75, 0xfb, // jnz to out
		0xc4, 0xe2, 0x71, 0xf7, 0xc0, // shlx eax, eax, ecx
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
	// struct kvm_sregs begins with six segments of 24 bytes: base (8), limit (4),
	// selector (2), type, present, dpl, db, s, l, g. CR0 is at 224.
	var sregs [312]byte
	if _, err := call(cpu, kvmGetSregs, uintptr(unsafe.Pointer(&sregs))); err != nil {
		return err
	}
	for i := range 6 {
		segment := sregs[i*24 : i*24+24]
		selector, kind := byte(16), byte(3) // data
		if i == 0 {
			selector, kind = 8, 11 // code
		}
		copy(segment, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, selector, 0, kind, 1, 0, 1, 1, 0, 1, 0, 0, 0})
	}
	sregs[224] |= 1 // protected mode
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
