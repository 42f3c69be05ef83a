// Command galera-node is the first process of a pod of GaleraDB: it runs mariadbd,
// decides by package recovery how it starts, tells the other nodes and the kubelet
// how it is, and sees to it that one node has the label of the writer.
//
//	galera-node run              the server, until SIGTERM
//	galera-node install FILE     copy itself, for an init container
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := run(log); err != nil {
		log.Error("galera-node ends", "error", err)
		os.Exit(1)
	}
}

func run(log *slog.Logger) error {
	if len(os.Args) == 3 && os.Args[1] == "install" {
		return install(os.Args[2])
	}
	if len(os.Args) != 2 || os.Args[1] != "run" {
		return errors.New("usage: galera-node run | galera-node install FILE")
	}
	if os.Getpid() == 1 {
		code, err := initial()
		if err == nil {
			os.Exit(code)
		}
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	s, err := settingsOf(os.Getenv)
	if err != nil {
		return err
	}
	api, err := inCluster(s)
	if err != nil {
		return fmt.Errorf("the pod's way to the Kubernetes API: %w", err)
	}
	return newNode(s, api, log).run(ctx)
}

// install copies the program to where a container of another image runs it.
func install(to string) error {
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}
