// Command load is package load as a program: it is copied to the host that
// sends. It also ends when its standard input does.
//
//	load -url http://198.51.100.10/ -rate 200 -time 60s
//	load -mode dns -server 127.0.0.53:53 -url www.lab.example. -rate 50
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/halinux/halinux/tests/e2e/load"
)

func main() {
	var s load.Settings
	flag.StringVar(&s.Mode, "mode", "new", "new (GET over a new connection), keepalive (GET), post (POST over a new connection), keepalive-post, dns")
	flag.StringVar(&s.URL, "url", "", "URL, or with -mode dns the name to ask for")
	flag.StringVar(&s.Server, "server", "", "ADDRESS:PORT to connect to, whatever the URL says; with -mode dns the server to ask")
	flag.StringVar(&s.CA, "ca", "", "file of the authority that signs the server's certificate")
	flag.StringVar(&s.Host, "host", "", "Host header, where it is not the URL's")
	flag.Float64Var(&s.Rate, "rate", 200, "requests a second")
	flag.DurationVar(&s.Limit, "time", 60*time.Second, "end after this time")
	flag.IntVar(&s.Count, "count", 0, "end after this many requests (0: no such end)")
	flag.DurationVar(&s.Timeout, "timeout", 3*time.Second, "when a request counts as lost")
	flag.IntVar(&s.Body, "body", 1024, "bytes that a POST sends")
	flag.IntVar(&s.Connections, "connections", 0, "most connections of the keepalive modes (0: no bound)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := load.Run(ctx, s, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}
