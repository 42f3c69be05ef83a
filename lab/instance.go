package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"
)

// Lab is one running (or not running) instance of a topology. Several can run
// at the same time, with the same addresses, under different names.
type Lab struct {
	name     string
	cache    string // ~/.cache/halinux
	dir      string // folder of this instance
	topology *Topology
	progress *Progress
}

// DefaultName is the instance's name when none is given.
const DefaultName = "lab"

var instancePattern = regexp.MustCompile(`^[a-z][a-z0-9]{0,15}$`)

// Find names an instance without its topology, which is enough to remove it.
func Find(name string, progress io.Writer) (*Lab, error) {
	if name == "" {
		name = DefaultName
	}
	if !instancePattern.MatchString(name) {
		return nil, fmt.Errorf("lab name %q must match %s", name, instancePattern)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, fmt.Errorf("cache folder: %w, set HOME", err)
	}
	l := &Lab{name: name, cache: filepath.Join(home, ".cache", "halinux"), progress: NewProgress(progress)}
	l.dir = filepath.Join(l.cache, "lab", name)
	return l, nil
}

// Open finds or prepares an instance. With an empty topology path the instance
// must have been brought up before, and is taken as it was then.
func Open(name, topologyPath string, progress io.Writer) (*Lab, error) {
	l, err := Find(name, progress)
	if err != nil {
		return nil, err
	}
	if topologyPath != "" {
		l.topology, err = LoadTopology(topologyPath)
		return l, err
	}
	l.topology, err = l.recordedTopology()
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("lab %q is not up, run: lab up", l.name)
	}
	return l, err
}

// Dir is the instance's folder.
func (l *Lab) Dir() string { return l.dir }

func (l *Lab) hostDir(host string) string { return filepath.Join(l.dir, "hosts", host) }
func (l *Lab) logPath(node string) string { return filepath.Join(l.dir, "log", node+".log") }

// The topology that the instance runs is kept beside it, so that verbs work
// from any folder and stay true when the file is edited meanwhile.
func (l *Lab) recordTopology() error {
	data, err := os.ReadFile(filepath.Join(l.dir, "topology.json"))
	record, merr := json.MarshalIndent(recordedTopology{Dir: l.topology.dir, Topology: l.topology}, "", "  ")
	if merr != nil {
		return fmt.Errorf("record topology: %w", merr)
	}
	if err == nil && string(data) == string(record) {
		return nil
	}
	return writeFile(filepath.Join(l.dir, "topology.json"), record, 0o644)
}

type recordedTopology struct {
	Dir      string
	Topology *Topology
}

func (l *Lab) recordedTopology() (*Topology, error) {
	data, err := os.ReadFile(filepath.Join(l.dir, "topology.json"))
	if err != nil {
		return nil, fmt.Errorf("recorded topology: %w", err)
	}
	var r recordedTopology
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("recorded topology of lab %q: %w", l.name, err)
	}
	r.Topology.dir = r.Dir
	for name, h := range r.Topology.Hosts {
		h.name = name
	}
	return r.Topology, nil
}

// writeFile replaces a file at once: a reader sees the old or the new content.
func writeFile(path string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Chmod(mode), tmp.Close())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(tmp.Name(), path)
}

// lock takes an exclusive lock on a file, waiting until ctx ends. The kernel
// drops it when the holder dies, however it dies.
func lock(ctx context.Context, path string) (*os.File, error) {
	return flock(ctx, path, unix.LOCK_EX)
}

// flock takes a lock as flock(2) knows them.
func flock(ctx context.Context, path string, how int) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		err = poll(ctx, 50*time.Millisecond, func() (bool, error) {
			err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
			if errors.Is(err, unix.EWOULDBLOCK) {
				return false, nil
			}
			return err == nil, err
		})
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		// The holder before us may have removed the file.
		var held, there unix.Stat_t
		if unix.Fstat(int(f.Fd()), &held) == nil && unix.Stat(path, &there) == nil && held.Ino == there.Ino {
			return f, nil
		}
		f.Close()
	}
}

// locked tells whether some process holds the lock on a file.
func locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// poll calls f until it is done, fails, or ctx ends.
func poll(ctx context.Context, every time.Duration, f func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		done, err := f()
		if err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// verbDeadline is how long a verb waits for another one on the same instance.
const verbDeadline = 20 * time.Minute

// exclusively runs one verb at a time on an instance.
func (l *Lab) exclusively(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, verbDeadline)
	defer cancel()
	var held *os.File
	if err := l.progress.wait("another verb on lab "+l.name, func() (err error) {
		held, err = lock(ctx, l.dir+".lock")
		return err
	}); err != nil {
		return fmt.Errorf("another verb runs on lab %q: %w", l.name, err)
	}
	defer held.Close()
	return f()
}
