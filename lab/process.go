package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A host's processes are found by what they are in, never by a remembered
// number: a control group that carries the lab's and the host's name, or the
// host's network namespace.

const cgroupTop = "halinux-lab"

func (l *Lab) cgroup(host string) string { return filepath.Join(cgroupTop, l.name, host) }

// cgroupMounts are the control group trees of the machine: one with cgroup v2,
// several with v1 or the hybrid of both.
func cgroupMounts() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	var points []string
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) > 2 && (f[2] == "cgroup" || f[2] == "cgroup2") {
			points = append(points, unescapeMount(f[1]))
		}
	}
	return points, nil
}

// cgroupUnified tells whether the machine has cgroup v2 alone.
func cgroupUnified() bool {
	var fs unix.Statfs_t
	return unix.Statfs("/sys/fs/cgroup", &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// enterCgroup moves this process into a control group of all trees.
func enterCgroup(group string) error {
	points, err := cgroupMounts()
	if err != nil {
		return err
	}
	for _, point := range points {
		dir := point
		for part := range strings.SplitSeq(group, "/") {
			// A cpuset begins empty and takes no process until it has cores.
			clone := filepath.Join(dir, "cgroup.clone_children")
			if _, err := os.Stat(filepath.Join(dir, "cpuset.cpus")); err == nil {
				if _, err := os.Stat(clone); err == nil {
					os.WriteFile(clone, []byte("1"), 0)
				}
			}
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
				return fmt.Errorf("control group: %w", err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("enter control group: %w", err)
		}
	}
	return nil
}

// limitMemory bounds the memory of a control group, in MiB, under cgroup v1 or v2.
func limitMemory(group string, limit int) error {
	points, err := cgroupMounts()
	if err != nil {
		return err
	}
	for _, point := range points {
		// Under v2 a controller has to be handed down, level by level.
		dir := point
		for part := range strings.SplitSeq(group, "/") {
			if _, err := os.Stat(filepath.Join(dir, "cgroup.subtree_control")); err == nil {
				os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+memory"), 0)
			}
			dir = filepath.Join(dir, part)
		}
		for _, name := range []string{"memory.max", "memory.limit_in_bytes"} {
			path := filepath.Join(point, group, name)
			if _, err := os.Stat(path); err == nil {
				return os.WriteFile(path, []byte(strconv.FormatInt(int64(limit)<<20, 10)), 0)
			}
		}
	}
	return fmt.Errorf("limit memory: this machine has no memory controller for %s", group)
}

// removeCgroup removes a control group with all below it. No process may be in it.
func removeCgroup(group string) error {
	points, err := cgroupMounts()
	if err != nil {
		return err
	}
	for _, point := range points {
		var dirs []string
		filepath.WalkDir(filepath.Join(point, group), func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for i := len(dirs) - 1; i >= 0; i-- {
			// A group stays busy for an instant after its last process ended.
			deadline := time.Now().Add(5 * time.Second)
			for {
				err := unix.Rmdir(dirs[i])
				if err == nil || err == unix.ENOENT {
					break
				}
				if err != unix.EBUSY || time.Now().After(deadline) {
					return fmt.Errorf("remove control group %s: %w", dirs[i], err)
				}
				pause(10 * time.Millisecond)
			}
		}
	}
	return nil
}

// pause lets an instant pass between two looks at the same condition.
func pause(d time.Duration) { <-time.After(d) }

// inCgroup matches the processes of a control group and of those below it.
func inCgroup(group string) func(pid int) bool {
	return func(pid int) bool {
		data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(data)) {
			_, path, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), ":"), ":/")
			if path == group || strings.HasPrefix(path, group+"/") {
				return true
			}
		}
		return false
	}
}

// inNetns matches the processes of a named network namespace: those of which
// any thread is in it.
func inNetns(name string) func(pid int) bool {
	var ns unix.Stat_t
	if unix.Stat(filepath.Join(netnsDir, name), &ns) != nil {
		return func(int) bool { return false }
	}
	return func(pid int) bool {
		tasks, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task/*/ns/net"))
		if err != nil {
			return false
		}
		for _, task := range tasks {
			var st unix.Stat_t
			if unix.Stat(task, &st) == nil && st.Ino == ns.Ino && st.Dev == ns.Dev {
				return true
			}
		}
		return false
	}
}

func anyOf(matches ...func(int) bool) func(int) bool {
	return func(pid int) bool {
		for _, m := range matches {
			if m(pid) {
				return true
			}
		}
		return false
	}
}

// killDeadline is how long the kernel may take to end killed processes.
const killDeadline = 20 * time.Second

// killAll kills every process that matches, until there is none left. This
// process and those that it was started by are spared.
func killAll(match func(pid int) bool) error {
	spared := ancestors()
	deadline := time.Now().Add(killDeadline)
	for {
		ours := func(pid int) bool { return !spared[pid] && !zombie(pid) && match(pid) }
		pids := findProcesses(ours)
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not die", pids)
		}
		for _, pid := range pids {
			killIf(pid, ours)
		}
		pause(5 * time.Millisecond)
	}
}

// killIf kills a process that matches. It holds on to the process while it
// looks, since the number may be another one's a moment later.
func killIf(pid int, match func(pid int) bool) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it has ended
	}
	defer unix.Close(fd)
	if match(pid) {
		unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

func ancestors() map[int]bool {
	found := map[int]bool{}
	for pid := os.Getpid(); pid > 0 && !found[pid]; {
		found[pid] = true
		_, pid = processStat(pid)
	}
	return found
}

func zombie(pid int) bool {
	state, _ := processStat(pid)
	return state == "Z" || state == "X"
}

// processStat is the state and the parent of a process.
func processStat(pid int) (state string, parent int) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "X", 0
	}
	// The command in parentheses may hold anything, spaces too.
	f := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
	if len(f) < 2 {
		return "X", 0
	}
	parent, _ = strconv.Atoi(f[1])
	return f[0], parent
}
