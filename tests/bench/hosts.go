package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
)

// labName is the benchmark's own lab, beside that of `make up`.
const labName = "bench"

// hostNames are the hosts of both topologies of the comparison.
var hostNames = []string{"backend1", "backend2", "edge1", "edge2"}

// testbed is the lab that both tools work on.
type testbed struct {
	lab string // the program
	dir string // where it leaves its link .lab, and all else is kept
	// hosts are those that are asked.
	hosts []string
}

// atRest leaves no service running that a package has brought, as a package
// does that is installed by either tool on a host with policy-rc.d.
const atRest = `for u in chrony haproxy keepalived nginx; do ! systemctl cat $u >/dev/null 2>&1 || systemctl disable -q --now $u; done`

// fresh makes all hosts anew, as they were installed.
func (b testbed) fresh(ctx context.Context, topology string) error {
	for _, verb := range []string{"down", "image", "up"} {
		if _, err := b.run(ctx, "-f", topology, verb); err != nil {
			return err
		}
	}
	_, err := b.onAll(ctx, atRest)
	return err
}

// run calls the lab and returns what it prints.
func (b testbed) run(ctx context.Context, args ...string) (string, error) {
	out, err := b.command(ctx, args...).Output()
	if err != nil {
		var words string
		if e, ok := err.(*exec.ExitError); ok {
			words = ": " + strings.TrimSpace(string(e.Stderr))
		}
		// A script shows its first line.
		what, _, _ := strings.Cut(strings.TrimSpace(strings.Join(args, " ")), "\n")
		return string(out), fmt.Errorf("lab %s: %w%s", what, err, words)
	}
	return string(out), nil
}

func (b testbed) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.lab, args...)
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "LAB_NAME="+labName)
	return cmd
}

// on runs a script on a host and returns what it prints.
func (b testbed) on(ctx context.Context, host, script string) (string, error) {
	return b.run(ctx, "ssh", host, script)
}

// onAll runs a script on all hosts at once.
func (b testbed) onAll(ctx context.Context, script string) (map[string]string, error) {
	all := map[string]string{}
	var mu sync.Mutex
	var g errgroup.Group
	for _, h := range b.hosts {
		g.Go(func() error {
			out, err := b.on(ctx, h, script)
			if err != nil {
				return fmt.Errorf("%s: %w", h, err)
			}
			mu.Lock()
			defer mu.Unlock()
			all[h] = out
			return nil
		})
	}
	return all, g.Wait()
}

// connectionsOf counts the SSH connections that each host has let in since it was
// made; asking is one itself.
func (b testbed) connectionsOf(ctx context.Context) (map[string]int, error) {
	said, err := b.onAll(ctx, `journalctl -q --no-pager -o cat -t sshd -t sshd-session | grep -c '^Accepted publickey' || :`)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for h, out := range said {
		var n int
		if _, err := fmt.Sscan(out, &n); err != nil {
			return nil, fmt.Errorf("%s: %q is not a count of connections", h, out)
		}
		counts[h] = n
	}
	return counts, nil
}

// connections is the sum of those of all hosts.
func (b testbed) connections(ctx context.Context) (int, error) {
	counts, err := b.connectionsOf(ctx)
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum, err
}

// fingerprint is what a tool has left on a host: everything in /etc and
// /usr/local, packages, accounts, kernel parameters, units, packet filter,
// open ports. Not in it: what no two runs have in common (keys that the host
// made, backups, caches, what D-Bus starts on demand), the tools' own folders, and the links for a boot by
// SysV's init, which halinux leaves alone.
const fingerprint = `
set -eu
export LC_ALL=C.UTF-8
echo '== files'
python3 - <<'END'
import fnmatch, grp, hashlib, os, pwd, re, stat
own = ['*.pem', 'ssh_host_*', 'machine-id', '*-', '.pwd.lock', 'ld.so.cache', 'passwd', 'shadow', 'group', 'gshadow',
	'subuid', 'subgid', '.updated', 'resolv.conf', 'chrony.keys']
lines = []
for top in ['/etc', '/usr/local']:
	for folder, folders, files in os.walk(top):
		folders[:] = [d for d in folders if not d.startswith('.ansible') and not re.fullmatch(r'/etc/rc.\.d', os.path.join(folder, d))]
		for path in [os.path.join(folder, f) for f in files + folders]:
			s = os.lstat(path)
			name = os.path.basename(path)
			if any(fnmatch.fnmatchcase(name, o) for o in own):
				continue
			about = '%o %s:%s' % (stat.S_IMODE(s.st_mode), pwd.getpwuid(s.st_uid)[0], grp.getgrgid(s.st_gid)[0])
			if stat.S_ISLNK(s.st_mode):
				lines.append('%s -> %s' % (path, os.readlink(path)))
			elif stat.S_ISREG(s.st_mode) and path.startswith('/etc/nginx/tls/'):
				lines.append('%s %s' % (path, about)) # each run makes certificates of its own
			elif stat.S_ISREG(s.st_mode):
				# Remarks, blank lines and blanks around = are the tools' own manner.
				with open(path, 'rb') as f:
					text = [re.sub(rb'\s*=\s*', b'=', re.sub(rb'^\s*#.*', b'', l.rstrip(b'\n'))) for l in f]
				lines.append('%s %s %s' % (path, about, hashlib.sha256(b'\n'.join(l for l in text if l)).hexdigest()[:16]))
print('\n'.join(sorted(lines)))
END
echo '== packages'
dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n' | sort
echo '== accounts'
getent passwd | cut -d: -f1,6,7 | sort
getent group | cut -d: -f1,4 | sort
getent shadow | awk -F: '{print $1, ($2 ~ /^[!*]/ ? "locked" : "password")}' | sort
for home in /home/*; do [ ! -e "$home/.ssh/authorized_keys" ] || { stat -c '%n %a %U:%G' "$home/.ssh/authorized_keys"; grep -v '^#' "$home/.ssh/authorized_keys" | sort; }; done
echo '== kernel parameters'
sysctl -a 2>/dev/null | grep -E '^(net\.ipv4\.(ip_nonlocal_bind|tcp_|ip_local_port)|vm\.swappiness|fs\.(file-max|inotify)|net\.core\.somaxconn)' | grep -v tcp_fastopen_key | sort
echo '== units'
systemctl list-unit-files --no-legend --plain -t service,timer | awk '$1 !~ /@/ {print $1, $2}' | sort
systemctl list-units --no-legend --plain -t service,timer --state=active | awk '{print $1, $4}' | grep -v -E '^(user@|user-runtime|session|run-|systemd-hostnamed)' | sort
echo '== packet filter'
nft -s list ruleset 2>/dev/null || :
echo '== ports'
ss -Hltun | awk '{print $1, $5}' | sort -u
`
