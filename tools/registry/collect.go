package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/storage"
	"github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/distribution/distribution/v3/registry/storage/driver/factory"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
)

// collectCommand removes blobs that no manifest refers to, while instances serve.
func collectCommand() *cobra.Command {
	var grace, wait time.Duration
	c := &cobra.Command{
		Use:   "collect <config>",
		Short: "`collect` deletes blobs that no manifest refers to, beside instances that serve",
		Args:  cobra.ExactArgs(1), SilenceUsage: true,
		RunE: func(_ *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return collect(ctx, args[0], grace, wait)
		},
	}
	c.Flags().DurationVar(&grace, "grace", 24*time.Hour, "how long a blob stays that nothing refers to, since a client was last told of it")
	c.Flags().DurationVar(&wait, "wait", 30*time.Minute, "how long to wait for pushes before giving up")
	return c
}

func collect(ctx context.Context, path string, grace, wait time.Duration) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	config, err := configuration.Parse(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	root := rootDirectory(config)
	if root == "" {
		return fmt.Errorf("%s: storage.filesystem.rootdirectory is missing", path)
	}
	d, err := factory.Create(ctx, config.Storage.Type(), config.Storage.Parameters())
	if err != nil {
		return err
	}
	// It would not start without.
	if err := os.MkdirAll(root+"/docker/registry/v2/repositories", 0o770); err != nil {
		return err
	}
	if err := os.MkdirAll(root+"/docker/registry/v2/blobs", 0o770); err != nil {
		return err
	}
	k := &keeping{StorageDriver: d, root: root, since: time.Now().Add(-grace)}
	namespace, err := storage.NewRegistry(ctx, k)
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	unlock, err := lock(waiting, root, syscall.LOCK_EX)
	if err != nil {
		return fmt.Errorf("pushes have not left a moment for it: %w", err)
	}
	defer unlock()
	logrus.SetLevel(logrus.WarnLevel) // it would call deleted what is kept
	start := time.Now()
	if err := storage.MarkAndSweep(ctx, k, namespace, storage.GCOpts{Quiet: true}); err != nil {
		return err
	}
	fmt.Printf("collected: %d blobs deleted, %d kept for now, %d links to them deleted; pushes waited %s\n", k.blobs, k.kept, k.links, time.Since(start).Round(time.Millisecond))
	return nil
}

// keeping is a storage that keeps what a client was told of lately, or may still
// be pushing.
type keeping struct {
	driver.StorageDriver
	root               string
	since              time.Time
	blobs, kept, links int
}

var (
	blobOf = regexp.MustCompile(`^/docker/registry/v2/blobs/(sha256|sha512)/[0-9a-f]{2}/([0-9a-f]+)$`)
	linkOf = regexp.MustCompile(`/_layers/(sha256|sha512)/([0-9a-f]+)/link$`)
)

// Delete keeps a blob with a young mark, and the links to a blob that is there.
// Anything else than these two is nothing that the sweep may remove here.
func (k *keeping) Delete(ctx context.Context, path string) error {
	counter, m := &k.blobs, blobOf.FindStringSubmatch(path)
	if m == nil {
		counter, m = &k.links, linkOf.FindStringSubmatch(path)
	}
	if m == nil {
		return fmt.Errorf("%s is neither a blob nor a link to one: not deleted", path)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	file, ok := blobPath(k.root, m[1]+":"+m[2])
	if !ok {
		return fmt.Errorf("%s is named after no digest: not deleted", path)
	}
	info, err := os.Stat(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err == nil && info.ModTime().After(k.since) {
		if counter == &k.blobs {
			k.kept++
		}
		return nil
	}
	*counter++
	return k.StorageDriver.Delete(ctx, path)
}
