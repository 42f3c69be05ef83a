// Package load sends requests at a steady rate and says what became of each.
//
// It is an open loop: a request is sent when its time has come, whatever became
// of those before it, so a service that stands still is not spared. Each request
// is a new connection unless the mode says otherwise. What answered is the first
// line of the answer.
package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Settings are what a load is made of.
type Settings struct {
	Mode    string        // new (GET over a new connection), keepalive (GET), post (POST over a new connection), keepalive-post, dns
	URL     string        // with the mode dns the name to ask for
	Server  string        // address:port to connect to, whatever the URL says; with the mode dns the server to ask
	CA      string        // file of the authority that signs the server's certificate
	Host    string        // Host header, where it is not the URL's
	Rate    float64       // requests a second
	Limit   time.Duration // ends after this time
	Count   int           // ends after this many requests; 0: no such end
	Timeout time.Duration // when a request counts as lost
	Body    int           // bytes that a POST sends
	// Connections bounds those of the keepalive modes; 0: as many as there are
	// requests under way.
	Connections int
}

// request sends one request and returns which host answered.
type request func(ctx context.Context) (string, error)

func sender(s Settings) (request, error) {
	if s.Rate <= 0 || s.URL == "" {
		return nil, errors.New("a URL and a rate above 0 are needed")
	}
	if s.Mode == "dns" {
		return dnsSender(s)
	}
	return httpSender(s)
}

// maxUnderWay bounds what a service that hangs can make this program hold.
const maxUnderWay = 4000

// Run sends requests until the context, the time or the count ends, and waits
// for those under way. It writes JSON: a line of [Progress] four times a second,
// and a [Summary] at the end.
func Run(ctx context.Context, s Settings, w io.Writer) error {
	send, err := sender(s)
	if err != nil {
		return err
	}
	return run(ctx, s, w, send)
}

func run(ctx context.Context, s Settings, w io.Writer, send request) error {
	ctx, cancel := context.WithTimeout(ctx, s.Limit)
	defer cancel()

	t := newTally(time.Now())
	out := json.NewEncoder(w)
	var written sync.Mutex
	progress := time.NewTicker(250 * time.Millisecond)
	defer progress.Stop()
	done := make(chan struct{})
	go func() {
		for {
			select {
			case <-progress.C:
				written.Lock()
				_ = out.Encode(t.progress())
				written.Unlock()
			case <-done:
				return
			}
		}
	}()

	var wg sync.WaitGroup
	underWay := make(chan struct{}, maxUnderWay)
	gap := time.Duration(float64(time.Second) / s.Rate)
	next := time.NewTimer(0)
	defer next.Stop()
	for n := 0; s.Count == 0 || n < s.Count; n++ {
		due := t.start.Add(time.Duration(n) * gap)
		next.Reset(time.Until(due))
		select {
		case <-next.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		select {
		case underWay <- struct{}{}:
		default:
			t.skip()
			continue
		}
		wg.Go(func() {
			defer func() { <-underWay }()
			// Not the context of the run: what has been sent is waited for.
			ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
			defer cancel()
			t.sending()
			at := time.Now()
			by, err := send(ctx)
			t.note(due, at, time.Now(), by, err)
		})
	}
	wg.Wait()
	close(done)
	written.Lock()
	defer written.Unlock()
	return out.Encode(t.summary())
}

// status is an answer that is not a good one.
type status int

func (s status) Error() string { return fmt.Sprintf("status %d", int(s)) }

// class is the kind of an error, as the summary counts them.
func class(err error) string {
	var s status
	var timeout interface{ Timeout() bool }
	text := err.Error()
	switch {
	case errors.As(err, &s) && s >= 500:
		return "5xx"
	case errors.As(err, &s):
		return "status"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "reset"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case strings.Contains(text, "tls:"), strings.Contains(text, "x509:"):
		return "tls"
	}
	return "other"
}
