package main

import (
	"archive/tar"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/halinux/halinux/tests/report"
)

//go:embed ansible topology.yaml topology-packages.yaml Pulumi.yaml Pulumi.bench.yaml
var embedded embed.FS

// step is one thing that both tools are asked for.
type step string

const (
	firstBare step = "first run" // on hosts as Debian was installed, packages and all
	first     step = "first run, packages installed beforehand"
	noop      step = "run without changes"
	change    step = "one changed file on one host"
	drift     step = "drift check, one file changed by hand"
)

// tool is one of the two: it brings the hosts to the work, or looks for drift.
type tool interface {
	name() string
	// begin forgets all that an earlier run left on the controller.
	begin() error
	// run does a step and says what is wrong with what came of it.
	run(ctx context.Context, s step) (cost, error)
}

// comparison of the two tools.
type comparison struct {
	testbed
	tools  []tool
	phases int // phases and libraries over all hosts
	costs  map[string]map[step][]cost
	// beyond counts halinux's SSH connections beyond one per phase in a first
	// run, and all of those in a run without changes.
	beyond map[step][]int
	// unlike are the differences between what the tools left. They fail the
	// benchmark when all has been measured.
	unlike []error
}

// compare lets both tools do the same work on the same hosts in turn. No run is
// begun that would not end within the given time, going by the longest of its
// kind so far.
func compare(ctx context.Context, runs int, within time.Duration, bare bool, labProgram, halinuxProgram, dir string) error {
	start := time.Now()
	if err := installAnsible(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := unpack(dir); err != nil {
		return err
	}
	b := testbed{lab: labProgram, dir: dir, hosts: hostNames}
	defer func() {
		if _, err := b.run(context.WithoutCancel(ctx), "-f", "topology.yaml", "down"); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}()
	h, a := halinuxTool{b, halinuxProgram}, ansibleTool{b}
	c := comparison{testbed: b, tools: []tool{h, a}, costs: map[string]map[step][]cost{}, beyond: map[step][]int{}}
	fmt.Println("bench: asking halinux for the work")
	if err := c.learn(ctx, h); err != nil {
		return fmt.Errorf("asking halinux for the work: %w", err)
	}
	// The hosts without packages come last: apt takes most of their time, which
	// is the same for both, and what time is left may not be enough.
	kinds := []kind{{"topology-packages.yaml", []step{first, noop, change, drift}}}
	if bare {
		kinds = append(kinds, kind{"topology.yaml", []step{firstBare}})
	}
	for _, k := range kinds {
		var longest time.Duration // of this kind's runs
		for n := range runs {
			begun := time.Now()
			if begun.Add(longest).After(start.Add(within)) {
				fmt.Printf("bench: %s: %d of %d runs; a further one would not end within %s\n", k.steps[0], n, runs, within)
				break
			}
			order := slices.Clone(c.tools)
			if n%2 == 1 {
				slices.Reverse(order)
			}
			if err := c.once(ctx, n+1, k, order); err != nil {
				return errors.Join(err, c.record()) // what was measured so far
			}
			longest = max(longest, time.Since(begun))
		}
	}
	return errors.Join(append(c.unlike, c.record())...)
}

// installAnsible makes sure of Debian's Ansible on this machine.
func installAnsible(ctx context.Context) error {
	if _, err := exec.LookPath("ansible-playbook"); err == nil {
		return nil
	}
	fmt.Println("bench: installing ansible")
	cmd := exec.CommandContext(ctx, "apt-get", "install", "-qq", "-y", "--no-install-recommends", "ansible")
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("installing ansible: %w\n%s", err, out)
	}
	return nil
}

// unpack writes the playbook, the topologies and the stack to a folder.
func unpack(dir string) error {
	return fs.WalkDir(embedded, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, path)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		b, err := embedded.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o644)
	})
}

// kind is a kind of fresh hosts, and what is done on them.
type kind struct {
	topology string
	steps    []step
}

// once lets each tool do all steps on hosts of one kind, and compares what they left.
func (c *comparison) once(ctx context.Context, number int, k kind, order []tool) error {
	left := map[step]map[string]string{} // what the first tool left, by step and host
	for _, t := range order {
		if c.costs[t.name()] == nil {
			c.costs[t.name()] = map[step][]cost{}
		}
		if err := c.fresh(ctx, k.topology); err != nil {
			return err
		}
		if err := t.begin(); err != nil {
			return err
		}
		for _, s := range k.steps {
			if s == drift {
				if _, err := c.on(ctx, driftHost, "printf '# by hand\\n' >>"+driftFile); err != nil {
					return err
				}
			}
			before, err := c.connections(ctx)
			if err != nil {
				return err
			}
			cost, err := t.run(ctx, s)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", t.name(), s, err)
			}
			after, err := c.connections(ctx)
			if err != nil {
				return err
			}
			// Asking took one on each host.
			made := after - before - len(hostNames)
			fmt.Printf("bench: run %d, %s, %s: %.1f s, CPU %.1f s, %d SSH connections\n", number, t.name(), s, cost.Wall.Seconds(), cost.CPU.Seconds(), made)
			c.costs[t.name()][s] = append(c.costs[t.name()][s], cost)
			if t.name() == "halinux" {
				switch s {
				case first:
					// Each host is looked at once before a new stack is built.
					c.beyond[s] = append(c.beyond[s], max(0, made-c.phases-len(hostNames)))
				case noop:
					c.beyond[s] = append(c.beyond[s], made)
				}
			}
			if s == drift {
				continue
			}
			prints, err := c.onAll(ctx, fingerprint)
			if err != nil {
				return err
			}
			if left[s] == nil {
				left[s] = prints
				continue
			}
			for _, h := range hostNames {
				if d := difference(left[s][h], prints[h]); d != "" {
					err := fmt.Errorf("run %d, %s: the tools leave %s in different states (- %s, + %s):\n%s", number, s, h, order[0].name(), t.name(), d)
					fmt.Println("bench:", err)
					c.unlike = append(c.unlike, err)
				}
			}
		}
	}
	return nil
}

// difference lists the lines that only one of two texts has.
func difference(a, b string) string {
	var out strings.Builder
	for _, side := range []struct{ mark, of, other string }{{"-", a, b}, {"+", b, a}} {
		other := map[string]bool{}
		for line := range strings.Lines(side.other) {
			other[line] = true
		}
		for line := range strings.Lines(side.of) {
			if !other[line] {
				out.WriteString(side.mark + " " + line)
			}
		}
	}
	return out.String()
}

// ---- halinux ----------------------------------------------------------------

// halinuxTool runs the stack Pulumi.bench.yaml.
type halinuxTool struct {
	testbed
	program string
}

func (h halinuxTool) name() string { return "halinux" }

func (h halinuxTool) begin() error {
	for _, d := range []string{"state", "project"} {
		if err := os.RemoveAll(filepath.Join(h.dir, d)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(h.dir, "state"), 0o700); err != nil {
		return err
	}
	return h.configure(false)
}

// configure writes the stack's settings, with the change or without it.
func (h halinuxTool) configure(changed bool) error {
	b, err := embedded.ReadFile("Pulumi.bench.yaml")
	if err != nil {
		return err
	}
	text := string(b)
	if changed {
		with := strings.Replace(text, "extra: []", "extra: [{name: bench, to: ["+changeHost+"], protocol: tcp, ports: [9000], from: [lan]}]", 1)
		if with == text {
			return errors.New("the settings have no place for the change")
		}
		text = with
	}
	return os.WriteFile(filepath.Join(h.dir, "Pulumi.bench.yaml"), []byte(text), 0o644)
}

func (h halinuxTool) run(ctx context.Context, s step) (cost, error) {
	verb := "up"
	switch s {
	case change:
		if err := h.configure(true); err != nil {
			return cost{}, err
		}
	case drift:
		verb = "drift"
	}
	cmd := h.command(ctx, "exec", "--", h.program, "-s", "bench", "-work", "project", verb)
	cmd.Env = append(cmd.Env,
		"PULUMI_BACKEND_URL=file://"+filepath.Join(h.dir, "state"),
		"PULUMI_CONFIG_PASSPHRASE=for the benchmark only",
		"PULUMI_SKIP_UPDATE_CHECK=true",
	)
	c, said, err := measure(cmd)
	if s == drift {
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 {
			return c, fmt.Errorf("the drift was not found: %w\n%s", err, said)
		}
		if !strings.Contains(said, driftFile) {
			return c, fmt.Errorf("the drift was not named:\n%s", said)
		}
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if changed := changes.MatchString(said); changed != (s != noop) {
		return c, fmt.Errorf("it should have changed something: %t, and did: %t\n%s", s != noop, changed, said)
	}
	return c, nil
}

// ---- Ansible ----------------------------------------------------------------

// ansibleTool runs the playbook on what was learned.
type ansibleTool struct{ testbed }

func (a ansibleTool) name() string { return "Ansible" }

func (a ansibleTool) begin() error { return a.use("base") }

// use chooses the files and variables of one of the learned states.
func (a ansibleTool) use(state string) error {
	for _, d := range []string{"files", "host_vars"} {
		link := filepath.Join(a.dir, "ansible", d)
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.Symlink(filepath.Join(a.dir, "learned", state, d), link); err != nil {
			return err
		}
	}
	return os.RemoveAll("/run/halinux-bench")
}

var recap = regexp.MustCompile(`(?m)^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=0 +failed=0 `)

func (a ansibleTool) run(ctx context.Context, s step) (cost, error) {
	args := []string{"exec", "--", "ansible-playbook", "site.yaml"}
	switch s {
	case change:
		if err := a.use("changed"); err != nil {
			return cost{}, err
		}
	case drift:
		args = append(args, "--check", "--diff")
	}
	cmd := a.command(ctx, args...)
	cmd.Dir = filepath.Join(a.dir, "ansible")
	cmd.Env = append(cmd.Env, "ANSIBLE_CONFIG="+filepath.Join(cmd.Dir, "ansible.cfg"), "ANSIBLE_NOCOLOR=1")
	c, said, err := measure(cmd)
	if err != nil {
		return c, err
	}
	changed := map[string]int{}
	for _, m := range recap.FindAllStringSubmatch(said, -1) {
		changed[m[1]], _ = strconv.Atoi(m[2])
	}
	for _, h := range hostNames {
		n, there := changed[h]
		want := map[step]bool{firstBare: true, first: true, noop: false, change: h == changeHost, drift: h == driftHost}[s]
		if !there || (n > 0) != want {
			return c, fmt.Errorf("%s: changed %d, wanted a change: %t\n%s", h, n, want, said)
		}
	}
	return c, nil
}

// ---- the work ---------------------------------------------------------------

const (
	changeHost = "edge1" // gets one more rule of the packet filter
	driftHost  = "edge2" // has a file changed by hand
	driftFile  = "/etc/haproxy/haproxy.cfg"
)

// played are the phases whose work is in the playbook.
var played = []string{"packages", "network", "users", "time", "kernel", "firewall", "haproxy", "nginx", "keepalived"}

// phase is what a phase has left on a host, for the playbook.
type phase struct {
	Files    []file   `json:"files"`
	Packages []string `json:"packages"`
	Units    []string `json:"units"`
}

type file struct {
	Path  string `json:"path"`
	Mode  string `json:"mode"`
	Owner string `json:"owner"`
	Group string `json:"group"`
}

// learn lets halinux do the work and the change, and keeps what it left.
func (c *comparison) learn(ctx context.Context, h halinuxTool) error {
	if err := c.fresh(ctx, "topology-packages.yaml"); err != nil {
		return err
	}
	if err := h.begin(); err != nil {
		return err
	}
	for _, part := range []struct {
		step  step
		state string
	}{{first, "base"}, {change, "changed"}} {
		if _, err := h.run(ctx, part.step); err != nil {
			return err
		}
		c.phases = 0
		for _, host := range hostNames {
			if err := c.learnHost(ctx, host, filepath.Join(c.dir, "learned", part.state)); err != nil {
				return fmt.Errorf("%s: %w", host, err)
			}
		}
	}
	return nil
}

// recorded prints what the phases of a host have left, one line each.
const recorded = `cd /var/lib/halinux/phases
for p in *; do
	sed "s/^/file	$p	/" "$p/manifest"
	sed "s/^/package	$p	/" "$p/packages"
	sed "s/^/unit	$p	/" "$p/units"
	printf 'phase\t%s\n' "$p"
done`

func (c *comparison) learnHost(ctx context.Context, host, dir string) error {
	out, err := c.on(ctx, host, recorded)
	if err != nil {
		return err
	}
	phases := map[string]*phase{}
	get := func(name string) *phase {
		if phases[name] == nil {
			phases[name] = &phase{Files: []file{}, Packages: []string{}, Units: []string{}}
		}
		return phases[name]
	}
	var paths []string
	for line := range strings.Lines(out) {
		words := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		p := get(words[1])
		switch {
		case words[0] == "file" && len(words) == 6:
			owner, group, _ := strings.Cut(words[4], ":")
			p.Files = append(p.Files, file{Path: words[5], Mode: words[3], Owner: owner, Group: group})
			paths = append(paths, words[5])
		case words[0] == "package":
			p.Packages = append(p.Packages, words[2])
		case words[0] == "unit":
			p.Units = append(p.Units, words[2])
		case words[0] == "phase":
			c.phases++
		default:
			return fmt.Errorf("%q is not a record of a phase", line)
		}
	}
	c.phases++ // the library
	for name, p := range phases {
		if !slices.Contains(played, name) && len(p.Files)+len(p.Packages)+len(p.Units) > 0 {
			return fmt.Errorf("the playbook does not know the phase %s", name)
		}
	}
	b, err := json.MarshalIndent(map[string]any{"phases": phases}, "", "\t")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "host_vars"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "host_vars", host+".json"), b, 0o644); err != nil {
		return err
	}
	archive, err := c.on(ctx, host, "tar -C / -chf - "+strings.ReplaceAll(" "+strings.Join(paths, " "), " /", " "))
	if err != nil {
		return err
	}
	return extract(strings.NewReader(archive), filepath.Join(dir, "files", host))
}

// extract writes the files of a tar archive below dir, readable to nobody else:
// some are secret.
func extract(archive io.Reader, dir string) error {
	r := tar.NewReader(archive)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(h.Name) {
			return fmt.Errorf("%q leads out of the folder", h.Name)
		}
		to := filepath.Join(dir, h.Name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			return err
		}
	}
}

// ---- the figures ------------------------------------------------------------

// goals are how many times faster than Ansible halinux is to be.
var goals = []struct {
	id   string
	step step
	goal float64
}{
	{"bench-first-run", firstBare, 1},
	{"bench-first-run", first, 5},
	{"bench-no-op", noop, 20},
	{"bench-one-change", change, 5},
	{"bench-drift", drift, 10},
}

// record appends a measurement for each run.
func (c *comparison) record() error {
	const scenario = "the same work on two edges and two backends by Ansible and by halinux"
	for _, g := range goals {
		h, a := c.costs["halinux"][g.step], c.costs["Ansible"][g.step]
		both := min(len(h), len(a)) // the last run may not have come to its end
		if both == 0 {
			continue
		}
		note := fmt.Sprintf("halinux %s; Ansible %s", spread(h), spread(a))
		fmt.Printf("bench: %s: %s\n", g.step, note)
		for i := range both {
			for _, m := range []report.Measurement{
				{Metric: string(g.step) + ": Ansible's time over halinux's", Value: a[i].Wall.Seconds() / h[i].Wall.Seconds(), Limit: g.goal},
				{Metric: string(g.step) + ": Ansible's controller CPU over halinux's", Value: a[i].CPU.Seconds() / h[i].CPU.Seconds(), Limit: 1},
			} {
				m.ID, m.Scenario, m.Unit, m.AtLeast, m.Note = g.id, scenario, "times", true, note
				if err := report.Append(m); err != nil {
					return err
				}
			}
		}
	}
	for _, m := range []report.Measurement{
		{ID: "bench-first-run", Metric: "SSH connections beyond one per phase, library and first look at a host"},
		{ID: "bench-no-op", Metric: "SSH connections"},
	} {
		s := first
		if m.ID == "bench-no-op" {
			s = noop
		}
		for _, n := range c.beyond[s] {
			m.Scenario, m.Value, m.Note = scenario, float64(n), fmt.Sprintf("%d phases and libraries on %d hosts; counted by the hosts' sshd", c.phases, len(hostNames))
			if err := report.Append(m); err != nil {
				return err
			}
		}
	}
	return nil
}

// spread is the median of some costs with the least and the most.
func spread(all []cost) string {
	of := func(what func(cost) time.Duration) string {
		var l []time.Duration
		for _, c := range all {
			l = append(l, what(c))
		}
		slices.Sort(l)
		if len(l) == 0 {
			return "-"
		}
		return fmt.Sprintf("%.1f s (%.1f to %.1f)", l[len(l)/2].Seconds(), l[0].Seconds(), l[len(l)-1].Seconds())
	}
	return of(func(c cost) time.Duration { return c.Wall }) + ", CPU " + of(func(c cost) time.Duration { return c.CPU })
}
