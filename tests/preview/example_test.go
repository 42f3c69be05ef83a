package preview_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExample runs the test of the example of how to use one component from
// another stack. It is a module of its own, as its reader's would be, and can
// only build while what it imports is exported.
func TestExample(t *testing.T) {
	dir := filepath.Join(here, "../../examples/edge-only")
	for _, arguments := range [][]string{{"vet", "./..."}, {"test", "-v", "./..."}} {
		c := exec.CommandContext(t.Context(), "go", arguments...)
		c.Dir = dir
		out, err := c.CombinedOutput()
		t.Logf("%s", out)
		require.NoError(t, err)
	}
}
