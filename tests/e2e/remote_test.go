package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/halinux/halinux/tests/sshkey"
)

// here is a Bed whose one host, "here", is this machine, by an SSH server of the
// test's own.
func here(t *testing.T) *Bed {
	t.Helper()
	key, err := sshkey.New()
	require.NoError(t, err)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if string(k.Marshal()) != string(key.PublicKey().Marshal()) {
			return nil, fmt.Errorf("another key")
		}
		return nil, nil
	}}
	config.AddHostKey(key)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveShell(conn, config)
		}
	}()
	dir := t.TempDir()
	private, err := key.Private("")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "id_ed25519"), []byte(private), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(knownhosts.Line([]string{l.Addr().String()}, key.PublicKey())+"\n"), 0o600))
	d, err := newDialer(dir)
	require.NoError(t, err)
	_, d.port, _ = net.SplitHostPort(l.Addr().String())
	t.Cleanup(d.close)
	return &Bed{ssh: d, hosts: map[string]string{"here": "127.0.0.1"}}
}

// serveShell runs what is asked for by sh, as sshd does.
func serveShell(conn net.Conn, config *ssh.ServerConfig) {
	c, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	defer c.Close()
	go ssh.DiscardRequests(requests)
	for n := range channels {
		channel, requests, err := n.Accept()
		if err != nil {
			return
		}
		go func() {
			defer channel.Close()
			for r := range requests {
				if r.Type != "exec" {
					_ = r.Reply(false, nil)
					continue
				}
				var asked struct{ Command string }
				_ = ssh.Unmarshal(r.Payload, &asked)
				_ = r.Reply(true, nil)
				cmd := exec.Command("sh", "-c", asked.Command)
				cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
				in, _ := cmd.StdinPipe()
				go func() { _, _ = io.Copy(in, channel); in.Close() }()
				code := 0
				if err := cmd.Run(); err != nil {
					code = max(cmd.ProcessState.ExitCode(), 1)
				}
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(code)}))
				return
			}
		}()
	}
}

func TestStream(t *testing.T) {
	b := here(t)
	var mu sync.Mutex
	var heard []string
	hear := func(line []byte) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, string(line))
	}
	lines := func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(heard, "|")
	}
	ended := func(r *remote) {
		select {
		case <-r.done:
		case <-time.After(10 * time.Second):
			t.Fatal("it does not end")
		}
	}

	r, err := b.stream("here", []string{"sh", "-c", `echo "$1"; cat >/dev/null; echo end`, "sh", "it's one"}, hear)
	require.NoError(t, err)
	Until(t, 10*time.Second, "a line while it runs", func() error {
		if lines() != "it's one" {
			return fmt.Errorf("%q", lines())
		}
		return nil
	})
	r.end()
	r.end()
	ended(r)
	require.NoError(t, r.err)
	require.Equal(t, "it's one|end", lines())

	r, err = b.stream("here", []string{"sh", "-c", "echo why >&2; exit 3"}, hear)
	require.NoError(t, err)
	ended(r)
	require.ErrorContains(t, r.err, "why")

	// Of a host that is gone nothing comes, not even an end.
	r, err = b.stream("here", []string{"cat"}, hear)
	require.NoError(t, err)
	r.drop()
	ended(r)
	require.Error(t, r.err)

	_, err = b.stream("nowhere", nil, hear)
	require.ErrorContains(t, err, "nowhere")
}

func TestFollow(t *testing.T) {
	b := here(t)
	for name, script := range map[string]string{
		"ends":  "echo word",
		"hangs": "echo word; cat >/dev/null",
	} {
		t.Run(name, func(t *testing.T) {
			words := make(chan string, 100)
			ended, over := make(chan struct{}), make(chan struct{})
			installed := 0
			go func() {
				defer close(over)
				b.follow("here", ended, func() error { installed++; return nil }, []string{"sh", "-c", script}, time.Second, func(text []byte) { words <- string(text) })
			}()
			for range 3 { // each from another run of the program
				select {
				case w := <-words:
					require.Equal(t, "word", w)
				case <-time.After(time.Minute):
					t.Fatal("it is not started again")
				}
			}
			close(ended)
			select {
			case <-over:
			case <-time.After(20 * time.Second):
				t.Fatal("it does not end")
			}
			require.GreaterOrEqual(t, installed, 3)
		})
	}
}

func TestPaced(t *testing.T) {
	looks := 0
	c := paced(func() error { looks++; return fmt.Errorf("no") })
	for range 5 {
		require.Error(t, c())
	}
	require.Equal(t, 1, looks)
	c = paced(func() error { looks++; return nil })
	require.NoError(t, c())
	require.NoError(t, c())
	require.Equal(t, 3, looks)
}
