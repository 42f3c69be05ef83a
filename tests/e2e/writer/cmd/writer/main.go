// Command writer is package writer as a program: it is copied to the host that
// writes. It also ends when its standard input does.
//
//	writer -mode append -path /mnt/home/w -run 4f2a -every 20ms
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

	"github.com/halinux/halinux/tests/e2e/writer"
)

func main() {
	var s writer.Settings
	flag.StringVar(&s.Mode, "mode", writer.Fsync, "fsync, append (O_SYNC), lock (fsync, holding the POSIX lock), try (asks for that lock)")
	flag.StringVar(&s.Path, "path", "", "file; emptied first, but by try")
	flag.StringVar(&s.Run, "run", "run", "word in each record")
	flag.DurationVar(&s.Every, "every", 20*time.Millisecond, "begin a record so often")
	flag.DurationVar(&s.Limit, "time", 10*time.Minute, "end after this time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	f, err := writer.Open(s)
	if err == nil {
		err = writer.Run(ctx, s, f, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "writer:", err)
		os.Exit(1)
	}
}
