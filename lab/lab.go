package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// bootDeadline is how long a host may take from power to ssh. A virtual
// machine has been seen to take over a minute on a slow machine.
const bootDeadline = 4 * time.Minute

// Up starts what does not run of the hosts without a group and of the groups
// given, and waits until each of them answers ssh.
func (l *Lab) Up(ctx context.Context, groups ...string) error {
	names, err := l.topology.namesOf(groups)
	if err != nil {
		return err
	}
	return l.exclusively(ctx, func() error {
		if err := l.Build(ctx, groups...); err != nil {
			return err
		}
		if err := os.MkdirAll(l.dir, 0o755); err != nil {
			return err
		}
		if err := l.clearForeign(); err != nil {
			return err
		}
		if err := l.recordTopology(); err != nil {
			return err
		}
		if err := l.ensureIdentity(); err != nil {
			return err
		}
		if err := l.ensureSwitch(); err != nil {
			return err
		}
		if err := l.ensureNode(controllerName, l.topology.Controller); err != nil {
			return err
		}
		if err := l.ensureMirror(ctx); err != nil {
			return err
		}
		return l.startHosts(ctx, names)
	})
}

func (l *Lab) ensureMirror(ctx context.Context) error {
	if err := l.ensureNode(mirrorName, l.topology.Mirror); err != nil {
		return err
	}
	if served, err := os.ReadFile(l.mirrorServed()); err == nil && locked(l.mirrorLock()) && string(served) == l.mirrorDir() {
		return nil
	}
	if err := killAll(anyOf(inCgroup(l.cgroup(mirrorName)), inNetns(l.namespace(mirrorName)))); err != nil {
		return fmt.Errorf("old mirror: %w", err)
	}
	if err := l.spawn(mirrorName, "_mirror"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := poll(ctx, 20*time.Millisecond, func() (bool, error) { return locked(l.mirrorLock()), nil }); err != nil {
		return fmt.Errorf("mirror does not start: %w\n%s", err, l.logTail(mirrorName))
	}
	return nil
}

// startHosts switches on those of the hosts that are off, and waits for all.
func (l *Lab) startHosts(ctx context.Context, names []string) error {
	var off []string
	for _, name := range names {
		if l.powered(name) {
			continue
		}
		off = append(off, name)
		if err := l.clearHost(l.topology.Hosts[name]); err != nil {
			return err
		}
		if err := l.switchOn(name); err != nil {
			return err
		}
	}
	if len(off) > 0 {
		l.progress.say("start %s", strings.Join(off, " "))
	}
	return l.awaitHosts(ctx, names, off)
}

// awaitHosts waits for all hosts. It tells of those that were off when they are
// up, and says from time to time which it still waits for.
func (l *Lab) awaitHosts(ctx context.Context, names, off []string) error {
	began := time.Now()
	var mu sync.Mutex
	waiting := map[string]string{} // host: what its last answer was
	patience := map[string]time.Duration{}
	for _, name := range names {
		waiting[name], patience[name] = " no try yet", bootDeadline
		if !slices.Contains(off, name) {
			on := time.Since(l.readPower(name).Since)
			patience[name] = max(answerDeadline, bootDeadline-on).Round(time.Second)
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, len(names))
	for i, name := range names {
		wg.Go(func() {
			errs[i] = l.awaitHost(ctx, name, slices.Contains(off, name), patience[name], func(last error) {
				mu.Lock()
				defer mu.Unlock()
				waiting[name] = last.Error()
			})
			mu.Lock()
			defer mu.Unlock()
			delete(waiting, name)
			if errs[i] != nil {
				l.progress.say("%s does not come up, after %.0f s", name, time.Since(began).Seconds())
			} else if slices.Contains(off, name) {
				l.progress.say("%s is up, %.1f s after power on", name, time.Since(l.readPower(name).Since).Seconds())
			}
		})
	}
	all := make(chan struct{})
	go func() { wg.Wait(); close(all) }()
	next := time.NewTimer(progressFirst)
	defer next.Stop()
	for {
		select {
		case <-all:
			if err := errors.Join(errs...); err != nil {
				return err
			}
			if len(off) > 0 {
				l.progress.say("start %s: done in %.1f s", strings.Join(off, " "), time.Since(began).Seconds())
			}
			return nil
		case <-next.C:
			next.Reset(progressEvery)
			mu.Lock()
			var states []string
			for _, name := range sortedKeys(waiting) {
				state := "off"
				if l.powered(name) {
					state = "on"
					if since := l.readPower(name).Since; !since.IsZero() { // it is noted a moment later
						state += " for " + time.Since(since).Round(time.Second).String()
					}
				}
				why := waiting[name][strings.LastIndex(waiting[name], ": ")+1:]
				states = append(states, fmt.Sprintf("%s (%s:%s, at most %.0f s)", name, state, why, patience[name].Seconds()))
			}
			l.progress.say("waiting %.0f s so far for ssh of %s", time.Since(began).Seconds(), strings.Join(states, ", "))
			mu.Unlock()
		}
	}
}

// answerDeadline is how long a host may not answer that has been on for longer
// than a boot takes.
const answerDeadline = time.Minute

// awaitHost waits until a host answers ssh, and gives up at once when it
// cannot any more or its patience is at an end. It hands the reason of each failed try to report.
func (l *Lab) awaitHost(ctx context.Context, name string, booting bool, patience time.Duration, report func(error)) error {
	began, seen := time.Now(), !booting
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	last := errors.New("none")
	err := poll(wait, 100*time.Millisecond, func() (bool, error) {
		on := l.powered(name)
		seen = seen || on
		if !on && (seen || time.Since(began) > 15*time.Second) {
			return false, errors.New("it went off")
		}
		err := l.sshAnswers(wait, name)
		if err != nil && wait.Err() == nil {
			last = err
			report(err)
		}
		return err == nil, nil
	})
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted while waiting for host %s (last try: %w)", name, last)
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer to ssh within %v", patience)
	}
	return fmt.Errorf("host %s: %w (last try: %w); try: lab restart %s\nend of its console, %s:\n%s", name, err, last, name, l.logPath(name), l.logTail(name))
}

func (l *Lab) logTail(node string) string {
	data, err := os.ReadFile(l.logPath(node))
	if err != nil {
		return err.Error()
	}
	return tail(string(data), 25)
}

// Down removes everything of the instance, its hosts' disks included.
func (l *Lab) Down(ctx context.Context) error {
	return l.exclusively(ctx, func() error {
		wait, cancel := context.WithTimeout(ctx, gateDeadline)
		defer cancel()
		gate, err := lock(wait, l.gatePath())
		if err != nil {
			return fmt.Errorf("a process of lab %s is starting and does not get on: %w", l.name, err)
		}
		defer gate.Close()
		if err := errors.Join(l.clearAll(), l.clearOrphanedBuilds()); err != nil {
			return err
		}
		return errors.Join(os.RemoveAll(l.dir), os.Remove(l.gatePath()), os.Remove(l.dir+".lock"))
	})
}

// clearForeign removes hosts that were in the topology once and are no more.
func (l *Lab) clearForeign() error {
	entries, err := os.ReadDir(filepath.Join(l.dir, "hosts"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("hosts of lab %s: %w", l.name, err)
	}
	for _, e := range entries {
		if _, known := l.topology.Hosts[e.Name()]; known {
			continue
		}
		if err := errors.Join(l.clearHost(&Host{name: e.Name()}), removeCgroup(l.cgroup(e.Name()))); err != nil {
			return err
		}
		if err := os.RemoveAll(l.hostDir(e.Name())); err != nil {
			return fmt.Errorf("disk of %s: %w", e.Name(), err)
		}
	}
	return nil
}

// Status writes a table of the hosts.
func (l *Lab) Status(w io.Writer) error {
	list, err := l.faults()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "HOST\tGROUP\tDRIVER\tSTATE\tADDRESSES\tUPTIME\tFAULTS")
	for _, name := range l.topology.hostNames() {
		h := l.topology.Hosts[name]
		state, uptime, p := "off", "-", l.readPower(name)
		if l.powered(name) {
			state, uptime = "on", time.Since(p.Since).Round(time.Second).String()
		}
		var addrs []string
		for _, link := range h.Links {
			if link.Address.IsValid() {
				addrs = append(addrs, fmt.Sprintf("%s=%v", link.Name, link.Address))
			} else {
				addrs = append(addrs, link.Name)
			}
		}
		var faults []string
		for _, f := range list {
			if f.concerns(name, "") {
				faults = append(faults, f.String())
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, cmp.Or(h.Group, "-"), l.driver(h).name(), state, strings.Join(addrs, " "), uptime, strings.Join(faults, ", "))
	}
	return table.Flush()
}

// Unlink removes the link .lab, if it leads to this instance.
func (l *Lab) Unlink(dir string) error {
	path := filepath.Join(dir, ".lab")
	if target, err := os.Readlink(path); err != nil || target != l.dir {
		return nil
	}
	return os.Remove(path)
}

// LinkInto makes the link .lab to the instance's folder.
func (l *Lab) LinkInto(dir string) error {
	path := filepath.Join(dir, ".lab")
	if target, err := os.Readlink(path); err == nil && target == l.dir {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("link .lab: %w", err)
	}
	return os.Symlink(l.dir, path)
}
