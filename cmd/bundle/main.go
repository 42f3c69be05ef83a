// Command bundle makes the offline bundle of Kubernetes, see package bundle.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/halinux/halinux/bundle"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bundle:", err)
		os.Exit(1)
	}
}

func run() error {
	home, err := os.UserHomeDir()
	if err != nil {
		return fmt.Errorf("cache folder: %w, set HOME", err)
	}
	start := time.Now()
	o := bundle.Options{
		Cache: filepath.Join(home, ".cache", "halinux"),
		Say: func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, "[%3.0f s] %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
		},
	}
	flag.StringVar(&o.Out, "o", filepath.Join(o.Cache, "bundle"), "folder of the bundle")
	flag.StringVar(&o.Programs, "programs", "", "folder with ready programs (kubeadm, etcd, ...); the others are built")
	flag.BoolVar(&o.Ready, "ready", false, "build no program: where one is at hand nowhere, say SKIP and leave the bundle as it is")
	conformance := flag.Bool("conformance", false, "make upstream's conformance tests and their images too; it takes about an hour once")
	flag.StringVar(&o.Cache, "cache", o.Cache, "folder of what was built and downloaded before")
	flag.StringVar(&o.Tools, "tools", "tools", "folder of the pinned modules")
	root := flag.String("mariadb", "", "unpack what the image mariadb is made of into this empty folder, and make no bundle")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if *root != "" {
		return bundle.UnpackMariaDB(ctx, o, *root)
	}
	index, err := bundle.Make(ctx, o)
	if missing := (bundle.Missing)(nil); o.Ready && errors.As(err, &missing) {
		o.Say("SKIP (bundle): %v", missing)
		return nil
	}
	if err != nil {
		return err
	}
	o.Say("%d programs and %d images in %s", len(index.Files), len(index.Images), o.Out)
	if !*conformance {
		return nil
	}
	suite, err := bundle.Conformance(ctx, o)
	if err != nil {
		return err
	}
	o.Say("%s, with %d images of its own", suite.Program, len(suite.Images))
	return nil
}
