// Command sampler is package sampler as a program: it is copied to a storage
// host, and ends when its standard input does.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/halinux/halinux/tests/e2e/sampler"
)

func main() {
	every := flag.Duration("every", 100*time.Millisecond, "time between two looks")
	path := flag.String("path", "/proc/drbd", "what to look at")
	flag.Parse()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := sampler.Run(ctx, *every, func() ([]byte, error) { return os.ReadFile(*path) }, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sampler:", err)
		os.Exit(1)
	}
}
