package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// tools are the programs that the lab runs, and Debian's packages of them.
var tools = []struct{ program, pkg string }{
	{"mmdebstrap", "mmdebstrap"},
	{"systemd-nspawn", "systemd-container"},
	{"apt-ftparchive", "apt-utils"},
	{"ip", "iproute2"},
	{"nft", "nftables"},
	{"mkfs.ext4", "e2fsprogs"},
	{"depmod", "kmod"},
	{"ssh", "openssh-client"},
	{"ping", "iputils-ping"},
}

// Setup installs what this machine lacks. With nothing to install it takes no time.
func (l *Lab) Setup(ctx context.Context) error {
	var missing []string
	for _, t := range tools {
		if _, err := exec.LookPath(t.program); err != nil {
			missing = append(missing, t.pkg)
		}
	}
	if _, err := os.Stat("/usr/share/keyrings/debian-archive-keyring.gpg"); err != nil {
		missing = append(missing, "debian-archive-keyring")
	}
	if err := raiseInotify(); err != nil {
		return err
	}
	if err := l.firstKVMTry(ctx); err != nil {
		return err
	}
	if l.wantsKVM() && (l.kvmAnswer() == kvmGuest || l.kvmAnswer() == kvmYes) || os.Getenv("LAB_DRIVER") == "tcg" {
		if _, err := exec.LookPath("qemu-system-" + qemuArch()); err != nil {
			missing = append(missing, qemuPackage(), "qemu-utils")
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return l.progress.step("install "+strings.Join(missing, " "), func() error {
		for _, args := range [][]string{
			{"-qq", "update"},
			append([]string{"-qq", "-y", "--no-install-recommends", "install"}, missing...),
		} {
			cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=300"}, args...)...)
			cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			if err := run(cmd); err != nil {
				return fmt.Errorf("install %s: %w", strings.Join(missing, " "), err)
			}
		}
		return nil
	})
}

// raiseInotify makes room for the hosts' daemons: containers share the
// machine's number of watchers, whose default of 128 a single lab uses up, and
// keepalived without one does not see HAProxy end.
func raiseInotify() error {
	const file, enough = "/proc/sys/fs/inotify/max_user_instances", 8192
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if have, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && have >= enough {
		return nil
	}
	return os.WriteFile(file, []byte(strconv.Itoa(enough)), 0o644)
}

// qemuPackage emulates this machine's kind of processor.
func qemuPackage() string {
	if debianArch() == "amd64" {
		return "qemu-system-x86"
	}
	return "qemu-system-" + debianArch()
}
