// Package pool makes, grows and removes volumes on the storage: directories of one
// of its projects with a hard quota each, by a command over SSH (package nfsha,
// phases/provisioner/volumes.sh, which is the other side).
//
// Each host is asked whether it serves, the one that did before first: the VIP
// would lead to it too, but its host key changes at a failover. Every command may
// be given again, so whoever is told of an error simply repeats it. The package
// knows nothing of Kubernetes.
package pool

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Pool is the way to the storage. All of it but the times is required.
type Pool struct {
	// Hosts are the storage hosts, as address or address:port.
	Hosts []string
	// User is whom the key lets in there.
	User string
	// KeyFile is a private key, and KnownHosts a file with the hosts' public keys
	// (sshd(8)). Both are read at each command, so that they may change.
	KeyFile, KnownHosts string
	// DialTimeout is for the way to one host until it has let us in. Default 10s.
	DialTimeout time.Duration
	// Timeout is for one command on one host. Default 90s: the host waits for
	// others for up to 60 s.
	Timeout time.Duration

	served atomic.Int32 // the index of the host that served last
}

// Volume is one that the storage has.
type Volume struct {
	Name      string
	Size, Use int64 // MiB: the quota, and what is stored
}

// What hosts answer beside success, by exit code.
const (
	notUnderstood = 2
	doesNotServe  = 3
	noRoom        = 4
)

var (
	// ErrNoRoom says that the pool has no room for a volume of this size.
	ErrNoRoom = errors.New("the pool has no room for it")
	// ErrRefused says that it will never be done: a name, size or mode that is
	// none, or a command that the storage does not know.
	ErrRefused = errors.New("the storage does not understand it")
)

// Error says why no host did it.
type Error struct {
	// Begun says that a host may have begun, or even ended it unheard.
	Begun bool
	hosts []error
}

func (e *Error) Error() string {
	var all []string
	for _, err := range e.hosts {
		all = append(all, err.Error())
	}
	return "no storage host did it: " + strings.Join(all, "; ")
}

// Unwrap are the hosts' errors.
func (e *Error) Unwrap() []error { return e.hosts }

// Begun is whether a command that failed may have done something all the same.
func Begun(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Begun
}

var (
	volumeName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$`)
	modeText   = regexp.MustCompile(`^[0-7]{3,4}$`)
)

// CheckName says why a name cannot be that of a volume.
func CheckName(name string) error {
	if !volumeName.MatchString(name) {
		return fmt.Errorf("%w: %q is no name of a volume: up to 128 letters, digits, dots, hyphens and underscores are", ErrRefused, name)
	}
	return nil
}

// CheckMode says why a text cannot be the mode of a directory.
func CheckMode(mode string) error {
	if !modeText.MatchString(mode) {
		return fmt.Errorf("%w: %q is no mode: write it like 0770", ErrRefused, mode)
	}
	return nil
}

// Create makes a volume, or makes one that is there greater; it never makes it
// smaller. The mode is that of the directory when it is made. It returns the path
// under which the directory is exported.
func (p *Pool) Create(ctx context.Context, name string, mib int64, mode string) (string, error) {
	if err := errors.Join(CheckName(name), CheckMode(mode)); err != nil {
		return "", err
	}
	if mib <= 0 {
		return "", fmt.Errorf("%w: %d MiB are no size", ErrRefused, mib)
	}
	out, err := p.do(ctx, fmt.Sprintf("create %s %d %s", name, mib, mode))
	if err != nil {
		return "", fmt.Errorf("make volume %s of %d MiB: %w", name, mib, err)
	}
	at := strings.TrimSuffix(out, "\n")
	if !path.IsAbs(at) || path.Clean(at) != at || path.Base(at) != name {
		return "", fmt.Errorf("make volume %s: the storage says that it is at %q, which is no path of it; is another program behind the key?", name, at)
	}
	return at, nil
}

// Remove removes a volume with all that is in it. One that is not there is no
// error.
func (p *Pool) Remove(ctx context.Context, name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if _, err := p.do(ctx, "remove "+name); err != nil {
		return fmt.Errorf("remove volume %s: %w", name, err)
	}
	return nil
}

// List returns all volumes of the pool, by name.
func (p *Pool) List(ctx context.Context) ([]Volume, error) {
	out, err := p.do(ctx, "list")
	if err != nil {
		return nil, fmt.Errorf("list volumes: %w", err)
	}
	var all []Volume
	for line := range strings.Lines(out) {
		var v Volume
		if n, err := fmt.Sscanf(line, "%s %d %d", &v.Name, &v.Size, &v.Use); n != 3 || err != nil {
			return nil, fmt.Errorf("list volumes: the storage says %q, which is no volume", strings.TrimSpace(line))
		}
		all = append(all, v)
	}
	return all, nil
}

// do has the host that serves run a command, and returns what it says.
func (p *Pool) do(ctx context.Context, command string) (string, error) {
	var failed Error
	first := int(p.served.Load())
	for n := range p.Hosts {
		i := (first + n) % len(p.Hosts)
		out, ran, err := p.ask(ctx, p.Hosts[i], command)
		if err == nil {
			p.served.Store(int32(i))
			return out, nil
		}
		var exit *ssh.ExitError
		if errors.As(err, &exit) {
			switch exit.ExitStatus() {
			case notUnderstood:
				return "", fmt.Errorf("%w: %w", ErrRefused, err)
			case noRoom:
				return "", fmt.Errorf("%w: %w", ErrNoRoom, err)
			case doesNotServe:
				ran = false
			}
		}
		failed.Begun = failed.Begun || ran
		failed.hosts = append(failed.hosts, fmt.Errorf("%s: %w", p.Hosts[i], err))
	}
	return "", &failed
}

// ask has one host run a command. It also returns whether the host may have.
func (p *Pool) ask(ctx context.Context, host, command string) (out string, ran bool, err error) {
	address := host
	if _, _, err := net.SplitHostPort(host); err != nil {
		address = net.JoinHostPort(host, "22")
	}
	config, err := p.config(address)
	if err != nil {
		return "", false, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cmp.Or(p.Timeout, 90*time.Second), errors.New("it took too long"))
	defer cancel()
	dial, cancelDial := context.WithTimeoutCause(ctx, cmp.Or(p.DialTimeout, 10*time.Second), errors.New("it does not answer"))
	defer cancelDial()
	because := func(ctx context.Context, err error) error {
		if ctx.Err() != nil {
			return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		}
		return err
	}
	conn, err := new(net.Dialer).DialContext(dial, "tcp", address)
	if err != nil {
		return "", false, because(dial, err)
	}
	defer conn.Close()
	// The library's own ways do not end with the context.
	greeted := context.AfterFunc(dial, func() { _ = conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, address, config)
	if err != nil {
		return "", false, because(dial, err)
	}
	client := ssh.NewClient(c, channels, requests)
	defer client.Close()
	greeted()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	session, err := client.NewSession()
	if err != nil {
		return "", false, because(ctx, err)
	}
	var said, words bytes.Buffer
	session.Stdout, session.Stderr = &said, &words
	if err := session.Run(command); err != nil {
		if text := strings.Join(strings.Fields(words.String()), " "); text != "" {
			err = fmt.Errorf("%s (%w)", text[:min(len(text), 300)], err)
		}
		return "", true, because(ctx, err)
	}
	return said.String(), true, nil
}

// nobody is a key that nobody has, of the right size: that cannot fail.
var nobody, _ = ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))

// config is how we come in at an address, and whom we expect there.
func (p *Pool) config(address string) (*ssh.ClientConfig, error) {
	private, err := os.ReadFile(p.KeyFile)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.KeyFile, err)
	}
	known, err := knownhosts.New(p.KnownHosts)
	if err != nil {
		return nil, err
	}
	// The library answers whether a key is known. Who asks with one that nobody
	// has is told which are; only those may be offered, else a host with several
	// would show one that we do not know.
	var unknown *knownhosts.KeyError
	if !errors.As(known(address, &net.TCPAddr{}, nobody), &unknown) || len(unknown.Want) == 0 {
		return nil, fmt.Errorf("%s has no key of %s, so it could be anybody", p.KnownHosts, address)
	}
	var algorithms []string
	for _, k := range unknown.Want {
		switch t := k.Key.Type(); t {
		case ssh.KeyAlgoRSA:
			algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			algorithms = append(algorithms, t)
		}
	}
	return &ssh.ClientConfig{
		User: p.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: known, HostKeyAlgorithms: slices.Compact(algorithms),
	}, nil
}

// MiB is a number of bytes in MiB, rounded up.
func MiB(bytes int64) int64 { return (bytes + 1<<20 - 1) >> 20 }

// Bytes is a number of MiB in bytes.
func Bytes(mib int64) int64 { return mib << 20 }

// ParseHosts takes hosts apart that are written with commas between them.
func ParseHosts(text string) ([]string, error) {
	var all []string
	for host := range strings.SplitSeq(text, ",") {
		name, port, err := net.SplitHostPort(host)
		if err != nil {
			name, port = host, "22"
		}
		if n, err := strconv.Atoi(port); name == "" || err != nil || n < 1 || n > 65535 {
			return nil, fmt.Errorf("%q is no host: write addresses, or address:port, with commas between them", host)
		}
		all = append(all, host)
	}
	return all, nil
}
