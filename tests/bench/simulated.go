package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// simulatedPort is where every simulated host listens, so that none of them
// meets the machine's own sshd.
const simulatedPort = 2022

// simulatedAddress is the address of the simulated host number i, counted from
// 0: all of 127.0.0.0/8 is on loopback without being set up.
func simulatedAddress(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 64, byte(i / 250), byte(1 + i%250)})
}

// simulatedName is the host's name in the configuration.
func simulatedName(i int) string { return fmt.Sprintf("host%04d", i+1) }

// simulatedHost answers as a host on which every phase succeeds: it takes the
// whole payload, remembers that the phase is there, and returns its line of
// facts. It runs nothing.
type simulatedHost struct {
	mu     sync.Mutex
	phases []string          // in the order in which they came
	done   map[string]string // phase -> time of its last run
}

// serveSimulated is one process of SSH servers. It writes the hosts' public
// keys to dir/known_hosts, says "ready" on stdout and serves until stdin ends.
func serveSimulated(n int, dir string) error {
	var known strings.Builder
	for i := range n {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			return err
		}
		// Any key opens: what is measured is the controller, and its agent
		// signs all the same.
		config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, nil }}
		config.AddHostKey(signer)
		address := netip.AddrPortFrom(simulatedAddress(i), simulatedPort).String()
		l, err := net.Listen("tcp", address)
		if err != nil {
			return fmt.Errorf("simulated host %d: %w", i, err)
		}
		known.WriteString(knownhosts.Line([]string{knownhosts.Normalize(address)}, signer.PublicKey()) + "\n")
		h := &simulatedHost{done: map[string]string{}}
		go h.listen(l, config)
	}
	if err := os.WriteFile(filepath.Join(dir, "known_hosts"), []byte(known.String()), 0o644); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func (h *simulatedHost) listen(l net.Listener, config *ssh.ServerConfig) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go h.serve(conn, config)
	}
}

func (h *simulatedHost) serve(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		if c.ChannelType() != "session" {
			_ = c.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		go h.session(channel, requests)
	}
}

func (h *simulatedHost) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for r := range requests {
		if r.Type != "exec" {
			_ = r.Reply(r.Type == "env", nil)
			continue
		}
		var exec struct{ Command string }
		if err := ssh.Unmarshal(r.Payload, &exec); err != nil {
			_ = r.Reply(false, nil)
			return
		}
		_ = r.Reply(true, nil)
		var code uint32
		if err := h.run(exec.Command, channel); err != nil {
			fmt.Fprintln(channel.Stderr(), err)
			code = 1
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
		return
	}
}

// run answers one command as the shell library on a real host would.
func (h *simulatedHost) run(command string, channel ssh.Channel) error {
	switch last := lastLine(command); {
	case strings.HasSuffix(last, ` converge "$SSH_CONNECTION"`):
		return h.converge(command, channel)
	case strings.Contains(last, " check;"):
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, name := range h.phases {
			if _, err := fmt.Fprintf(channel, "= %s %s\n", name, h.done[name]); err != nil {
				return err
			}
		}
		_, err := io.WriteString(channel, "end\n")
		return err
	default: // the library, and the removals
		_, err := io.Copy(io.Discard, channel)
		return err
	}
}

// converge takes the payload, which has to be whole.
func (h *simulatedHost) converge(command string, channel ssh.Channel) error {
	stdin, err := io.ReadAll(channel)
	if err != nil {
		return err
	}
	if lastLine(string(stdin)) != "end" {
		return errors.New("the connection ended before the whole phase had arrived")
	}
	var phase, host string
	for line := range strings.Lines(command) {
		if rest, ok := strings.CutPrefix(line, "phase "); ok {
			words := strings.Fields(rest)
			if len(words) < 2 {
				break
			}
			phase, host = words[0], words[1]
			break
		}
	}
	if phase == "" {
		return errors.New("a payload that names no phase")
	}
	h.mu.Lock()
	if _, known := h.done[phase]; !known {
		h.phases = append(h.phases, phase)
	}
	h.done[phase] = time.Now().UTC().Format(time.RFC3339)
	h.mu.Unlock()
	_, err = fmt.Fprintf(channel, `{"phase":%q,"host":%q,"changed":[]}`+"\n", phase, host)
	return err
}

func lastLine(text string) string {
	text = strings.TrimRight(text, "\n")
	return text[strings.LastIndexByte(text, '\n')+1:]
}
