package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// go.work joins this module to that of the components. Where this one asked
// for a later version of what both need, the components would be built with
// another version in the workspace than outside of it.
func TestWorkspaceChangesNothingOfTheComponents(t *testing.T) {
	versions := func(path string) map[string]string {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		file, err := modfile.Parse(path, data, nil)
		require.NoError(t, err)
		out := map[string]string{}
		for _, r := range file.Require {
			out[r.Mod.Path] = r.Mod.Version
		}
		return out
	}
	components := versions("../../go.mod")
	require.NotEmpty(t, components)
	for module, version := range versions("go.mod") {
		if theirs, both := components[module]; both {
			assert.GreaterOrEqual(t, semver.Compare(theirs, version), 0, "%s is %s in ../../go.mod; use no later version here than %s", module, version, theirs)
		}
	}
}
