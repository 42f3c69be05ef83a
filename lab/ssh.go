package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"
)

func (l *Lab) signer() (ssh.Signer, error) {
	data, err := os.ReadFile(filepath.Join(l.dir, "id_ed25519"))
	if err != nil {
		return nil, fmt.Errorf("key of the lab: %w", err)
	}
	return ssh.ParsePrivateKey(data)
}

// sshAnswers logs in to a host as root, from the controller.
func (l *Lab) sshAnswers(ctx context.Context, host string) error {
	signer, err := l.signer()
	if err != nil {
		return err
	}
	keys, err := knownhosts.New(filepath.Join(l.dir, "known_hosts"))
	if err != nil {
		return fmt.Errorf("known hosts: %w", err)
	}
	config := &ssh.ClientConfig{
		User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: keys,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	}
	address := net.JoinHostPort(l.topology.addressOf(l.topology.Hosts[host]).String(), "22")
	return inNamespace(l.namespace(controllerName), func() error {
		dialer := net.Dialer{Timeout: time.Second}
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		defer stop()
		// A slow host needs time for the key exchange, a dead one would hang.
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		client, chans, requests, err := ssh.NewClientConn(conn, address, config)
		if err != nil {
			return err
		}
		return ssh.NewClient(client, chans, requests).Close()
	})
}

// SSH runs the machine's ssh client from the controller.
func (l *Lab) SSH(ctx context.Context, host string, command []string) (exitCode int, err error) {
	h, ok := l.topology.Hosts[host]
	if !ok {
		return 1, l.noHost(host)
	}
	argv := []string{"ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "IdentitiesOnly=yes",
		// A session on a host that was reset would hang for ever.
		"-o", "ServerAliveInterval=10", "-o", "ServerAliveCountMax=6",
		"-o", "GlobalKnownHostsFile=/dev/null",
		"-o", "UserKnownHostsFile=" + filepath.Join(l.dir, "known_hosts"),
		"-i", filepath.Join(l.dir, "id_ed25519"), "root@" + l.topology.addressOf(h).String()}
	return l.Exec(ctx, append(argv, command...))
}

// Exec runs a command on the controller, with an ssh agent that holds the
// lab's key, and returns the command's exit code.
func (l *Lab) Exec(ctx context.Context, argv []string) (exitCode int, err error) {
	socket, stop, err := l.serveAgent()
	if err != nil {
		return 1, err
	}
	defer stop()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK="+socket, "LAB_NAME="+l.name)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	defer signal.Stop(signals)
	if err := inNamespace(l.namespace(controllerName), cmd.Start); err != nil {
		return 1, fmt.Errorf("run %s: %w", argv[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			// From a terminal, the whole process group has got it already.
			if s != unix.SIGINT && s != unix.SIGQUIT || !onTerminal() {
				cmd.Process.Signal(s)
			}
		case err := <-ended:
			var exit *exec.ExitError
			if !errors.As(err, &exit) {
				return 0, err
			}
			if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
				return 128 + int(status.Signal()), nil
			}
			return exit.ExitCode(), nil
		}
	}
}

func onTerminal() bool {
	_, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS)
	return err == nil
}

// agentPrefix is what the folders of an instance's ssh agents begin with.
func agentPrefix(name string) string { return "lab-agent-" + name + "-" }

// serveAgent answers ssh clients with the lab's key.
func (l *Lab) serveAgent() (socket string, stop func(), err error) {
	data, err := os.ReadFile(filepath.Join(l.dir, "id_ed25519"))
	if err != nil {
		return "", nil, fmt.Errorf("key of the lab: %w", err)
	}
	key, err := ssh.ParseRawPrivateKey(data)
	if err != nil {
		return "", nil, fmt.Errorf("key of the lab: %w", err)
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key, Comment: "lab " + l.name}); err != nil {
		return "", nil, err
	}
	// In a folder of its own: a socket's path has at most 107 characters.
	dir, err := os.MkdirTemp("", agentPrefix(l.name))
	if err != nil {
		return "", nil, err
	}
	socket = filepath.Join(dir, "agent")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		os.RemoveAll(dir)
		return "", nil, fmt.Errorf("ssh agent: %w", err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				agent.ServeAgent(ring, conn)
			}()
		}
	}()
	return socket, func() { listener.Close(); os.RemoveAll(dir) }, nil
}
