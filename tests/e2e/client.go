package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/halinux/halinux/tests/e2e/load"
)

// controller is the place of the test program itself, as a place to send from.
const controller = "controller"

// Load is a steady load that runs until it is stopped.
type Load struct {
	from string
	rate float64
	end  func() // ends the sending
	done chan struct{}

	mu      sync.Mutex
	last    load.Progress
	summary load.Summary
	err     error
}

// Calibrate finds the rate that the machine carries through both addresses at
// once, and leaves it with something to spare: half of the rate at which one
// answer in a hundred takes longer than a fifth of a second.
func (b *Bed) Calibrate(t testing.TB, f *facts) {
	t.Helper()
	for ; b.rate > 25; b.rate /= 2 {
		// No limit of time: Send waits until they go well, which may take longer.
		l, i := b.Send(t, controller, f.lan()), b.Send(t, "client", f.internet())
		For(t, 3*time.Second, "the loads", func() error { return nil })
		worst := max(l.Stop(t).P99MS, i.Stop(t).P99MS)
		if worst < 200 {
			break
		}
		t.Logf("at %.0f requests a second one in a hundred takes %.0f ms: too much for this machine", b.rate, worst)
	}
}

// longest bounds a load that nobody stops.
const longest = 10 * time.Minute

// Send starts a load from a host (or from the controller) and waits until its
// requests are answered well.
func (b *Bed) Send(t testing.TB, from string, s load.Settings) *Load {
	t.Helper()
	if s.Rate == 0 {
		s.Rate = b.rate
	}
	if s.Timeout == 0 {
		s.Timeout = 3 * time.Second
	}
	if s.Mode == "" {
		s.Mode = "new"
	}
	if s.Limit == 0 {
		s.Limit = longest
	}
	l := &Load{from: from, rate: s.Rate, done: make(chan struct{})}
	if from == controller {
		l.sendHere(s)
	} else if err := b.sendFrom(l, from, s); err != nil {
		t.Fatalf("load from %s: %v", from, err)
	}
	t.Cleanup(func() { l.end(); <-l.done })
	l.Steady(t, 500*time.Millisecond, time.Minute)
	return l
}

func (l *Load) sendHere(s load.Settings) {
	ctx, cancel := context.WithCancel(context.Background())
	l.end = cancel
	r, w := io.Pipe()
	go func() { w.CloseWithError(load.Run(ctx, s, w)) }()
	go func() {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			l.hear(lines.Bytes())
		}
		l.ended(lines.Err())
	}()
}

// sendFrom copies the program to the host and starts it there. It ends when
// its input does, and so when the connection dies.
func (b *Bed) sendFrom(l *Load, host string, s load.Settings) error {
	if err := b.install(host, b.loader, loaderPath); err != nil {
		return err
	}
	ca := ""
	if s.CA != "" {
		ca = loaderPath + ".ca"
		pem, err := os.ReadFile(s.CA)
		if err != nil {
			return err
		}
		if err := b.put(host, ca, bytes.NewReader(pem)); err != nil {
			return err
		}
	}
	r, err := b.stream(host, []string{loaderPath,
		"-mode", s.Mode, "-url", s.URL, "-server", s.Server, "-ca", ca, "-host", s.Host,
		"-rate", fmt.Sprint(s.Rate), "-time", s.Limit.String(), "-count", fmt.Sprint(s.Count), "-timeout", s.Timeout.String(), "-body", fmt.Sprint(s.Body), "-connections", fmt.Sprint(s.Connections)}, l.hear)
	if err != nil {
		return err
	}
	l.end = r.end
	go func() {
		<-r.done
		l.ended(r.err)
	}()
	return nil
}

const loaderPath = "/run/halinux-load"

// put writes a file on a host, executable.
func (b *Bed) put(host, path string, content io.Reader) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := b.ssh.run(ctx, b.hosts[host], fmt.Sprintf("cat >%[1]s.new && chmod 755 %[1]s.new && mv %[1]s.new %[1]s", path), content)
	return err
}

// hear takes a line of what the program says.
func (l *Load) hear(line []byte) {
	var p load.Progress
	var s load.Summary
	l.mu.Lock()
	defer l.mu.Unlock()
	if json.Unmarshal(line, &s) == nil && s.Done {
		l.summary = s
	} else if json.Unmarshal(line, &p) == nil {
		l.last = p
	}
}

func (l *Load) ended(err error) {
	l.mu.Lock()
	l.err = err
	l.mu.Unlock()
	close(l.done)
}

// Progress is what became of the requests so far.
func (l *Load) Progress() load.Progress {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Steady waits until requests have been answered, and none failed, for a time.
func (l *Load) Steady(t testing.TB, d, deadline time.Duration) {
	t.Helper()
	first := l.Progress()
	Until(t, deadline, fmt.Sprintf("a steady load from %s", l.from), func() error {
		p := l.Progress()
		select {
		case <-l.done:
			t.Fatalf("the load from %s has ended: %v", l.from, l.err)
		default:
		}
		switch {
		case p.OK == first.OK, p.AtMS-p.GoodMS > 1000:
			return fmt.Errorf("no good answer: %+v", p)
		case float64(p.Sent-p.OK-p.Failed) > l.rate:
			return fmt.Errorf("requests hang: %+v", p)
		case p.LastMS >= 0 && p.AtMS-p.LastMS < d.Milliseconds():
			return fmt.Errorf("requests fail: %+v", p)
		case p.AtMS-first.AtMS < d.Milliseconds():
			return fmt.Errorf("going on")
		}
		return nil
	})
}

// Stop ends the load and returns what became of it.
func (l *Load) Stop(t testing.TB) load.Summary {
	t.Helper()
	l.end()
	select {
	case <-l.done:
	case <-time.After(time.Minute):
		t.Fatalf("the load from %s does not end", l.from)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.summary.Done {
		t.Fatalf("the load from %s ended without a summary: %v", l.from, l.err)
	}
	s := l.summary
	t.Logf("load from %s: %d sent, %d good, %d failed %v, %d not sent; longest gap %.0f ms at %d ms, bad for %.0f ms; p50 %.1f ms, p99 %.1f ms, most %.0f ms; by %v %q",
		l.from, s.Sent, s.OK, s.Failed, s.Classes, s.Skipped, s.GapMS, s.GapAtMS, s.BadMS, s.P50MS, s.P99MS, s.MaxMS, s.By, s.Samples)
	return s
}
