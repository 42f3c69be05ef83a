// Package sshkey makes the SSH keys that tests and benchmarks hand around, and
// serves them as an SSH agent does. Keys are new in each run and open nothing
// but what the test itself has started.
package sshkey

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"net"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Key is one ed25519 key in every form that is asked for.
type Key struct {
	ssh.Signer
	raw ed25519.PrivateKey
}

// New makes a key.
func New() (Key, error) {
	_, raw, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, err
	}
	signer, err := ssh.NewSignerFromKey(raw)
	return Key{signer, raw}, err
}

// Private is the private key as the file of a key holds it (PEM), locked with a
// passphrase unless that is empty.
func (k Key) Private(passphrase string) (string, error) {
	lock := func() (*pem.Block, error) { return ssh.MarshalPrivateKey(k.raw, "") }
	if passphrase != "" {
		lock = func() (*pem.Block, error) {
			return ssh.MarshalPrivateKeyWithPassphrase(k.raw, "", []byte(passphrase))
		}
	}
	block, err := lock()
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(block)), nil
}

// Authorized is the public key as one line of authorized_keys, without its end.
func (k Key) Authorized() string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.PublicKey())))
}

// Serve answers as an SSH agent with these keys on a Unix socket, whose path may
// have 108 bytes at most, until it is closed.
func Serve(socket string, keys ...Key) (closeAgent func() error, err error) {
	ring := agent.NewKeyring()
	for _, k := range keys {
		if err := ring.Add(agent.AddedKey{PrivateKey: k.raw}); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = agent.ServeAgent(ring, conn)
			}()
		}
	}()
	return l.Close, nil
}
