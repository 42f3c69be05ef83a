package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// Drift is what a look at one host found: how it differs from what the phases
// last left there.
type Drift struct {
	// Phases has an entry for every phase that has run on the host.
	Phases map[string]PhaseDrift
	// At is when the host was looked at.
	At time.Time
	// Err says why the host could not be looked at; its state is unknown then.
	Err error
}

// PhaseDrift is the drift of one phase.
type PhaseDrift struct {
	Converged   string   // when the phase last succeeded, RFC 3339
	Differences []string // one line each; none where all is as it was left
}

// Drifted returns the names of the phases that drifted, sorted.
func (d *Drift) Drifted() []string {
	if d == nil {
		return nil
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(d.Phases)) {
		if len(d.Phases[name].Differences) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// note is what a drifted phase shows in a preview. It names the time of the
// run that it refers to, so that the same drift found again is another note.
func (d *Drift) note(phase string) string {
	if d == nil || d.Err != nil {
		return ""
	}
	p, known := d.Phases[phase]
	if !known {
		// A phase that is new to the state as well is created anyway.
		return fmt.Sprintf("# drift found %s: the host knows nothing of this phase\n", d.At.UTC().Format(time.RFC3339))
	}
	var b strings.Builder
	for _, line := range p.Differences {
		fmt.Fprintf(&b, "# drift since %s: %s\n", p.Converged, line)
	}
	return b.String()
}

// Probe looks at all hosts at once, over one connection each, and returns them
// with their Drift set. It changes nothing. A host that cannot be looked at
// within the timeout has Drift.Err set, and is never called clean.
func Probe(ctx context.Context, hosts []Host, timeout time.Duration) []Host {
	probed := slices.Clone(hosts)
	var wg sync.WaitGroup
	for i := range probed {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			probed[i].Drift = probe(ctx, probed[i])
		})
	}
	wg.Wait()
	return probed
}

func probe(ctx context.Context, h Host) *Drift {
	out, err := h.SSH.run(ctx, fmt.Sprintf("if [ -e /var/lib/halinux ]; then %s sh %s check; else echo end; fi", asRoot, libraryPath))
	if err != nil {
		return &Drift{Err: fmt.Errorf("%s (%s): %w", h.Name, h.SSH.Address, err)}
	}
	d, err := parseCheck(out)
	if err != nil {
		return &Drift{Err: fmt.Errorf("%s (%s): %w", h.Name, h.SSH.Address, err)}
	}
	d.At = time.Now()
	return d
}

// parseCheck reads what lib.sh's check prints.
func parseCheck(out string) (*Drift, error) {
	d := &Drift{Phases: map[string]PhaseDrift{}}
	phase := ""
	ended := false
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		switch {
		case ended || line == "":
			continue
		case strings.HasPrefix(line, "= "):
			name, at, _ := strings.Cut(line[2:], " ")
			phase = name
			d.Phases[phase] = PhaseDrift{Converged: at}
		case strings.HasPrefix(line, "- ") && phase != "":
			p := d.Phases[phase]
			p.Differences = append(p.Differences, line[2:])
			d.Phases[phase] = p
		case line == "end":
			ended = true
		default:
			return nil, fmt.Errorf("unexpected answer to the check: %q", line)
		}
	}
	if !ended {
		return nil, errors.New("the check ended before its last line")
	}
	return d, nil
}

// run runs one command on the host and returns its stdout.
func (s SSH) run(ctx context.Context, command string) (string, error) {
	client, err := s.dial(ctx)
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
func (s SSH) dial(ctx context.Context) (*ssh.Client, error) {
	config, closeAgent, err := s.clientConfig()
	if err != nil {
		return nil, err
	}
	defer closeAgent()
	address := net.JoinHostPort(s.Address, strconv.Itoa(s.port()))
	var conn net.Conn
	if s.Proxy != nil {
		proxy, err := s.Proxy.dial(ctx)
		if err != nil {
			return nil, fmt.Errorf("bastion: %w", err)
		}
		conn, err = proxy.DialContext(ctx, "tcp", address)
		if err != nil {
			proxy.Close()
			return nil, err
		}
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
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
