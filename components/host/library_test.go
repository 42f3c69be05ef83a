package host

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// machine runs the library for real, as root in a mount namespace of its own
// in which everything that the library writes to is empty and vanishes.
type machine struct {
	t    *testing.T
	root string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIP: needs root, for a mount namespace")
	}
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		t.Skipf("SKIP: no mount namespace here: %s", out)
	}
	m := &machine{t, t.TempDir()}
	for _, d := range []string{"lib", "log", "run", "srv"} {
		require.NoError(t, os.MkdirAll(filepath.Join(m.root, d), 0o755))
	}
	m.ok(libraryInstall, packed(library))
	return m
}

// run runs a text as the plugin would, with its stdin.
func (m *machine) run(text, stdin string) (string, error) {
	script := fmt.Sprintf(`set -e
		mount --bind %[1]s/lib /var/lib; mount --bind %[1]s/log /var/log
		mount --bind %[1]s/run /run; mount --bind %[1]s/srv /srv
		exec sh -c "$1"`, m.root)
	cmd := exec.Command("unshare", "-m", "sh", "-c", script, "sh", text)
	cmd.Env = append(os.Environ(), "SSH_CONNECTION=127.0.0.1 1 127.0.0.1 22")
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (m *machine) ok(text, stdin string) string {
	m.t.Helper()
	out, err := m.run(text, stdin)
	require.NoError(m.t, err, out)
	return out
}

func (m *machine) converge(p Phase, owner string) (string, error) {
	m.t.Helper()
	text, err := p.command("edge1", owner)
	require.NoError(m.t, err)
	return m.run(text, "secret tls.key "+base64.StdEncoding.EncodeToString([]byte("line 1\nline & 2"))+"\nend\n")
}

func (m *machine) check() *Drift {
	m.t.Helper()
	d, err := parseCheck(m.ok("sh "+libraryPath+" check", ""))
	require.NoError(m.t, err)
	return d
}

func (m *machine) read(path string) string {
	b, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (m *machine) write(path, content string) {
	require.NoError(m.t, os.WriteFile(filepath.Join(m.root, path), []byte(content), 0o644))
}

func TestLibraryConvergesAndRepeats(t *testing.T) {
	m := newMachine(t)
	p := example()
	p.Converge = "place\n! changed /srv/a.conf || say reload\n"
	p.Check = ""
	out, err := m.converge(p, "o1")
	require.NoError(t, err, out)
	assert.Contains(t, out, "reload")
	assert.Equal(t, "it's $HOME `id` \\ \"quoted\"\n", m.read("srv/a.conf"))
	assert.Equal(t, "second EOF\nEOF\nno newline at the end\n", m.read("srv/b.conf"))
	assert.Equal(t, "key line 1\nline & 2!\n", m.read("srv/key"))
	info, err := os.Stat(filepath.Join(m.root, "srv/key"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o640), info.Mode().Perm())
	assert.Contains(t, out, `"changed":["/srv/a.conf","/srv/b.conf","/srv/key"]`)

	out, err = m.converge(p, "o1")
	require.NoError(t, err, out)
	assert.NotContains(t, out, "reload", "a second run must change nothing")
	assert.Contains(t, out, `"changed":[]`)
	assert.Empty(t, m.check().Drifted())
	// A file is replaced as a whole: who reads the old one reads it to its end.
	require.NoError(t, os.Link(filepath.Join(m.root, "srv/b.conf"), filepath.Join(m.root, "srv/old")))
	old := m.read("srv/b.conf")
	p.Files[0].Content = "new\n"
	out, err = m.converge(p, "o1")
	require.NoError(t, err, out)
	assert.Equal(t, "new\n", m.read("srv/b.conf"))
	assert.Equal(t, old, m.read("srv/old"), "the old file was written over")
	require.NoError(t, os.Remove(filepath.Join(m.root, "srv/old")))

	// The secret is in its file alone.
	out = m.ok("grep -rlF 'line & 2' /srv /run /var/lib /var/log || :", "")
	assert.Equal(t, "/srv/key\n", out)
	// Nothing of the payload stays behind.
	left, err := filepath.Glob(filepath.Join(m.root, "run", "halinux.*"))
	require.NoError(t, err)
	assert.Equal(t, []string{filepath.Join(m.root, "run/halinux.lock")}, left)
}

func TestLibraryFindsDriftAndRepairs(t *testing.T) {
	m := newMachine(t)
	p := example()
	p.Check = "[ -e /srv/x ] || differs \"/srv/x is missing\"\n"
	p.Converge = "place\n: >/srv/x\n"
	p.Remove = "rm -f /srv/x\n"
	out, err := m.converge(p, "o1")
	require.NoError(t, err, out)
	m.write("srv/a.conf", "edited")
	require.NoError(t, os.Chmod(filepath.Join(m.root, "srv/b.conf"), 0o600))
	require.NoError(t, os.Remove(filepath.Join(m.root, "srv/key")))
	require.NoError(t, os.Remove(filepath.Join(m.root, "srv/x")))
	assert.Equal(t, []string{
		"/srv/a.conf differs",
		"/srv/b.conf has mode and owner 0600 root:root, not 0644 root:root",
		"/srv/key is missing",
		"/srv/x is missing",
	}, m.check().Phases["web"].Differences)
	out, err = m.converge(p, "o1")
	require.NoError(t, err, out)
	assert.Empty(t, m.check().Drifted())
}

// As a power cut leaves files that were not on the disk yet.
func TestLibraryNoticesALostRecord(t *testing.T) {
	for _, lost := range []string{"done", "owner"} {
		m, p := newMachine(t), example()
		p.Check = ""
		out, err := m.converge(p, "o1")
		require.NoError(t, err, out)
		require.NoError(t, os.Truncate(filepath.Join(m.root, "lib/halinux/phases", p.Name, lost), 0))
		d := m.check()
		require.Len(t, d.Drifted(), 1, lost)
		assert.Contains(t, fmt.Sprint(d), "its record in", lost)
		out, err = m.converge(p, "o1")
		require.NoError(t, err, out)
		assert.Empty(t, m.check().Drifted(), "a run makes it anew")
	}
}

func TestLibraryRemoves(t *testing.T) {
	m := newMachine(t)
	m.write("srv/a.conf", "what stood there before\n")
	p := example()
	out, err := m.converge(p, "o1")
	require.NoError(t, err, out)
	out = m.ok(removal("web", "somebody else"), "")
	assert.Contains(t, out, "left as it is: web belongs to o1 now")
	assert.NotEqual(t, "what stood there before\n", m.read("srv/a.conf"))
	m.ok(removal("web", "o1"), "")
	assert.Equal(t, "what stood there before\n", m.read("srv/a.conf"))
	assert.NoFileExists(t, filepath.Join(m.root, "srv/b.conf"))
	m.ok(removal("web", "o1"), "") // nothing to undo
	m.ok("sh "+libraryPath+" forget", "")
	m.ok(removal("web", "o1"), "") // not even a library
	assert.NoDirExists(t, filepath.Join(m.root, "lib/halinux"))
}

func TestLibraryGivesBackAFileThatThePhaseNoLongerHas(t *testing.T) {
	m := newMachine(t)
	m.write("srv/b.conf", "original\n")
	p := example()
	out, err := m.converge(p, "o1")
	require.NoError(t, err, out)
	p.Files = p.Files[1:]
	out, err = m.converge(p, "o1")
	require.NoError(t, err, out)
	assert.Equal(t, "original\n", m.read("srv/b.conf"))
}

func TestLibraryReloadsAfterAnInterruptedRun(t *testing.T) {
	m := newMachine(t)
	p := example()
	p.Files = p.Files[:1]
	// It ends as soon as the file has taken its place.
	p.Converge = "mv() { command mv \"$@\"; exit 9; }\nplace\n"
	out, err := m.converge(p, "o1")
	require.Error(t, err, out)
	p.Converge = "place\n! changed || say reload\n"
	out, err = m.converge(p, "o1")
	require.NoError(t, err, out)
	assert.Contains(t, out, "reload", "files of a run that was cut short are news to the daemon")
}

func TestLibraryRefusesAPayloadThatWasCutShort(t *testing.T) {
	m := newMachine(t)
	p := example()
	p.Secrets = nil
	p.Files = p.Files[:2]
	text, err := p.command("edge1", "o1")
	require.NoError(t, err)
	out, err := m.run(text, "")
	require.Error(t, err)
	assert.Contains(t, out, "the connection ended before the whole phase had arrived")
	assert.NoFileExists(t, filepath.Join(m.root, "srv/a.conf"))
}

// A second run waits for the first one, and names its processes in the end.
func TestLibraryNamesTheRunThatHasTheLock(t *testing.T) {
	m := newMachine(t)
	p := example()
	p.Timeout = 1e9
	text, err := p.command("edge1", "app")
	require.NoError(t, err)
	out := m.ok(`exec 8>/run/halinux.lock; flock 8; echo "the holder is $$"
		! ( exec 8>&-; `+text+` )`, "end\n")
	_, holder, _ := strings.Cut(out, "the holder is ")
	holder, _, _ = strings.Cut(holder, "\n")
	require.Regexp(t, "error: edge1: web: another run has been at work here for 1 s; wait for it, or end its processes:.* "+holder+" ", out)
}

func TestLibraryOnce(t *testing.T) {
	m := newMachine(t)
	p := example()
	p.Once = true
	p.Converge = "echo x >>/srv/count\n"
	for range 2 {
		out, err := m.converge(p, "o1")
		require.NoError(t, err, out)
	}
	assert.Equal(t, "x\n", m.read("srv/count"))
}

func TestLibraryTimesOut(t *testing.T) {
	m := newMachine(t)
	p := example()
	p.Timeout = 1e9
	p.Converge = "echo the last words\nsleep 60\n"
	out, err := m.converge(p, "o1")
	require.Error(t, err)
	assert.Contains(t, out, "error: edge1: web: not finished within 1 s")
	assert.Contains(t, out, "the last words")
}

func TestLibraryRefusesAFullFileSystem(t *testing.T) {
	m := newMachine(t)
	p := example()
	out, err := m.converge(p, "o1")
	require.NoError(t, err, out)
	old := m.read("srv/b.conf")
	p.Files[0].Content = strings.Repeat("too much\n", 6000)
	text, err := p.command("edge1", "o1")
	require.NoError(t, err)
	// A file system of 32 KiB for the files alone.
	small := "cp -a /srv /run/old; mount -t tmpfs -o size=32k tmpfs /srv; cp -a /run/old/. /srv/\n"
	out, err = m.run(small+"("+strings.TrimSuffix(text, "\n")+") || { cat /srv/b.conf; ls -A /srv; exit 1; }", "secret tls.key eA==\nend\n")
	require.Error(t, err)
	assert.Contains(t, out, "error: edge1: web: cannot write /srv/b.conf; the old file stands")
	assert.Contains(t, out, old)
	assert.NotContains(t, out, ".b.conf.halinux\n")
}

// apt's answers that will not change end the phase at once; what may pass is
// tried again.
func TestLibraryTellsAptsFailuresApart(t *testing.T) {
	const noRelease = "E: The repository 'http://mirror.test/debian nosuite Release' does not have a Release file.\n"
	for name, c := range map[string]struct {
		said string
		rc   int
		hint string // none: it is tried again
	}{
		"wrong suite":     {"Err:2 http://mirror.test/debian nosuite Release\n  404  Not Found [IP: 192.0.2.1 80]\n" + noRelease, 100, "check the address, the suite"},
		"no such folder":  {"Err:2 file:/nothere trixie Release\n  File not found - /nothere\n" + noRelease, 100, "check the address, the suite"},
		"wrong component": {"W: Skipping acquire of configured file as repository doesn't have the component 'mian'\n", 0, "check the address, the suite"},
		"wrong key":       {"W: OpenPGP signature verification failed: http://mirror.test/debian\nE: Failed to fetch\n", 100, "check the key"},
		"wrong name":      {"E: Unable to locate package haproksy\n", 100, "check the package's name"},
		"server fails":    {"Err:2 http://mirror.test/debian trixie Release\n  503  Service Unavailable\n" + noRelease, 100, ""},
		"mirror is down":  {"E: Failed to fetch http://mirror.test/debian  Could not connect\n", 100, ""},
		"locked":          {"E: Could not get lock /var/lib/dpkg/lock-frontend\n", 100, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.write("srv/said", c.said)
			// Says it once, and then succeeds.
			m.write("srv/apt-get", fmt.Sprintf("#!/bin/sh\n[ ! -e /srv/tried ] || exit 0\n: >/srv/tried; cat /srv/said; exit %d\n", c.rc))
			m.write("srv/dpkg", "#!/bin/sh\n")
			for _, f := range []string{"apt-get", "dpkg"} {
				require.NoError(t, os.Chmod(filepath.Join(m.root, "srv", f), 0o755))
			}
			p := example()
			p.Files, p.Check = nil, ""
			p.Converge = "PATH=/srv:$PATH\napt_get update\n"
			out, err := m.converge(p, "o1")
			if c.hint == "" {
				require.NoError(t, err, out)
				assert.Contains(t, out, "trying again")
				return
			}
			require.Error(t, err, out)
			assert.Contains(t, out, c.hint)
		})
	}
}
