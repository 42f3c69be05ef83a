// Package simulated is a process full of SSH servers that answer as hosts on
// which every phase succeeds. They take the whole payload and run nothing: what
// can be measured and seen with them is the controller.
package simulated

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/halinux/halinux/tests/sshkey"
)

// Port is where every simulated host listens, so that none of them
// meets the machine's own sshd.
const Port = 2022

// Address is the address of the simulated host number i, counted from
// 0: all of 127.0.0.0/8 is on loopback without being set up.
func Address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 64, byte(i / 250), byte(1 + i%250)})
}

// Name is the host's name in the configuration.
func Name(i int) string { return fmt.Sprintf("host%04d", i+1) }

// simulatedHost answers as a host on which every phase succeeds: it takes the
// whole payload, remembers that the phase is there, and returns its line of
// facts. It runs nothing.
type simulatedHost struct {
	mu     sync.Mutex
	phases []string          // in the order in which they came
	done   map[string]string // phase -> time of its last run
	drift  map[string]string // phase -> what differs

	commands, stdins []string
	connections      int
}

// Host is one simulated host.
type Host struct {
	Address netip.AddrPort
	Key     ssh.PublicKey // by which it is known
	host    *simulatedHost
	close   func() error
	refuses atomic.Bool
}

// Start starts the host with number i.
func Start(i int) (*Host, error) {
	key, err := sshkey.New()
	if err != nil {
		return nil, err
	}
	h := &Host{Address: netip.AddrPortFrom(Address(i), Port), Key: key.PublicKey(), host: &simulatedHost{done: map[string]string{}}}
	// Any key opens: what is measured is the controller, and its agent signs
	// all the same.
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) {
		if h.refuses.Load() {
			return nil, errors.New("this key opens nothing")
		}
		return nil, nil
	}}
	config.AddHostKey(key)
	l, err := net.Listen("tcp", h.Address.String())
	if err != nil {
		return nil, fmt.Errorf("simulated host %d: %w", i, err)
	}
	h.close = l.Close
	go h.host.listen(l, config)
	return h, nil
}

// Close ends the host.
func (h *Host) Close() error { return h.close() }

// Refuse makes the host let nobody in from now on.
func (h *Host) Refuse() { h.refuses.Store(true) }

// Drift makes the host report a difference of a phase until that phase
// converges again.
func (h *Host) Drift(phase, difference string) {
	h.host.mu.Lock()
	defer h.host.mu.Unlock()
	h.host.drift = map[string]string{phase: difference}
}

// Payloads returns what has been sent since the last call: the commands, and
// what came on their stdin.
func (h *Host) Payloads() (commands, stdins []string) {
	h.host.mu.Lock()
	defer h.host.mu.Unlock()
	commands, stdins = h.host.commands, h.host.stdins
	h.host.commands, h.host.stdins = nil, nil
	return commands, stdins
}

// Connections says how many connections have been made to the host.
func (h *Host) Connections() int {
	h.host.mu.Lock()
	defer h.host.mu.Unlock()
	return h.host.connections
}

// Serve runs n hosts, the first with the number given: where two programs run
// hosts at once, they take different ones. It writes their public keys to dir/known_hosts, says
// "ready" on stdout and serves until stdin ends.
func Serve(first, n int, dir string) error {
	var known strings.Builder
	for i := range n {
		h, err := Start(first + i)
		if err != nil {
			return err
		}
		known.WriteString(knownhosts.Line([]string{knownhosts.Normalize(h.Address.String())}, h.Key) + "\n")
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
	h.mu.Lock()
	h.connections++
	h.mu.Unlock()
	go ssh.DiscardRequests(requests)
	for c := range channels {
		switch c.ChannelType() {
		case "session":
			channel, requests, err := c.Accept()
			if err != nil {
				return
			}
			go h.session(channel, requests)
		case "direct-tcpip":
			go forward(c)
		default:
			_ = c.Reject(ssh.UnknownChannelType, "sessions and forwarded connections only")
		}
	}
}

// forward is what a bastion does.
func forward(c ssh.NewChannel) {
	var to struct {
		Host       string
		Port       uint32
		Originator string
		From       uint32
	}
	if err := ssh.Unmarshal(c.ExtraData(), &to); err != nil {
		_ = c.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	conn, err := net.Dial("tcp", net.JoinHostPort(to.Host, fmt.Sprint(to.Port)))
	if err != nil {
		_ = c.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer conn.Close()
	channel, requests, err := c.Accept()
	if err != nil {
		return
	}
	defer channel.Close()
	go ssh.DiscardRequests(requests)
	go func() { _, _ = io.Copy(conn, channel); _ = conn.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(channel, conn)
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
			if d, ok := h.drift[name]; ok {
				if _, err := fmt.Fprintf(channel, "- %s\n", d); err != nil {
					return err
				}
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
	delete(h.drift, phase)
	h.commands = append(h.commands, command)
	h.stdins = append(h.stdins, string(stdin))
	h.mu.Unlock()
	_, err = fmt.Fprintf(channel, `{"phase":%q,"host":%q,"changed":[]}`+"\n", phase, host)
	return err
}

func lastLine(text string) string {
	text = strings.TrimRight(text, "\n")
	return text[strings.LastIndexByte(text, '\n')+1:]
}
