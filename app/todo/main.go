// Command todo is a web application for lists of things to do, with files
// attached to them.
//
//	todo            serve (go run ./app/todo opens on a local port)
//	todo migrate    bring the database's tables up to date, and end
//	todo sweep      remove files and sessions that nobody refers to, and end
//
// Settings come from the environment: docs/todo.md lists them.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	_ "time/tzdata" // an image has no files for TZ

	"github.com/halinux/halinux/app/todo/config"
	"github.com/halinux/halinux/app/todo/files"
	"github.com/halinux/halinux/app/todo/store"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second one ends the process at once
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "todo:", err)
		os.Exit(1)
	}
}

const usage = "usage: todo [serve | migrate | sweep]"

func run(ctx context.Context, args []string) error {
	command := "serve"
	if len(args) == 1 {
		command = args[0]
	}
	commands := map[string]func(context.Context, *process) error{"serve": serve, "migrate": migrate, "sweep": sweep}
	do, ok := commands[command]
	if !ok || len(args) > 1 {
		return errors.New(usage)
	}
	c, err := config.FromEnvironment(os.Environ())
	if err != nil {
		return err
	}
	p := &process{Config: c, log: logger(c)}
	if p.store, err = openStore(c); err != nil {
		return err
	}
	return errors.Join(do(ctx, p), p.store.Close())
}

// process is what every command has.
type process struct {
	config.Config
	log   *slog.Logger
	store *store.Store
}

func logger(c config.Config) *slog.Logger {
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

func openStore(c config.Config) (*store.Store, error) {
	if c.Profile == config.Standalone {
		return store.OpenSQLite(filepath.Join(c.Data, "todo.db"))
	}
	d := c.Database
	return store.OpenMariaDB(store.MariaDB{Address: d.Address, Name: d.Name, User: d.User, Password: d.Password, CA: d.CA, SyncWait: d.SyncWait})
}

func (p *process) openFiles() (*files.Folder, error) {
	const mib = 1 << 20
	return files.Open(p.Attachments, files.Limits{Size: p.UploadLimit * mib, ThumbnailMemory: p.ThumbnailMemory * mib})
}

func migrate(ctx context.Context, p *process) error {
	ran, err := p.store.Migrate(ctx)
	for _, name := range ran {
		p.log.Info("migrated", "migration", name)
	}
	if err == nil {
		p.log.Info("the database is up to date")
	}
	return err
}

func sweep(ctx context.Context, p *process) (err error) {
	folder, err := p.openFiles()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	return p.sweepOnce(ctx, folder)
}
