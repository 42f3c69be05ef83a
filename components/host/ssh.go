package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// run runs one command on the host and returns its stdout.
func (s SSH) run(ctx context.Context, ways *bastions, command string) (string, error) {
	client, err := s.dial(ctx, ways)
	if err != nil {
		return "", err
	}
	defer client.Close()
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer stop()
	session, err := client.NewSession()
	if err != nil {
		return "", err
	}
	var out, errOut bytes.Buffer
	session.Stdout, session.Stderr = &out, &errOut
	if err := session.Run(command); err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("no answer: %w", context.Cause(ctx))
		}
		return "", fmt.Errorf("%w: %s", err, strings.TrimSpace(errOut.String()))
	}
	return out.String(), nil
}

// dial connects, through the bastion where there is one.
func (s SSH) dial(ctx context.Context, ways *bastions) (*ssh.Client, error) {
	config, closeAgent, err := s.clientConfig()
	if err != nil {
		return nil, err
	}
	defer closeAgent()
	address := net.JoinHostPort(s.Address, strconv.Itoa(s.port()))
	connect := (&net.Dialer{}).DialContext
	if s.Proxy != nil {
		bastion, err := ways.dial(ctx, *s.Proxy)
		if err != nil {
			return nil, fmt.Errorf("bastion: %w", err)
		}
		connect = bastion.DialContext
	}
	conn, err := connect(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	c, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("it takes connections, but SSH does not begin: %w", context.Cause(ctx))
		}
		return nil, err
	}
	return ssh.NewClient(c, channels, requests), nil
}

// bastions are the connections to bastions while many hosts are asked at once:
// one each, since a bastion's sshd drops most of a burst (MaxStartups 10:30:100).
type bastions struct {
	mu   sync.Mutex
	open map[string]func() (*ssh.Client, error)
}

func (b *bastions) dial(ctx context.Context, s SSH) (*ssh.Client, error) {
	name := fmt.Sprintf("%s@%s:%d", s.user(), s.Address, s.port())
	b.mu.Lock()
	connect, ok := b.open[name]
	if !ok {
		if b.open == nil {
			b.open = map[string]func() (*ssh.Client, error){}
		}
		connect = sync.OnceValues(func() (*ssh.Client, error) { return s.dial(ctx, b) })
		b.open[name] = connect
	}
	b.mu.Unlock()
	return connect()
}

// close ends the connections, once no host is asked any more.
func (b *bastions) close() {
	for _, connect := range b.open {
		if client, err := connect(); err == nil {
			client.Close()
		}
	}
}

func (s SSH) clientConfig() (*ssh.ClientConfig, func(), error) {
	config := &ssh.ClientConfig{User: s.user(), Timeout: time.Duration(s.dialTimeout()) * time.Second}
	done := func() {}
	if s.InsecureIgnoreHostKey {
		config.HostKeyCallback = ssh.InsecureIgnoreHostKey()
	} else {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.HostKey))
		if err != nil {
			return nil, nil, fmt.Errorf("host key: %w", err)
		}
		config.HostKeyCallback = ssh.FixedHostKey(key)
		config.HostKeyAlgorithms = hostKeyAlgorithms(key.Type())
	}
	if s.KeyFile != "" {
		pem, err := os.ReadFile(s.KeyFile)
		if err != nil {
			return nil, nil, fmt.Errorf("private key: %w", err)
		}
		signer, err := ssh.ParsePrivateKey(pem)
		if err != nil {
			return nil, nil, fmt.Errorf("private key %s: %w", s.KeyFile, err)
		}
		config.Auth = []ssh.AuthMethod{ssh.PublicKeys(signer)}
	} else {
		socket := os.Getenv("SSH_AUTH_SOCK")
		if socket == "" {
			return nil, nil, errors.New("no SSH agent: SSH_AUTH_SOCK is not set")
		}
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return nil, nil, fmt.Errorf("SSH agent: %w", err)
		}
		done = func() { conn.Close() }
		config.Auth = []ssh.AuthMethod{ssh.PublicKeysCallback(agent.NewClient(conn).Signers)}
	}
	return config, done, nil
}

// hostKeyAlgorithms are the signatures that a host with such a key can make:
// an RSA key signs with SHA-2 though its type says ssh-rsa.
func hostKeyAlgorithms(keyType string) []string {
	if keyType == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{keyType}
}
