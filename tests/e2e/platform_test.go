package e2e

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// The scenarios change settings by path; a wrong path must not pass unseen.
func TestChanges(t *testing.T) {
	var s Settings
	require.NoError(t, yaml.Unmarshal([]byte("halinux:edge: {services: [{name: echo, port: 80}]}\n"), (*map[string]any)(&s)))
	Set(81, "halinux:edge", "services", "0", "port")(s)
	Set("fast", "halinux:edge", "vrrp", "profile")(s)
	Append("a", "halinux:base", "packages", "install")(s)
	Append("b", "halinux:base", "packages", "install")(s)
	got, err := json.Marshal(s)
	require.NoError(t, err)
	require.JSONEq(t, `{"halinux:edge":{"services":[{"name":"echo","port":81}],"vrrp":{"profile":"fast"}},"halinux:base":{"packages":{"install":["a","b"]}}}`, string(got))
	require.Panics(t, func() { Set(1, "halinux:edge", "services", "7", "port")(s) })
}

func TestChangesIn(t *testing.T) {
	require.Empty(t, changesIn("Updating (lab):\n\nResources:\n    31 unchanged\n\nDuration: 2s\n"))
	require.Equal(t, "+ 1 to create, ~ 2 to update", changesIn("Resources:\n    + 1 to create\n    ~ 2 to update\n    3 changes. 28 unchanged\n"))
	require.Equal(t, "+-1 replaced", changesIn("Resources:\n    +-1 replaced\n    4 unchanged\n"))
	require.NotEmpty(t, changesIn("nothing that the engine says at its end"))
}

func TestPlain(t *testing.T) {
	require.Equal(t, "end\n", plain("end\n"))
	require.Equal(t, "secret x\n", plain(map[string]any{"plaintext": `"secret x\n"`}))
}

func TestDrifted(t *testing.T) {
	require.Equal(t, map[finding]string{
		{"edge2", ""}:        "unknown: edge2 (10.10.0.12): i/o timeout",
		{"backend1", "time"}: "package chrony is not installed\nchrony.service is not running",
	}, drifted(`HOST      PHASE       STATE
edge1     bind        as it was left
edge2                 unknown: edge2 (10.10.0.12): i/o timeout
backend1  time        drifted: package chrony is not installed
                               chrony.service is not running
backend1  users       as it was left
                               not a difference
`))
}

func TestFind(t *testing.T) {
	outputs := map[string]any{"storageMounts": map[string]any{"home": "10.10.0.102:/srv/nfs/home"}, "storageMountOptions": []any{"hard", "nfsvers=4.2"}}
	for name, want := range map[string]string{"home": "10.10.0.102:/srv/nfs/home", "storageMountOptions": "hard,nfsvers=4.2"} {
		got, ok := find(outputs, name)
		require.True(t, ok, name)
		require.Equal(t, want, got)
	}
	_, ok := find(outputs, "none")
	require.False(t, ok)
}
