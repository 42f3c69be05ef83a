// Package planned shows a test what a component's phases put on hosts, and which
// of them a change of its arguments changes. It knows nothing of components.
package planned

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/halinux/halinux/components/host"
)

// Text is what a phase puts on its host, without its scripts, for a golden file.
func Text(p host.Phase) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p.Vars)) {
		fmt.Fprintf(&b, "%s=%q\n", name, p.Vars[name])
	}
	for _, f := range p.Files {
		if f.Mode&0o111 != 0 {
			fmt.Fprintf(&b, "--- %s %04o\n", f.Path, f.Mode) // a program: read it where it is
			continue
		}
		fmt.Fprintf(&b, "--- %s %04o %s\n%s", f.Path, f.Mode, f.Owner, f.Content)
	}
	return b.String()
}

// Changed are the names of the phases that differ, sorted; one that has gone is
// "- <name>".
func Changed(before, after map[string]host.Phase) []string {
	content := func(p host.Phase) string { return fmt.Sprint(p.Vars, p.Files, p.Timeout) }
	var names []string
	for name, p := range after {
		if old, ok := before[name]; !ok || content(old) != content(p) {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			names = append(names, "- "+name)
		}
	}
	slices.Sort(names)
	return names
}
