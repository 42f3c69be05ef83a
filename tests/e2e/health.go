package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// serverStates prints one line per server that HAProxy knows: backend, server,
// operational state (2 is up, 0 is down) and administrative state (management
// guide, "show servers state").
const serverStates = `python3 -c '
import socket
s = socket.socket(socket.AF_UNIX); s.connect("/run/haproxy/admin.sock"); s.sendall(b"show servers state\n")
text = b""
while True:
    data = s.recv(65536)
    if not data: break
    text += data
for line in text.decode().splitlines():
    f = line.split()
    if len(f) > 6 and f[0].isdigit(): print(f[1], f[3], f[5], f[6])
'
`

// Well says what keeps the platform from serving in full, or nil.
func (b *Bed) Well(f *facts) error {
	for name := range b.hosts {
		if _, err := b.try(name, ":"); err != nil {
			return err
		}
	}
	if owners := b.owners(f, f.vip()); len(owners) != 1 {
		return fmt.Errorf("%s is on %v", f.vip(), owners)
	}
	for _, edge := range f.edges {
		out, err := b.try(edge, "ip -4 -o address show to "+f.public()+"\n"+serverStates)
		if err != nil {
			return err
		}
		if !strings.Contains(out, f.public()) {
			return fmt.Errorf("%s does not have %s", edge, f.public())
		}
		servers := 0
		for line := range strings.Lines(out) {
			words := strings.Fields(line)
			if len(words) != 4 {
				continue
			}
			if servers++; words[2] != "2" {
				return fmt.Errorf("%s: HAProxy holds server %s/%s for down", edge, words[0], words[1])
			}
		}
		if servers == 0 {
			return fmt.Errorf("%s: HAProxy names no servers", edge)
		}
	}
	ways, err := b.ways(f)
	if err != nil {
		return err
	}
	if len(ways) != len(f.edges) {
		return fmt.Errorf("the provider's ways to %s: %v", f.public(), ways)
	}
	if err := get(f.lan().URL); err != nil {
		return err
	}
	if _, err := b.try("client", "curl -sS -f -m 3 -o /dev/null "+f.internet().URL); err != nil {
		return err
	}
	first, err := serial(b.hosts[f.edges[0]], f.zone())
	if err != nil {
		return err
	}
	second, err := serial(b.hosts[f.edges[1]], f.zone())
	if err != nil {
		return err
	}
	if first != second {
		return fmt.Errorf("the name servers have the serials %d and %d", first, second)
	}
	if f.Storage.VIP != "" {
		return b.storageOf(f).Whole()
	}
	return nil
}

// ways are the addresses by which the provider reaches the public address now.
func (b *Bed) ways(f *facts) ([]string, error) {
	out, err := b.try("router", "ip -4 route show "+f.public())
	if err != nil {
		return nil, err
	}
	var ways []string
	words := strings.Fields(out)
	for i, w := range words {
		if w == "via" && i+1 < len(words) {
			ways = append(ways, words[i+1])
		}
	}
	return ways, nil
}

// get fetches a page from the controller.
func get(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	return nil
}

// prepare waits until the platform is well: no scenario starts on one that is
// not.
func (b *Bed) prepare(t testing.TB, f *facts) {
	t.Helper()
	err := b.Well(f)
	if err == nil {
		return
	}
	t.Logf("not well: %v", err)
	if err := b.recover(t, f); err != nil {
		t.Fatal(err)
	}
}

// Restore takes back what a scenario did to the lab, and waits for the
// platform to be well. Where it does not become so, no further scenario runs.
func (b *Bed) Restore(t testing.TB, f *facts) {
	t.Helper()
	if err := b.recover(t, f); err != nil {
		b.broken = fmt.Sprintf("after %s: %v", t.Name(), err)
		t.Error(err)
	}
}

// recover heals the lab. What does not become well by itself then, as after a
// scenario that ended half-way, is repaired as a user would: by "up" with its
// eyes open.
func (b *Bed) recover(t testing.TB, f *facts) error {
	t.Helper()
	b.Lab(t, "heal")
	b.Lab(t, "up")
	_, err := poll(time.Minute, func() error { return b.Well(f) })
	if err == nil {
		return nil
	}
	t.Logf("not well a minute after the heal: %v", err)
	if r := b.Do(t, "up", Set("detect", "halinux:drift")); r.Code != 0 {
		return fmt.Errorf("up failed:\n%s", tail(r.Output()))
	}
	if _, err := poll(3*time.Minute, func() error { return b.Well(f) }); err != nil {
		return fmt.Errorf("the platform does not recover: %w", err)
	}
	return nil
}
