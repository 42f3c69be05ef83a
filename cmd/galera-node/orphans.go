package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// endOrphans ends what a server that died has left behind: the script of a state
// transfer goes on, and holds the port that the next one needs. In a pod those are
// the processes whose parent is the first one, but for this program; elsewhere
// nobody's processes are touched.
func endOrphans() {
	if os.Getppid() != 1 {
		return
	}
	// Who loses his parent by this is an orphan in turn.
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		left := orphans("/proc", os.Getpid())
		if len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		timer := time.NewTimer(20 * time.Millisecond)
		<-timer.C
	}
}

// orphans are the processes of which the first one is the parent, without those
// that have ended.
func orphans(proc string, self int) []int {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil
	}
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == self {
			continue
		}
		text, err := os.ReadFile(filepath.Join(proc, e.Name(), "stat"))
		if err != nil {
			continue
		}
		// pid (name, with any characters) state parent ...
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) > 1 && string(fields[1]) == "1" && string(fields[0]) != "Z" {
			found = append(found, pid)
		}
	}
	return found
}
