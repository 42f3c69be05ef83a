package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// Settings are the keys of the stack's settings below "config:".
type Settings map[string]any

// Change is made to the settings of one run of the platform's program.
type Change func(Settings)

// Set gives the key at a path like "halinux:edge", "sites", "0", "name" a value.
func Set(value any, path ...string) Change {
	return func(s Settings) { set(map[string]any(s), value, path) }
}

func set(v any, value any, path []string) {
	key, rest := path[0], path[1:]
	if list, ok := v.([]any); ok {
		i, err := strconv.Atoi(key)
		if err != nil || i >= len(list) {
			panic(fmt.Sprintf("the settings have no item %s", key))
		}
		if len(rest) == 0 {
			list[i] = value
			return
		}
		set(list[i], value, rest)
		return
	}
	m := v.(map[string]any)
	if len(rest) == 0 {
		m[key] = value
		return
	}
	if m[key] == nil {
		m[key] = map[string]any{}
	}
	set(m[key], value, rest)
}

// Append adds an item to the list at a path, as Set does.
func Append(item any, path ...string) Change {
	return func(s Settings) {
		var v any = map[string]any(s)
		for _, key := range path {
			m, _ := v.(map[string]any)
			v = m[key]
		}
		list, _ := v.([]any)
		Set(append(slices.Clone(list), item), path...)(s)
	}
}

// settingsFile is the name of the file of the stack's settings.
func (b *Bed) settingsFile() string { return "Pulumi." + b.stack + ".yaml" }

// settings reads the stack's settings.
func (b *Bed) settings(t testing.TB) (document map[string]any, s Settings) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.root, b.settingsFile()))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatalf("%s: %v", b.settingsFile(), err)
	}
	s, ok := document["config"].(map[string]any)
	if !ok {
		t.Fatalf("%s has no config", b.settingsFile())
	}
	return document, s
}

// variant is a folder from which the program runs with other settings on the
// same stack.
func (b *Bed) variant(t testing.TB, changes []Change) string {
	t.Helper()
	if len(changes) == 0 {
		return b.root
	}
	document, s := b.settings(t)
	for _, c := range changes {
		c(s)
	}
	text, err := yaml.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	project, err := os.ReadFile(filepath.Join(b.root, "Pulumi.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"Pulumi.yaml": project, b.settingsFile(): text} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What the settings name relative to the project is found there too.
	if err := os.Symlink(filepath.Join(b.root, ".lab"), filepath.Join(dir, ".lab")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Run is a run of the platform's program.
type Run struct {
	Verb string
	// Code is the exit status once the run has ended; -1 when it was killed.
	Code int
	Took time.Duration

	cmd     *exec.Cmd
	started time.Time
	done    chan struct{}
	mu      sync.Mutex
	out     bytes.Buffer
}

func (r *Run) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Write(p)
}

// Output is what the run has printed so far.
func (r *Run) Output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.String()
}

// state is the folder with the state of the stack.
func (b *Bed) state() string { return filepath.Join(b.root, ".lab", "state") }

// work is the folder for what the engine adds to the stack's settings.
func (b *Bed) work() string { return filepath.Join(b.root, ".lab", "project") }

// environment is that of `make up`, with another backend where one is named.
func (b *Bed) environment(backend string) []string {
	if backend == "" {
		backend = "file://" + b.state()
	}
	return append(os.Environ(), "PULUMI_BACKEND_URL="+backend, "PULUMI_SKIP_UPDATE_CHECK=true",
		"PULUMI_CONFIG_PASSPHRASE_FILE="+filepath.Join(b.root, ".lab", "passphrase"))
}

// Start starts a verb of the platform's program, in a process group of its own.
func (b *Bed) Start(t testing.TB, verb string, changes ...Change) *Run {
	t.Helper()
	return b.startOn(t, "", verb, changes...)
}

// startOn is Start for a controller with a state of its own.
func (b *Bed) startOn(t testing.TB, backend, verb string, changes ...Change) *Run {
	t.Helper()
	work := b.work()
	if backend != "" {
		work = t.TempDir()
		copied, err := os.ReadFile(filepath.Join(b.work(), b.settingsFile()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(work, b.settingsFile()), copied, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := &Run{Verb: verb, Code: -1, done: make(chan struct{}), started: time.Now()}
	r.cmd = exec.Command(b.halinux, "-s", b.stack, "-work", work, verb)
	r.cmd.Dir, r.cmd.Env = b.variant(t, changes), b.environment(backend)
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A pipe of our own: what is left of a killed run may hold it open, and
	// must not hold up the test.
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stdout, r.cmd.Stderr = write, write
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(r, read)
		read.Close()
	}()
	go func() {
		err := r.cmd.Wait()
		r.Took = time.Since(r.started)
		select {
		case <-copied:
		case <-time.After(2 * time.Second): // somebody else holds the pipe
		}
		var exit *exec.ExitError
		switch {
		case err == nil:
			r.Code = 0
		case errors.As(err, &exit):
			r.Code = exit.ExitCode()
		}
		close(r.done)
	}()
	t.Cleanup(r.Kill)
	return r
}

// Kill ends the run and all that it started, as a power cut would.
func (r *Run) Kill() {
	select {
	case <-r.done: // its number may be another process's by now
		return
	default:
	}
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL)
	<-r.done
}

// KillOne ends only the run's own process; the engine that it started is not
// told.
func (r *Run) KillOne() {
	_ = r.cmd.Process.Kill()
	<-r.done
}

// Wait waits for the run's end.
func (r *Run) Wait(t testing.TB, deadline time.Duration) *Run {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	select {
	case <-r.done:
	case <-ctx.Done():
		out := r.Output()
		r.Kill()
		t.Fatalf("%s did not end within %s:\n%s", r.Verb, deadline, tail(out))
	}
	return r
}

// says waits until the run has printed a word. It fails the test when the run
// ends without.
func (r *Run) says(t testing.TB, word string) {
	t.Helper()
	Until(t, 3*time.Minute, fmt.Sprintf("%s to say %q", r.Verb, word), func() error {
		ended := false
		select {
		case <-r.done:
			ended = true
		default:
		}
		out := r.Output()
		switch {
		case strings.Contains(out, word):
			return nil
		case ended:
			t.Fatalf("%s ended, with %d, and did not say %q:\n%s", r.Verb, r.Code, word, tail(out))
		}
		return errors.New(tail(out))
	})
}

// patience is how long a run may take on a slow machine.
const patience = 15 * time.Minute

// Do runs a verb and returns when it has ended, well or not.
func (b *Bed) Do(t testing.TB, verb string, changes ...Change) *Run {
	t.Helper()
	r := b.Start(t, verb, changes...).Wait(t, patience)
	t.Logf("%s: exit %d after %.1f s", verb, r.Code, r.Took.Seconds())
	return r
}

// Up runs "up", which must succeed.
func (b *Bed) Up(t testing.TB, changes ...Change) *Run {
	t.Helper()
	r := b.Do(t, "up", changes...)
	if r.Code != 0 {
		t.Fatalf("up failed:\n%s", tail(r.Output()))
	}
	return r
}

// Unchanged fails the test when a preview would change anything.
func (b *Bed) Unchanged(t testing.TB, changes ...Change) {
	t.Helper()
	r := b.Do(t, "preview", changes...)
	if r.Code != 0 {
		t.Fatalf("preview failed:\n%s", tail(r.Output()))
	}
	if left := changesIn(r.Output()); left != "" {
		t.Fatalf("a preview shows changes where there should be none: %s\n%s", left, tail(r.Output()))
	}
}

// changesIn are the lines of the engine's summary that tell of changes. A
// summary that is not there is a change too: the engine did not come to its end.
func changesIn(out string) string {
	_, summary, found := strings.Cut(out, "Resources:")
	if !found {
		return "no summary"
	}
	var left []string
	for line := range strings.Lines(summary) {
		if line = strings.TrimSpace(line); line != "" && strings.ContainsAny(line[:1], "+~-") {
			left = append(left, line)
		}
	}
	return strings.Join(left, ", ")
}

func tail(s string) string {
	const most = 3000
	if len(s) > most {
		s = "[...]" + s[len(s)-most:]
	}
	return s
}

// NoDrift fails the test when a host differs from what up left there.
func (b *Bed) NoDrift(t testing.TB) {
	t.Helper()
	if r := b.Do(t, "drift"); r.Code != 0 {
		t.Fatalf("drift: exit %d\n%s", r.Code, tail(r.Output()))
	}
}

// has fails the test unless the text holds every one of the words.
func has(t testing.TB, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Fatalf("%q is not in:\n%s", w, tail(text))
		}
	}
}

// output is one of the stack's outputs.
func (b *Bed) output(t testing.TB, name string) string {
	t.Helper()
	r := b.Start(t, "outputs").Wait(t, patience)
	if r.Code != 0 {
		t.Fatalf("outputs: exit %d\n%s", r.Code, r.Output())
	}
	var all map[string]any
	if err := json.Unmarshal([]byte(r.Output()), &all); err != nil {
		t.Fatalf("outputs: %v\n%s", err, r.Output())
	}
	value, ok := find(all, name)
	if !ok {
		t.Fatalf("the stack has no output %q: %s", name, r.Output())
	}
	return value
}

// find looks for a text by its key, at any depth; the items of a list of texts
// are joined by commas.
func find(v any, name string) (string, bool) {
	m, ok := v.(map[string]any)
	if !ok {
		return "", false
	}
	for key, value := range m {
		if strings.EqualFold(key, name) {
			switch value := value.(type) {
			case string:
				return value, true
			case []any:
				var words []string
				for _, v := range value {
					words = append(words, fmt.Sprint(v))
				}
				return strings.Join(words, ","), true
			}
		}
		if text, ok := find(value, name); ok {
			return text, true
		}
	}
	return "", false
}
