package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"sync"
)

// remote is a program that runs on a host, on a connection of its own, until its
// input ends.
type remote struct {
	host string
	end  func()        // closes its input
	drop func()        // closes the connection, as when the host is gone
	done chan struct{} // closed when it has ended
	err  error         // why, once it has
}

// stream starts a program on a host; each line that it prints is given to heard.
func (b *Bed) stream(host string, words []string, heard func([]byte)) (*remote, error) {
	address, known := b.hosts[host]
	if !known {
		return nil, fmt.Errorf("the lab has no host %q", host)
	}
	client, err := b.ssh.dial(context.Background(), address)
	if err != nil {
		return nil, err
	}
	session, err := client.NewSession()
	if err != nil {
		client.Close()
		return nil, err
	}
	stdin, err := session.StdinPipe()
	if err != nil {
		client.Close()
		return nil, err
	}
	stdout, err := session.StdoutPipe()
	if err != nil {
		client.Close()
		return nil, err
	}
	var complaint bytes.Buffer
	session.Stderr = &complaint
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	if err := session.Start(strings.Join(quoted, " ")); err != nil {
		client.Close()
		return nil, err
	}
	r := &remote{
		host: host, done: make(chan struct{}),
		end:  sync.OnceFunc(func() { stdin.Close() }),
		drop: sync.OnceFunc(func() { client.Close() }),
	}
	go func() {
		defer close(r.done)
		defer client.Close()
		lines := bufio.NewScanner(stdout)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			heard(lines.Bytes())
		}
		r.err = lines.Err()
		if err := session.Wait(); err != nil && r.err == nil {
			r.err = fmt.Errorf("%w: %s", err, strings.TrimSpace(complaint.String()))
		}
	}()
	return r, nil
}

// install copies a program to a host, unless it is there; what an earlier run
// left may be another version.
func (b *Bed) install(host, program, path string) error {
	content, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	if _, err := b.try(host, fmt.Sprintf("echo '%x  %s' | sha256sum -c --status", sha256.Sum256(content), path)); err == nil {
		return nil
	}
	return b.put(host, path, bytes.NewReader(content))
}
