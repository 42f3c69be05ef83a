package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// silence is after how long a host without an answer is taken for dead. A
// kernel answers at once, however busy its host; every second here is one more
// in each scenario that kills a host.
const silence = 3 * time.Second

// dialer keeps one SSH connection to each host, and makes a new one where the
// old one died with its host.
type dialer struct {
	folder string
	port   string
	user   string
	signer ssh.Signer
	mu     sync.Mutex
	open   map[string]*ssh.Client
}

func newDialer(folder string) (*dialer, error) {
	pem, err := os.ReadFile(filepath.Join(folder, "id_ed25519"))
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		return nil, err
	}
	return &dialer{folder: folder, port: "22", user: "root", signer: signer, open: map[string]*ssh.Client{}}, nil
}

func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for address, c := range d.open {
		c.Close()
		delete(d.open, address)
	}
}

// dial makes a new connection.
func (d *dialer) dial(ctx context.Context, address string) (*ssh.Client, error) {
	keys, err := knownhosts.New(filepath.Join(d.folder, "known_hosts"))
	if err != nil {
		return nil, err
	}
	config := &ssh.ClientConfig{
		User:              d.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(d.signer)},
		HostKeyCallback:   keys,
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	target := net.JoinHostPort(address, d.port)
	conn, err := (&net.Dialer{Timeout: silence}).DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, target, config)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

// session is a session on the connection to the host, on a new connection
// where that one no longer answers.
func (d *dialer) session(ctx context.Context, address string) (*ssh.Session, *ssh.Client, error) {
	d.mu.Lock()
	client := d.open[address]
	d.mu.Unlock()
	if client != nil {
		if s, err := answered(ctx, client); err == nil {
			return s, client, nil
		}
		d.drop(address, client)
	}
	client, err := d.dial(ctx, address)
	if err != nil {
		return nil, nil, err
	}
	d.mu.Lock()
	d.open[address] = client
	d.mu.Unlock()
	s, err := client.NewSession()
	return s, client, err
}

// answered opens a session on a connection that may be dead without knowing.
func answered(ctx context.Context, client *ssh.Client) (*ssh.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, silence)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer stop()
	return client.NewSession()
}

func (d *dialer) drop(address string, client *ssh.Client) {
	client.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[address] == client {
		delete(d.open, address)
	}
}

// run runs a script by sh, and returns its standard output.
func (d *dialer) run(ctx context.Context, address, script string, stdin io.Reader) (string, error) {
	s, client, err := d.session(ctx, address)
	if err != nil {
		return "", fmt.Errorf("%s: %w", address, err)
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { d.drop(address, client) })
	defer stop()
	var out, errOut bytes.Buffer
	s.Stdin, s.Stdout, s.Stderr = stdin, &out, &errOut
	if err := s.Run(script); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		var exit *ssh.ExitError
		if !errors.As(err, &exit) {
			d.drop(address, client)
		}
		return out.String(), fmt.Errorf("%s: %w: %s", address, err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}
