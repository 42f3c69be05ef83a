package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cost is what a command took on the controller, with all of its children.
type cost struct {
	Wall    time.Duration
	CPU     time.Duration // user and system
	Memory  int64         // bytes: the most that all processes had resident at once
	Written int64         // bytes written to files
}

// measure runs a command to its end. Children that outlive it, as the masters
// of ssh's ControlPersist do, are ended and counted too. A command that fails
// is an error, with the end of what it printed; what a command prints is returned
// in any case.
func measure(cmd *exec.Cmd) (cost, string, error) {
	// Orphans come to this process, which can then ask what they cost.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return cost{}, "", err
	}
	// A file and not a pipe: children that live on would hold a pipe open.
	out, err := os.CreateTemp("", "bench-output-")
	if err != nil {
		return cost{}, "", err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	before, err := children()
	if err != nil {
		return cost{}, "", err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return cost{}, "", err
	}
	most := make(chan int64)
	ended := make(chan struct{})
	go func() { most <- watchMemory(cmd.Process.Pid, ended) }()
	err = cmd.Wait()
	c := cost{Wall: time.Since(start)}
	close(ended)
	c.Memory = <-most
	c.add(cmd.ProcessState.SysUsage().(*syscall.Rusage))
	orphans, e := reap(before)
	if e != nil {
		return c, "", e
	}
	for i := range orphans {
		c.add(&orphans[i])
	}
	text, e := os.ReadFile(out.Name())
	if e != nil {
		return c, "", e
	}
	if err != nil {
		lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
		err = fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, strings.Join(lines[max(0, len(lines)-40):], "\n"))
	}
	return c, string(text), err
}

func (c *cost) add(u *syscall.Rusage) {
	c.CPU += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	c.Written += u.Oublock * 512
}

// watchMemory looks at the command and all below it until it has ended.
func watchMemory(pid int, ended <-chan struct{}) int64 {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var most int64
	for {
		most = max(most, resident(pid))
		select {
		case <-ended:
			return most
		case <-tick.C:
		}
	}
}

// resident is the memory of a process and all below it, in bytes.
func resident(root int) int64 {
	below := map[int][]int{}
	for pid, parent := range processes() {
		below[parent] = append(below[parent], pid)
	}
	var sum int64
	for todo := []int{root}; len(todo) > 0; todo = todo[1:] {
		todo = append(todo, below[todo[0]]...)
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", todo[0]))
		if err != nil {
			continue // it has just ended
		}
		if words := strings.Fields(string(b)); len(words) > 1 {
			pages, _ := strconv.ParseInt(words[1], 10, 64)
			sum += pages * int64(os.Getpagesize())
		}
	}
	return sum
}

// processes maps each process to its parent.
func processes() map[int]int {
	parents := map[int]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue // it has just ended
		}
		// The name, in parentheses, may hold anything.
		words := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
		if err != nil || len(words) < 2 {
			continue
		}
		parents[pid], _ = strconv.Atoi(words[1])
	}
	return parents
}

// children are the processes right below this one.
func children() (map[int]bool, error) {
	found := map[int]bool{}
	for pid, parent := range processes() {
		if parent == os.Getpid() {
			found[pid] = true
		}
	}
	return found, nil
}

// reap ends the orphans that have come to this process since before was
// taken, and returns what they cost.
func reap(before map[int]bool) ([]syscall.Rusage, error) {
	var costs []syscall.Rusage
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := children()
		if err != nil {
			return nil, err
		}
		left := false
		for pid := range now {
			if before[pid] {
				continue
			}
			var u syscall.Rusage
			got, err := syscall.Wait4(pid, nil, syscall.WNOHANG, &u)
			switch {
			case err != nil:
				return nil, fmt.Errorf("process %d: %w", pid, err)
			case got == pid:
				costs = append(costs, u)
			default:
				left = true
				signal := syscall.SIGTERM
				if time.Now().After(deadline) {
					signal = syscall.SIGKILL
				}
				_ = syscall.Kill(pid, signal)
			}
		}
		if !left {
			return costs, nil
		}
		<-tick.C
	}
}
