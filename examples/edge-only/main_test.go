package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/providers"
)

// TestPreview previews the stack with the real engine. A preview needs no host.
func TestPreview(t *testing.T) {
	if _, err := exec.LookPath("pulumi"); err != nil {
		t.Skip("SKIP: no pulumi on PATH; make test-fast builds it")
	}
	attached, err := providers.Attach(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, attached.Close()) })
	dir := t.TempDir()
	env := map[string]string{
		"PULUMI_BACKEND_URL": "file://" + dir, "PULUMI_CONFIG_PASSPHRASE": "test",
		"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_HOME": dir + "/home",
	}
	for k, v := range attached.Env {
		env[k] = v
	}
	require.NoError(t, exec.CommandContext(t.Context(), "cp", "Pulumi.yaml", "Pulumi.dev.yaml", dir).Run())
	s, err := auto.UpsertStackInlineSource(t.Context(), "dev", "edge-only", program, auto.WorkDir(dir), auto.EnvVars(env))
	require.NoError(t, err)

	ch := make(chan events.EngineEvent, 100)
	created := make(chan []string)
	go func() {
		var names []string
		for e := range ch {
			if e.ResourcePreEvent != nil {
				names = append(names, e.ResourcePreEvent.Metadata.URN)
			}
		}
		created <- names
	}()
	_, err = s.Preview(t.Context(), optpreview.EventStreams(ch))
	require.NoError(t, err)
	names := <-created
	for _, want := range []string{"edge", "edge-lb1-haproxy", "edge-lb1-keepalived", "edge-lb2-haproxy", "edge-lb2-keepalived"} {
		require.True(t, slices.ContainsFunc(names, func(urn string) bool { return strings.HasSuffix(urn, "::"+want) }),
			"%s is not in %v", want, names)
	}
}
