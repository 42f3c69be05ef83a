package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/distribution/distribution/v3/configuration"
)

// lockName is the file that instances and the collector agree by. Its lock holds
// on NFS too, and goes with the process or with the node that held it.
const lockName = "gate.lock"

// fresh is how old a mark on a blob may get before it is set anew: a client that
// asks for one may count on it for the collector's grace less this.
const fresh = 10 * time.Minute

var digestPattern = regexp.MustCompile(`^(sha256|sha512):([0-9a-f]{64,128})$`)

// newGate lets requests pass that store something, or say that a blob is stored,
// while nothing is collected; they wait, and are never refused. Of each blob that
// a client was told of it marks the time, as the time of the file: the collector
// leaves alone what was marked lately. Chunks of uploads pass: the collector does
// not touch uploads.
func newGate(c *configuration.Configuration, next http.Handler) http.Handler {
	root := rootDirectory(c)
	if root == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !gated(r) {
			next.ServeHTTP(w, r)
			return
		}
		unlock, err := lock(r.Context(), root, syscall.LOCK_SH)
		if err != nil {
			if r.Context().Err() == nil {
				fmt.Fprintln(os.Stderr, "gate:", err)
				http.Error(w, "the storage does not answer", http.StatusServiceUnavailable)
			}
			return
		}
		defer unlock()
		next.ServeHTTP(&marker{ResponseWriter: w, root: root}, r)
	})
}

func gated(r *http.Request) bool {
	switch r.Method {
	case http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete:
		return strings.HasPrefix(r.URL.Path, "/v2/") && (strings.Contains(r.URL.Path, "/blobs/") || strings.Contains(r.URL.Path, "/manifests/"))
	}
	return false
}

// marker marks the blob of an answer before the client reads it.
type marker struct {
	http.ResponseWriter
	root string
	done bool
}

func (m *marker) WriteHeader(status int) {
	if !m.done && status < 300 {
		if path, ok := blobPath(m.root, m.Header().Get("Docker-Content-Digest")); ok {
			if err := mark(path); err != nil && !errors.Is(err, os.ErrNotExist) {
				fmt.Fprintln(os.Stderr, "gate:", err)
				m.Header().Del("Docker-Content-Digest")
				status = http.StatusServiceUnavailable
			}
		}
	}
	m.done = true
	m.ResponseWriter.WriteHeader(status)
}

func (m *marker) Write(p []byte) (int, error) {
	if !m.done {
		m.WriteHeader(http.StatusOK)
	}
	return m.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (m *marker) Unwrap() http.ResponseWriter { return m.ResponseWriter }

func mark(path string) error {
	info, err := os.Stat(path)
	if err != nil || time.Since(info.ModTime()) < fresh {
		return err
	}
	now := time.Now()
	return os.Chtimes(path, now, now)
}

// blobPath is the file of a blob.
func blobPath(root, digest string) (string, bool) {
	m := digestPattern.FindStringSubmatch(digest)
	if m == nil {
		return "", false
	}
	return filepath.Join(root, "docker/registry/v2/blobs", m[1], m[2][:2], m[2], "data"), true
}

// lock waits for the lock of a storage, shared or alone.
func lock(ctx context.Context, root string, how int) (func(), error) {
	f, err := os.OpenFile(filepath.Join(root, lockName), os.O_RDWR|os.O_CREATE, 0o660)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-tick.C:
		}
	}
}
