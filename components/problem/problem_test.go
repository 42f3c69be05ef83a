package problem

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReport(t *testing.T) {
	var l, part List
	require.NoError(t, l.Err())
	part.Add("[0].port", "70000 is not a port", "use 1 to 65535")
	l.Include("vips", part)
	require.EqualError(t, l.Err(), "1 problem in the configuration, nothing was touched:\n  vips[0].port: 70000 is not a port; use 1 to 65535")
	l.Include("edge", l)
	require.EqualError(t, l.Err(), "2 problems in the configuration, nothing was touched:\n  vips[0].port: 70000 is not a port; use 1 to 65535\n  edge.vips[0].port: 70000 is not a port; use 1 to 65535")
}

// Every problem says what to do about it.
func TestEveryProblemHasARemedy(t *testing.T) {
	bare := regexp.MustCompile(`\.Add\(.*, ""\)\n`)
	for _, pattern := range []string{"../*/*.go", "../../stacks/*.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			b, err := os.ReadFile(f)
			require.NoError(t, err)
			for _, line := range bare.FindAllString(string(b), -1) {
				assert.Fail(t, "a problem without a remedy", "%s: %s", f, line)
			}
		}
	}
}
