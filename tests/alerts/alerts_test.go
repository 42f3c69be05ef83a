// Package alerts has Prometheus' own tool read the rules that components have for
// it, and try those that say what they are raised by.
package alerts

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRules(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("SKIP: promtool (Debian's package prometheus) is not on PATH")
	}
	for pattern, verb := range map[string]string{"alerts.yaml": "check", "alerts_test.yaml": "test"} {
		files, err := filepath.Glob("../../components/*/" + pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			out, err := exec.Command(promtool, verb, "rules", file).CombinedOutput()
			require.NoError(t, err, "%s: %s", file, out)
		}
	}
}
