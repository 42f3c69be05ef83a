package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/retry"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// connection says how to reach a host, directly or through a bastion.
type connection struct {
	Host               string      `pulumi:"host"`
	Port               float64     `pulumi:"port"`
	User               string      `pulumi:"user"`
	Password           *string     `pulumi:"password,optional"`
	PrivateKey         *string     `pulumi:"privateKey,optional"`
	PrivateKeyPassword *string     `pulumi:"privateKeyPassword,optional"`
	AgentSocketPath    *string     `pulumi:"agentSocketPath,optional"`
	DialErrorLimit     int         `pulumi:"dialErrorLimit"` // failures that are tolerated; -1 = all
	PerDialTimeout     int         `pulumi:"perDialTimeout"` // seconds; 0 = none
	HostKey            *string     `pulumi:"hostKey,optional"`
	Proxy              *connection `pulumi:"proxy,optional"`
}

func (c *connection) endpoint() string {
	return net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port)))
}

// dial connects, through the proxy where there is one. The connection lives as
// long as the engine does.
func (c *connection) dial(ctx context.Context, l log) (*ssh.Client, error) {
	config, err := c.config(l)
	if err != nil {
		return nil, err
	}
	if c.Proxy == nil {
		return tryDial(ctx, l, "Dial", c.DialErrorLimit, func() (*ssh.Client, error) {
			return c.handshake(l, config, func() (net.Conn, error) { return c.tcp() })
		})
	}

	proxyConfig, err := c.Proxy.config(l)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	proxy, err := tryDial(ctx, l, "Dial proxy", c.Proxy.DialErrorLimit, func() (*ssh.Client, error) {
		return c.Proxy.handshake(l, proxyConfig, func() (net.Conn, error) { return c.Proxy.tcp() })
	})
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	conn, err := tryDial(ctx, l, "Dial from proxy", c.DialErrorLimit, func() (net.Conn, error) {
		return proxy.Dial("tcp", c.endpoint())
	})
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	// Each further try speaks over the same stream, which the first failure has
	// closed: behind a proxy a failed handshake is never mended by a retry.
	client, err := tryDial(ctx, l, "Dial", c.DialErrorLimit, func() (*ssh.Client, error) {
		return c.handshake(l, config, func() (net.Conn, error) { return conn, nil })
	})
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	return client, nil
}

func (c *connection) tcp() (net.Conn, error) {
	return net.DialTimeout("tcp", c.endpoint(), time.Duration(c.PerDialTimeout)*time.Second)
}

// handshake makes one attempt at a connection. Only the TCP part of it is
// bounded by the time limit of a dial.
func (c *connection) handshake(l log, config *ssh.ClientConfig, open func() (net.Conn, error)) (*ssh.Client, error) {
	server := l.server
	server.attempts.Add(1)
	stream, err := open()
	if err != nil {
		return nil, err
	}
	l.engine.Keep(stream)
	conn, channels, requests, err := ssh.NewClientConn(stream, c.endpoint(), config)
	if err != nil {
		return nil, errors.Join(err, ignoreClosed(stream.Close()))
	}
	server.connections.Add(1)
	return ssh.NewClient(conn, channels, requests), nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// config prepares authentication: the key first, then the password, then the
// agent. An agent that is named but does not answer is an error even where a
// key is given.
func (c *connection) config(l log) (*ssh.ClientConfig, error) {
	config := &ssh.ClientConfig{
		User: c.User,
		//nolint:gosec // the contract: without hostKey any host key will do
		HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	}
	if c.HostKey != nil {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(*c.HostKey))
		if err != nil {
			return nil, fmt.Errorf("failed to parse host key: %w", err)
		}
		config.HostKeyCallback = ssh.FixedHostKey(key)
		config.HostKeyAlgorithms = []string{key.Type()}
	}
	if c.PrivateKey != nil {
		var signer ssh.Signer
		var err error
		if c.PrivateKeyPassword != nil {
			signer, err = ssh.ParsePrivateKeyWithPassphrase([]byte(*c.PrivateKey), []byte(*c.PrivateKeyPassword))
		} else {
			signer, err = ssh.ParsePrivateKey([]byte(*c.PrivateKey))
		}
		if err != nil {
			return nil, fmt.Errorf("read the private key: %w", err)
		}
		config.Auth = append(config.Auth, ssh.PublicKeys(signer))
	}
	if c.Password != nil {
		password := *c.Password
		config.Auth = append(config.Auth, ssh.Password(password), ssh.KeyboardInteractive(
			func(_, _ string, questions []string, _ []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i := range answers {
					answers[i] = password
				}
				return answers, nil
			}))
	}
	socket := os.Getenv("SSH_AUTH_SOCK")
	if c.AgentSocketPath != nil {
		socket = *c.AgentSocketPath
	}
	if socket != "" || c.AgentSocketPath != nil {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return nil, fmt.Errorf("reach the SSH agent: %w", err)
		}
		l.engine.Keep(conn)
		config.Auth = append(config.Auth, ssh.PublicKeysCallback(agent.NewClient(conn).Signers))
	}
	return config, nil
}

// tryDial repeats attempt until it works, ctx ends or more than limit tries
// have failed: a limit of 10 makes 11 tries. The pause grows from 0.1 s by half
// each time, to 5 s at most. Everything is tried again, a wrong host key and a
// refused key too.
func tryDial[T any](ctx context.Context, l log, what string, limit int, attempt func() (T, error)) (T, error) {
	var none T
	ok, result, err := retry.Until(ctx, retry.Acceptor{Accept: func(before int, _ time.Duration) (bool, any, error) {
		result, err := attempt()
		if err == nil {
			return true, result, nil
		}
		if limit >= 0 && before+1 > limit {
			return false, nil, fmt.Errorf("after %d failed attempts: %w", before, err)
		}
		most := strconv.Itoa(limit)
		if limit < 0 {
			most = "inf"
		}
		l.status(ctx, diag.Info, fmt.Sprintf("%s %d/%s failed: retrying", what, before+1, most))
		return false, nil, nil
	}})
	if err != nil {
		return none, err
	}
	if !ok {
		return none, ctx.Err()
	}
	return result.(T), nil
}
