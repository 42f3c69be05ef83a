package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// clearAll finds everything of the instance by its name, and removes it. It
// needs no record of what was started.
func (l *Lab) clearAll() error {
	prefix := l.namespace("")
	entries, err := os.ReadDir(netnsDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("list namespaces: %w", err)
	}
	matches := []func(int) bool{inCgroup(filepath.Join(cgroupTop, l.name))}
	var namespaces []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			namespaces = append(namespaces, e.Name())
			matches = append(matches, inNetns(e.Name()))
		}
	}
	if err := killAll(anyOf(matches...)); err != nil {
		return fmt.Errorf("lab %s: %w", l.name, err)
	}
	errs := []error{unmountBelow(l.dir), removeGlob(filepath.Join(os.TempDir(), agentPrefix(l.name)+"*"))}
	for _, name := range namespaces {
		errs = append(errs, deleteNamespace(name), clearNspawn(name))
	}
	return errors.Join(append(errs, removeCgroup(filepath.Join(cgroupTop, l.name)))...)
}
