package providers_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// goServer is an SSH server inside the test, for what OpenSSH cannot be made to
// do on a machine that must stay as it is: passwords, and dials that break.
type goServer struct {
	port    int
	hostKey keyPair
	tries   atomic.Int64 // TCP connections that came in
}

// startGoServer serves exec requests with sh to whoever gives the password. The
// first `broken` connections are closed without a word.
func startGoServer(t *testing.T, password string, broken int64) *goServer {
	t.Helper()
	s := &goServer{hostKey: newKeyPair(t)}
	config := &ssh.ServerConfig{
		PasswordCallback: func(_ ssh.ConnMetadata, given []byte) (*ssh.Permissions, error) {
			if string(given) != password {
				return nil, errors.New("wrong password")
			}
			return nil, nil
		},
	}
	config.AddHostKey(s.hostKey)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	s.port = l.Addr().(*net.TCPAddr).Port
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if s.tries.Add(1) <= broken {
				_ = conn.Close()
				continue
			}
			go serve(conn, config)
		}
	}()
	return s
}

// silentPort is a port on loopback where a dial gets no answer, not even a
// refusal: its queue of connections is full and nobody takes one out.
func silentPort(t *testing.T) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	require.NoError(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	require.NoError(t, err)
	port := name.(*syscall.SockaddrInet4).Port
	for range 8 {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), 300*time.Millisecond)
		if err != nil {
			return port
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Skip("SKIP: this kernel takes connections beyond the queue that a listener asks for")
	return 0
}

func serve(stream net.Conn, config *ssh.ServerConfig) {
	defer stream.Close()
	conn, channels, requests, err := ssh.NewServerConn(stream, config)
	if err != nil {
		return
	}
	defer conn.Close()
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		if offered.ChannelType() != "session" {
			_ = offered.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go serveSession(channel, requests)
	}
}

func serveSession(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for req := range requests {
		if req.Type != "exec" {
			_ = req.Reply(false, nil)
			continue
		}
		var command struct{ Text string }
		if err := ssh.Unmarshal(req.Payload, &command); err != nil {
			_ = req.Reply(false, nil)
			continue
		}
		_ = req.Reply(true, nil)
		cmd := exec.Command("/bin/sh", "-c", command.Text)
		// Not the channel as stdin: the command would wait for its end.
		input, _ := io.ReadAll(channel)
		cmd.Stdin = bytes.NewReader(input)
		cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
		status := struct{ Code uint32 }{}
		if err := cmd.Run(); err != nil {
			status.Code = 1
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
		return
	}
}
