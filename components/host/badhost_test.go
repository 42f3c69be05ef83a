package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// look runs the preflight's script on this machine, after a preparation in a
// mount namespace of its own, and returns what it finds.
func look(t *testing.T, as, prepare string, vars map[string]string) string {
	t.Helper()
	newMachine(t) // skips where there is none
	script, err := phaseFiles.ReadFile("phases/preflight/converge.sh")
	require.NoError(t, err)
	all := exampleArgs().preflightVars(exampleArgs().Hosts[0])
	for name, value := range vars {
		all[name] = value
	}
	cmd := exec.Command("unshare", "-m", "sh", "-c", "set -e\n"+prepare+"\nexec "+as+` sh -c "$1"`, "sh", preflightCommand(all, string(script)))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

func TestPreflightNamesWhatIsWrongWithAHost(t *testing.T) {
	system := filepath.Join(t.TempDir(), "os-release")
	require.NoError(t, os.WriteFile(system, []byte("ID=ubuntu\nVERSION_ID=22.04\nPRETTY_NAME='Ubuntu 22.04 LTS'\n"), 0o644))
	out := look(t, "", "mount --bind "+system+" $(realpath /etc/os-release); mount -t tmpfs -o size=1m,nr_inodes=50 tmpfs /var", map[string]string{
		"architectures": "s390x", "memory": "99999999", "disk": "512", "links": "eth77/1500",
	})
	for _, want := range []string{
		"finding\tit runs Ubuntu 22.04 LTS\tinstall Debian (12 13)\n",
		"finding\tits architecture is ", "\tuse one of: s390x\n",
		" MiB of memory\tgive it 99999999 MiB\n",
		"finding\t/var has 1 MiB free\tmake room: 512 MiB are needed\n",
		" inodes free\tdelete files\n",
		"finding\tit has no port eth77\tcorrect the plan: it has ",
	} {
		assert.Contains(t, out, want)
	}
}

func TestPreflightNamesAReadOnlyFileSystem(t *testing.T) {
	out := look(t, "", "mount -t tmpfs -o ro,size=2g tmpfs /var", map[string]string{"disk": "512"})
	assert.Contains(t, out, "finding\t/var is read-only\tlook for errors of the disk")
}

// Corosync leaves its unit's control group, to run in real time.
func TestPreflightKnowsItsOwnPorts(t *testing.T) {
	const finding = "finding\t10.10.0.31:5405 is taken by users:((\"corosync\",pid=1,fd=28))\tstop and remove it: the port is needed\n"
	for name, c := range map[string]struct{ units, main, want string }{
		"ours":                          {"pacemaker.service\ncorosync.service\n", "1", ""},
		"not the one that we started":   {"pacemaker.service\ncorosync.service\n", "77", finding},
		"nothing of ours is here":       {"", "1", finding},
		"of a unit that is not of ours": {"pacemaker.service\n", "1", finding},
	} {
		t.Run(name, func(t *testing.T) {
			fakes := t.TempDir()
			for program, text := range map[string]string{
				"ss":        `case $* in *:5405*) echo 'UNCONN 0 0 10.10.0.31:5405 0.0.0.0:* users:(("corosync",pid=1,fd=28))' ;; esac`,
				"systemctl": `case $* in *corosync.service*) echo ` + c.main + ` ;; *) echo 0 ;; esac`,
			} {
				require.NoError(t, os.WriteFile(filepath.Join(fakes, program), []byte("#!/bin/sh\n"+text+"\n"), 0o755))
			}
			units := filepath.Join(t.TempDir(), "units")
			require.NoError(t, os.WriteFile(units, []byte(c.units), 0o644))
			out := look(t, "", "mount -t tmpfs -o mode=755 tmpfs /usr/local/sbin; cp "+fakes+"/* /usr/local/sbin\n"+
				"mount -t tmpfs -o mode=755 tmpfs /var; mkdir -p /var/lib/halinux/phases/cluster /var/tmp; cp "+units+" /var/lib/halinux/phases/cluster/units",
				map[string]string{"ports": "udp/5405"})
			assert.Equal(t, c.want != "", strings.Contains(out, finding), "%s", out)
		})
	}
}

func TestPreflightNamesAnAccountThatMayNotBecomeRoot(t *testing.T) {
	out := look(t, "setpriv --reuid=nobody --clear-groups", "", nil)
	assert.Equal(t, "finding\tnobody may not become root\tallow it sudo without a password, or come in as root\n", out)
}

// apt says these words; the library has to say where, what and what to do.
func TestLibraryNamesWhatAptRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		says string // by apt-get, with exit status 100
		want []string
	}{
		"no such package": {"E: Unable to locate package no-such-package", []string{
			"error: edge1: web: apt-get install: E: Unable to locate package no-such-package", "check the package's name"}},
		"no such version": {"E: Version '9.9' for 'haproxy' was not found", []string{
			"error: edge1: web: apt-get install: E: Version '9.9' for 'haproxy' was not found", "the version"}},
		"locked": {"E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (unattended-upgr)", []string{
			"trying again", "error: edge1: web: apt-get install did not succeed within 1 s: E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (unattended-upgr)", "does another process hold apt's lock?"}},
		"mirror down": {"E: Failed to fetch http://mirror/pool/x.deb  Could not connect to mirror:80", []string{
			"trying again", "error: edge1: web: apt-get install did not succeed within 1 s: E: Failed to fetch http://mirror/pool/x.deb", "is the package mirror up"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			fake := filepath.Join(t.TempDir(), "apt-get")
			require.NoError(t, os.WriteFile(fake, []byte("#!/bin/sh\ncase $* in *install*) echo \""+c.says+"\" >&2; exit 100 ;; esac\n"), 0o755))
			// The clock stands still from the first update to the second try, however
			// slow the machine.
			clock, real := filepath.Join(t.TempDir(), "date"), filepath.Join(t.TempDir(), "real")
			require.NoError(t, os.WriteFile(clock, []byte("#!/bin/sh\n[ \"$*\" = +%s ] || exec "+real+" \"$@\"\necho asked >>"+clock+".asked\n[ \"$(wc -l <"+clock+".asked)\" -gt 3 ] && echo 102 || echo 100\n"), 0o755))
			p := example()
			p.Converge = "apt_wait=1\npackages no-such-package\nplace\n"
			text, err := p.command("edge1", "o1")
			require.NoError(t, err)
			out, err := m.run("cp /usr/bin/date "+real+"\nmount --bind "+clock+" /usr/bin/date\nmount --bind "+fake+" /usr/bin/apt-get\nmount --bind /bin/true /usr/bin/dpkg\n"+text, "secret tls.key eA==\nend\n")
			require.Error(t, err, out)
			for _, want := range c.want {
				assert.Contains(t, out, want)
			}
			assert.Equal(t, 1, strings.Count(out, "error: "), "one error:\n%s", out)
			assert.NoFileExists(t, filepath.Join(m.root, "srv/a.conf"))
		})
	}
}
