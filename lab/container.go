package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// container is a system container: systemd-nspawn over an overlay of the shared
// base, in the host's network namespace, at the machine's native speed.
type container struct {
	lab  *Lab
	host *Host
}

// exitRebooted is nspawn's exit code when the container asked for a reboot
// (systemd-nspawn@.service restarts on it).
const exitRebooted = 133

const containerName = "container"

func (c container) name() string { return containerName }

func (c container) rootDir() string { return filepath.Join(c.lab.hostDir(c.host.name), "root") }

// machine is the name that nspawn keeps its own files under.
func (c container) machine() string { return c.lab.namespace(c.host.name) }

func (c container) seed() ([]seedFile, error) {
	null := func(unit string) seedFile {
		return seedFile{path: "etc/systemd/system/" + unit, link: "/dev/null"}
	}
	files, err := guestSeed(guestContainer)
	if err == nil && c.host.needsPods() {
		var more []seedFile
		more, err = guestSeed(guestPods)
		files = append(files, append(more,
			seedFile{path: "etc/systemd/system/sysinit.target.wants/lab-pods.service", link: "/etc/systemd/system/lab-pods.service"})...)
	}
	return append(files,
		// The devices are the machine's: a trigger in here would reach every
		// other host and the machine itself.
		null("systemd-udevd.service"), null("systemd-udevd-control.socket"),
		null("systemd-udevd-kernel.socket"), null("systemd-udev-trigger.service"),
		null("systemd-udev-settle.service"),
		// No one sits at a container's console.
		null("console-getty.service"),
		seedFile{path: "etc/systemd/system/sysinit.target.wants/lab-sysctl.service", link: "/etc/systemd/system/lab-sysctl.service"},
	), err
}

// prepare mounts the host's root folder, and makes it the host's own at the
// first boot.
func (c container) prepare() error {
	dir := c.lab.hostDir(c.host.name)
	upper, work := filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, d := range []string{upper, work, c.rootDir()} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	lower, err := c.lab.hostImage(c.host, func() []string {
		dirs := []string{filepath.Join(c.lab.baseDir(), "root")}
		if len(c.host.Packages) > 0 {
			dirs = append([]string{filepath.Join(c.lab.layerDir(c.host), "upper")}, dirs...)
		}
		return dirs
	})
	if err != nil {
		return err
	}
	if err := mountOverlay(c.rootDir(), upper, work, lower...); err != nil {
		return err
	}
	seeded := filepath.Join(dir, "seeded")
	if _, err := os.Stat(seeded); err == nil {
		return nil
	}
	files, err := c.lab.seed(c.host)
	if err != nil {
		return err
	}
	own, err := c.seed()
	if err != nil {
		return err
	}
	if err := plant(c.rootDir(), append(files, own...)); err != nil {
		return err
	}
	return os.WriteFile(seeded, nil, 0o644)
}

func (c container) plug() error {
	return c.lab.plugContainer(c.host.name, c.host.Links)
}

// run boots the container and returns when it is off. reboot tells that it
// asked to be switched on again.
func (c container) run(ctx context.Context, console *os.File) (reboot bool, err error) {
	if c.host.Memory > 0 {
		if err := limitMemory(c.lab.cgroup(c.host.name), c.host.Memory); err != nil {
			return false, err
		}
	}
	args := []string{
		"--quiet", "--directory=" + c.rootDir(), "--machine=" + c.machine(), "--hostname=" + c.host.name,
		"--network-namespace-path=" + filepath.Join(netnsDir, c.lab.namespace(c.host.name)),
		"--register=no", "--keep-unit", "--console=read-only",
		"--resolv-conf=off", "--timezone=off", "--link-journal=no",
		"--capability=all", "--system-call-filter=@keyring bpf perf_event_open @mount",
	}
	for _, device := range []string{"/dev/fuse", "/dev/net/tun"} {
		if _, err := os.Stat(device); err == nil {
			args = append(args, "--bind="+device)
		}
	}
	binds, err := c.binds()
	if err != nil {
		return false, err
	}
	args = append(args, binds...)
	env := append(os.Environ(), "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network", "SYSTEMD_NSPAWN_LOCK=0")
	if cgroupUnified() {
		args = append(args, "--boot")
	} else {
		// systemd 257 refuses cgroup v1 unless told twice.
		env = append(env, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=0")
		args = append(args, "--setenv=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "--boot", "systemd.unified_cgroup_hierarchy=0")
	}
	cmd := exec.CommandContext(ctx, "systemd-nspawn", args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, console, console
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false, nil
	case errors.As(err, &exit) && exit.ExitCode() == exitRebooted:
		return true, nil
	default:
		return false, fmt.Errorf("container: %w", err)
	}
}

// binds are folders and devices beyond those of every container.
func (c container) binds() ([]string, error) {
	var args []string
	for _, share := range c.host.Shares {
		from := filepath.Join(c.lab.cache, share.From)
		if err := os.MkdirAll(from, 0o755); err != nil {
			return nil, fmt.Errorf("share: %w", err)
		}
		args = append(args, "--bind-ro="+from+":"+share.To)
	}
	if !c.host.needsPods() {
		return args, nil
	}
	// The root is an overlay, and an overlay cannot be laid over another.
	images := filepath.Join(c.lab.hostDir(c.host.name), "images")
	if err := os.MkdirAll(images, 0o711); err != nil {
		return nil, fmt.Errorf("folder for images: %w", err)
	}
	// The kubelet looks in the kernel's log for processes killed for memory.
	return append(args, "--bind="+images+":/var/lib/containerd", "--bind=/dev/kmsg"), nil
}

// clear removes what a killed nspawn leaves outside of the instance's folder.
func (c container) clear() error { return clearNspawn(c.machine()) }

// clearNspawn removes nspawn's own folders of a machine. Debian 13's mounts one
// of them read-only on itself.
func clearNspawn(machine string) error {
	var errs []error
	for _, kind := range []string{"propagate", "unix-export"} {
		dir := filepath.Join("/run/systemd/nspawn", kind, machine)
		errs = append(errs, unmountBelow(dir), os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}
