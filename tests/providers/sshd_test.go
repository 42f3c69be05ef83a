package providers_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/sshkey"
)

const sshdPath = "/usr/sbin/sshd"

// keyPair is an SSH key in the forms that the tests hand around.
type keyPair struct {
	sshkey.Key
	private    string // PEM, in the clear
	encrypted  string // PEM, under passphrase
	passphrase string
	authorized string // one line of authorized_keys, without its end
}

func newKeyPair(t *testing.T) keyPair {
	t.Helper()
	key, err := sshkey.New()
	require.NoError(t, err)
	k := keyPair{Key: key, passphrase: "opens-the-key", authorized: key.Authorized()}
	k.private, err = key.Private("")
	require.NoError(t, err)
	k.encrypted, err = key.Private(k.passphrase)
	require.NoError(t, err)
	return k
}

// sshHost is a real OpenSSH server on loopback.
type sshHost struct {
	port    int
	hostKey keyPair
	user    keyPair // may log in as root
	log     *syncBuffer
	stop    func()
}

// startSSHD runs sshd with a configuration of the test's own until the test
// ends. options are further lines of sshd_config.
func startSSHD(t *testing.T, options ...string) *sshHost {
	t.Helper()
	if _, err := os.Stat(sshdPath); err != nil {
		t.Skipf("SKIP: no OpenSSH server on this machine (%v); install the package openssh-server", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("SKIP: sshd logs the test in as root, so the test has to run as root")
	}
	require.NoError(t, os.MkdirAll("/run/sshd", 0o755)) // sshd's separation directory, fixed at its build
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	host := &sshHost{hostKey: newKeyPair(t), user: newKeyPair(t), log: &syncBuffer{}}
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		return path
	}
	key := write("host_key", host.hostKey.private)
	authorized := write("authorized_keys", host.user.authorized+"\n")

	// The port is free when it is chosen; should another process take it before
	// sshd does, sshd ends and the next one is tried.
	for range 5 {
		host.port = freePort(t)
		conf := write("sshd_config", strings.Join(append([]string{
			"ListenAddress 127.0.0.1:" + strconv.Itoa(host.port),
			"HostKey " + key,
			"AuthorizedKeysFile " + authorized,
			"StrictModes no",
			"PidFile none",
			"UsePAM no",
			"PermitRootLogin prohibit-password",
			"PasswordAuthentication no",
			"KbdInteractiveAuthentication no",
			"LogLevel VERBOSE",
			"MaxStartups 100",
			"Subsystem sftp internal-sftp",
		}, options...), "\n")+"\n")
		if host.start(t, conf) {
			return host
		}
	}
	t.Fatalf("sshd did not start:\n%s", host.log.String())
	return nil
}

func (h *sshHost) start(t *testing.T, conf string) bool {
	t.Helper()
	cmd := exec.Command(sshdPath, "-D", "-e", "-f", conf)
	cmd.Stderr = h.log
	// A session that is left over holds the log open; it must not hold the test.
	cmd.WaitDelay = 5 * time.Second
	require.NoError(t, cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	h.stop = sync.OnceFunc(func() {
		// Each session of sshd is a process group of its own.
		for _, pid := range append(descendants(cmd.Process.Pid), cmd.Process.Pid) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		<-ended
	})
	t.Cleanup(h.stop)
	return poll(10*time.Second, func() bool {
		select {
		case <-ended:
			return true
		default:
		}
		conn, err := net.Dial("tcp", h.address())
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	}) && !isClosed(ended)
}

// descendants lists the processes that pid started, directly or not.
func descendants(pid int) []int {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", pid))
	if err != nil {
		return nil // it has ended
	}
	var all []int
	for _, field := range strings.Fields(string(children)) {
		if child, err := strconv.Atoi(field); err == nil {
			all = append(append(all, descendants(child)...), child)
		}
	}
	return all
}

func (h *sshHost) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(h.port)) }

// logins counts the sessions that sshd let in.
func (h *sshHost) logins() int { return strings.Count(h.log.String(), "Accepted publickey for ") }

// dials counts the TCP connections that came in, that of the start included.
func (h *sshHost) dials() int { return strings.Count(h.log.String(), "Connection from ") }

var arrival = regexp.MustCompile(`Accepted publickey for root from 127\.0\.0\.1 port (\d+) `)

// present counts the sessions that have not gone again.
func (h *sshHost) present() int {
	log := strings.ReplaceAll(h.log.String(), "\r\n", "\n") // as sshd ends its lines
	n := 0
	for _, in := range arrival.FindAllStringSubmatch(log, -1) {
		if !strings.Contains(log, "Connection closed by 127.0.0.1 port "+in[1]+"\n") &&
			!strings.Contains(log, "Disconnected from user root 127.0.0.1 port "+in[1]+"\n") {
			n++
		}
	}
	return n
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// poll asks until done or the time is up; it tells which.
func poll(limit time.Duration, done func() bool) bool {
	deadline := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if done() {
			return true
		}
		select {
		case <-tick.C:
		case <-deadline:
			return done()
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// startAgent serves keys as an SSH agent and returns its socket.
func startAgent(t *testing.T, keys ...keyPair) string {
	t.Helper()
	// A socket's path is limited to 108 bytes: t.TempDir() may be too long.
	dir, err := os.MkdirTemp("", "agent")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	var served []sshkey.Key
	for _, k := range keys {
		served = append(served, k.Key)
	}
	closeAgent, err := sshkey.Serve(socket, served...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = closeAgent() })
	return socket
}

// syncBuffer may be written and read at once.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
