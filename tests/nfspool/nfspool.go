// Package nfspool is the storage of volumes on one machine, for tests: two hosts
// that are SSH servers on loopback and run the storage's real program
// (components/nfsha, volumes.sh) in one folder, which the one that serves has
// mounted. Programs of XFS are stood in for by some that write down what they are
// told; faults can be put in between.
package nfspool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/halinux/halinux/components/volumes/pool"
	"github.com/halinux/halinux/tests/sshkey"
)

// Storage are the two hosts and what they serve.
type Storage struct {
	Hosts []*Host
	// Path is where the pool is.
	Path string

	t    testing.TB
	dir  string
	text string
	user sshkey.Key
	ctx  context.Context // ends with the test
	runs sync.WaitGroup
}

// Host is one of the two.
type Host struct {
	Address string

	storage  *Storage
	name     string
	listener net.Listener
	signer   ssh.Signer

	mu    sync.Mutex
	asked []string
	deaf  func()
	conns []net.Conn
}

// New starts both hosts, the first of which serves, until the test ends. The quota
// is that of the pool, in MiB.
func New(t testing.TB, quota int) *Storage {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	script, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../components/nfsha/phases/provisioner/volumes.sh"))
	require.NoError(t, err)
	s := &Storage{t: t, dir: t.TempDir()}
	var end context.CancelFunc
	s.ctx, end = context.WithCancel(context.Background())
	t.Cleanup(func() { end(); s.runs.Wait() })
	s.text = strings.Replace(string(script), "PATH=/usr/sbin", "PATH="+s.dir+"/bin:/usr/sbin", 1)
	require.NotEqual(t, string(script), s.text)
	root := filepath.Join(s.dir, "srv")
	s.Path = filepath.Join(root, "kubernetes")
	require.NoError(t, os.MkdirAll(s.Path, 0o755))
	require.NoError(t, os.Mkdir(s.dir+"/bin", 0o755))
	s.write("conf", fmt.Sprintf("root=%s project=kubernetes quota=%d\n", root, quota), 0o644)
	s.program("findmnt", `[ "$(cat "$dir/serves")" = "$HOST" ] && echo xfs`)
	s.program("xfs_io", `for last; do :; done
id=$dir/project.$(basename "$last")
case $* in
*lsproj*) echo "projid = $(cat "$id" 2>/dev/null || echo 0)" ;;
*) echo "${3#chproj }" >"$id" ;;
esac`)
	s.program("xfs_quota", `[ ! -e "$dir/hang" ] || case $3 in limit*) exec sleep 60 ;; esac
[ ! -e "$dir/kill" ] || case $3 in limit*) rm "$dir/kill"; kill -9 $PPID; exit 1 ;; esac
set -f
set -- $3
case $1 in
limit) size=${3#bhard=}; echo "${size%m}" >"$dir/limit.$4" ;;
project) echo "$5" >"$dir/project.$(basename "$4")" ;;
report) ;;
esac`)
	s.program("sync", ``)
	s.user, err = sshkey.New()
	require.NoError(t, err)
	private, err := s.user.Private("")
	require.NoError(t, err)
	s.write("key", private, 0o600)
	for _, name := range []string{"one", "two"} {
		h := &Host{storage: s, name: name}
		s.Hosts = append(s.Hosts, h)
		h.NewKey()
		h.listener, err = net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		h.Address = h.listener.Addr().String()
		go h.accept()
		t.Cleanup(func() { _ = h.listener.Close(); h.Cut() })
	}
	s.Serve(0)
	s.Know()
	return s
}

func (s *Storage) write(name, text string, mode os.FileMode) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), mode))
}

func (s *Storage) program(name, body string) {
	s.write("bin/"+name, "#!/bin/sh\ndir='"+s.dir+"'\n"+body+"\n", 0o755)
}

// Serve makes one host the one that serves.
func (s *Storage) Serve(host int) { s.write("serves", s.Hosts[host].name, 0o644) }

// ServeNowhere takes the service away from both.
func (s *Storage) ServeNowhere() { s.write("serves", "", 0o644) }

// Know writes the keys that the hosts have now into the known hosts.
func (s *Storage) Know() {
	var lines []string
	for _, h := range s.Hosts {
		lines = append(lines, knownhosts.Line([]string{knownhosts.Normalize(h.Address)}, h.signer.PublicKey()))
	}
	s.write("known_hosts", strings.Join(lines, "\n")+"\n", 0o644)
}

// KillNext has the program die where it sets the next quota.
func (s *Storage) KillNext() { s.write("kill", "", 0o644) }

// Killed is whether it has died there since.
func (s *Storage) Killed() bool {
	_, err := os.Stat(filepath.Join(s.dir, "kill"))
	return os.IsNotExist(err)
}

// Slow has the program hang where it sets the next quota, until the test ends.
func (s *Storage) Slow() { s.write("hang", "", 0o644) }

// Pool is the way there.
func (s *Storage) Pool() *pool.Pool {
	return &pool.Pool{
		Hosts: []string{s.Hosts[0].Address, s.Hosts[1].Address}, User: "halinux-volumes",
		KeyFile: filepath.Join(s.dir, "key"), KnownHosts: filepath.Join(s.dir, "known_hosts"),
		DialTimeout: 10 * time.Second, Timeout: 30 * time.Second,
	}
}

// Quota is what the file system would hold a volume to, in MiB, as it was set last;
// "" where there is none.
func (s *Storage) Quota(volume string) string {
	number, err := os.ReadFile(filepath.Join(s.dir, "project."+volume))
	if err != nil {
		return ""
	}
	limit, _ := os.ReadFile(filepath.Join(s.dir, "limit."+strings.TrimSpace(string(number))))
	return strings.TrimSpace(string(limit))
}

// NewKey gives the host another key, as a machine that was put in its place has.
func (h *Host) NewKey() {
	key, err := sshkey.New()
	require.NoError(h.storage.t, err)
	private, err := key.Private("")
	require.NoError(h.storage.t, err)
	signer, err := ssh.ParsePrivateKey([]byte(private))
	require.NoError(h.storage.t, err)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.signer = signer
}

// Asked are the commands that the host was given, in their order.
func (h *Host) Asked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}

// Deaf has the host run the next "create", then do something else, and end the
// connection without an answer.
func (h *Host) Deaf(then func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deaf = then
}

// Cut ends all connections of the host.
func (h *Host) Cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns {
		_ = c.Close()
	}
	h.conns = nil
}

func (h *Host) accept() {
	for {
		conn, err := h.listener.Accept()
		if err != nil {
			return
		}
		h.mu.Lock()
		h.conns = append(h.conns, conn)
		h.mu.Unlock()
		go h.serve(conn)
	}
}

// serve is one connection, as sshd would serve one of a key with a forced command.
func (h *Host) serve(conn net.Conn) {
	defer conn.Close()
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if c.User() != "halinux-volumes" || string(key.Marshal()) != string(h.storage.user.PublicKey().Marshal()) {
			return nil, errors.New("not let in")
		}
		return nil, nil
	}}
	h.mu.Lock()
	config.AddHostKey(h.signer)
	h.mu.Unlock()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			var exec struct{ Command string }
			if r.Type != "exec" || ssh.Unmarshal(r.Payload, &exec) != nil {
				_ = r.Reply(false, nil)
				continue
			}
			_ = r.Reply(true, nil)
			h.mu.Lock()
			h.asked = append(h.asked, exec.Command)
			var deaf func()
			if strings.HasPrefix(exec.Command, "create ") {
				deaf, h.deaf = h.deaf, nil
			}
			h.mu.Unlock()
			code := h.run(exec.Command, channel)
			if deaf != nil {
				deaf()
				return
			}
			_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(code)}))
			_ = channel.Close()
		}
	}
}

// run runs the program, and returns its exit code as a shell would.
func (h *Host) run(command string, channel ssh.Channel) int {
	h.storage.runs.Add(1)
	defer h.storage.runs.Done()
	ctx, cancel := context.WithTimeout(h.storage.ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", h.storage.text, "volumes", command)
	cmd.Env = append(os.Environ(), "HALINUX_VOLUMES="+h.storage.dir+"/conf", "HOST="+h.name)
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		return 127
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	return 137 // killed
}
