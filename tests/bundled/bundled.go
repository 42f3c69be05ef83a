// Package bundled finds the programs of Kubernetes for tests that run them: those
// of PATH, else those that `make bundle` keeps.
package bundled

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Program is the path of one. A test is skipped where it is nowhere.
func Program(t testing.TB, name, version string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(home, ".cache", "halinux", "programs", name+"-"+version)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("SKIP: no %s on PATH, and none that `make bundle` has built (%v)", name, err)
	}
	return path
}
