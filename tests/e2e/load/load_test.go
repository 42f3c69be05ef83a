package load

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

func TestTallyFindsTheGap(t *testing.T) {
	start := time.Now().Add(-10 * time.Second)
	c := newTally(start)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for ms := 0; ms <= 10000; ms += 100 {
		switch {
		case ms > 3000 && ms < 5000:
			c.note(at(ms), at(ms), at(ms), "", syscall.ECONNREFUSED)
		default:
			c.note(at(ms), at(ms), at(ms+5), "backend1", nil)
		}
	}
	s := c.summary()
	require.Equal(t, 19, s.Failed)
	require.Equal(t, map[string]int{"refused": 19}, s.Classes)
	require.InDelta(t, 2000, s.GapMS, 1)
	require.EqualValues(t, 3005, s.GapAtMS)
	require.EqualValues(t, 3100, s.FirstMS)
	require.EqualValues(t, 4900, s.LastMS)
	require.InDelta(t, 5, s.P99MS, 0.1)
	require.InDelta(t, 1900, s.BadMS, 101)
}

// Where half of the requests go another way, there is no gap, but an outage.
func TestTallyFindsHalfAnOutage(t *testing.T) {
	start := time.Now().Add(-10 * time.Second)
	c := newTally(start)
	for n := range 2000 {
		at := start.Add(time.Duration(n) * 5 * time.Millisecond)
		var err error
		switch {
		case n == 100, n >= 1000 && n < 1100 && n%2 == 0:
			err = syscall.EHOSTUNREACH
		}
		c.note(at, at, at, "backend1", err)
	}
	s := c.summary()
	require.InDelta(t, 500, s.BadMS, 101)
	require.Less(t, s.GapMS, 20.0)
	require.Equal(t, map[string]int{"unreachable": 51}, s.Classes)
}

// A service that does not come back is one gap up to the end.
func TestTallyCountsTheEnd(t *testing.T) {
	c := newTally(time.Now().Add(-4 * time.Second))
	c.note(c.start, c.start, c.start.Add(time.Second), "", nil)
	require.InDelta(t, 3000, c.summary().GapMS, 100)
}

func TestModes(t *testing.T) {
	var connections atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte(r.Method + " " + r.Host + "\nmore\n"))
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	address := server.Listener.Addr().String()
	for _, c := range []struct {
		mode, url, by string
		connections   int32
		err           error
	}{
		{"new", "http://site.example/", "GET site.example", 3, nil},
		{"keepalive", "http://site.example/", "GET site.example", 1, nil},
		{"post", "http://site.example/", "POST site.example", 3, nil},
		{"new", "http://site.example/bad", "", 3, status(503)},
	} {
		connections.Store(0)
		send, err := sender(Settings{Mode: c.mode, URL: c.url, Server: address, Rate: 1})
		require.NoError(t, err)
		for range 3 {
			by, err := send(context.Background())
			require.Equal(t, c.by, by)
			require.Equal(t, c.err, err)
		}
		require.Equal(t, c.connections, connections.Load(), c.mode)
	}
}

func TestTLSIsVerified(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("ok\n")) }))
	defer server.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	s := Settings{Mode: "new", URL: "https://example.com/", Server: server.Listener.Addr().String(), Rate: 1, CA: ca}
	send, err := sender(s)
	require.NoError(t, err)
	by, err := send(context.Background())
	require.NoError(t, err)
	require.Equal(t, "ok", by)

	s.URL = "https://another.invalid/"
	send, err = sender(s)
	require.NoError(t, err)
	_, err = send(context.Background())
	require.Equal(t, "tls", class(err))
}

func TestClasses(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := closed.Addr().String()
	closed.Close()
	send, err := sender(Settings{Mode: "new", URL: "http://x/", Server: address, Rate: 1})
	require.NoError(t, err)
	_, err = send(context.Background())
	require.Equal(t, "refused", class(err))

	hung, err := net.Listen("tcp", "127.0.0.1:0") // accepts by its backlog and says nothing
	require.NoError(t, err)
	defer hung.Close()
	send, err = sender(Settings{Mode: "new", URL: "http://x/", Server: hung.Addr().String(), Rate: 1})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err = send(ctx)
	require.Equal(t, "timeout", class(err))

	resets, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer resets.Close()
	go func() {
		if c, err := resets.Accept(); err == nil {
			_ = c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}()
	send, err = sender(Settings{Mode: "new", URL: "http://x/", Server: resets.Addr().String(), Rate: 1})
	require.NoError(t, err)
	_, err = send(context.Background())
	require.Equal(t, "reset", class(err))
	require.Equal(t, "5xx", class(status(502)))
	require.Equal(t, "status", class(status(404)))
	require.Equal(t, "other", class(errors.New("odd")))
}

func TestDNS(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer conn.Close()
	var code atomic.Uint32
	names := make(chan string, 10)
	go func() {
		buffer := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buffer[:n]) != nil {
				return
			}
			names <- m.Questions[0].Name.String()
			m.Response, m.RCode = true, dnsmessage.RCode(code.Load())
			if m.RCode == dnsmessage.RCodeSuccess {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
					Body:   &dnsmessage.AResource{A: [4]byte{10, 10, 0, 5}},
				}}
			}
			b, _ := m.Pack()
			_, _ = conn.WriteTo(b, from)
		}
	}()
	send, err := sender(Settings{Mode: "dns", URL: "www.lab.example.", Server: conn.LocalAddr().String(), Rate: 1})
	require.NoError(t, err)
	by, err := send(context.Background())
	require.NoError(t, err)
	require.Equal(t, "10.10.0.5", by)
	require.Equal(t, "www.lab.example.", <-names)
	code.Store(uint32(dnsmessage.RCodeNameError))
	_, err = send(context.Background())
	require.Error(t, err)
	code.Store(uint32(dnsmessage.RCodeServerFailure))
	_, err = send(context.Background())
	require.Equal(t, "5xx", class(err))
	<-names
	<-names

	// Names that no cache knows: nobody has them, which only a server can tell.
	send, err = sender(Settings{Mode: "dns", URL: "*.lab.example.", Server: conn.LocalAddr().String(), Rate: 1})
	require.NoError(t, err)
	_, err = send(context.Background())
	require.Equal(t, "5xx", class(err))
	code.Store(uint32(dnsmessage.RCodeNameError))
	_, err = send(context.Background())
	require.NoError(t, err)
	first, second := <-names, <-names
	require.NotEqual(t, first, second)
	require.True(t, strings.HasSuffix(first, ".lab.example."), first)
}

// The loop is open: requests leave on time though none is answered.
func TestOpenLoop(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), Settings{Rate: 100, Count: 20, Limit: time.Minute, Timeout: 300 * time.Millisecond}, &out, func(ctx context.Context) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	})
	require.NoError(t, err)
	var last Summary
	for line := range bytes.Lines(out.Bytes()) {
		last = Summary{}
		require.NoError(t, json.Unmarshal(line, &last))
	}
	require.True(t, last.Done)
	require.Equal(t, 20, last.Failed)
	require.Equal(t, map[string]int{"timeout": 20}, last.Classes)
}
