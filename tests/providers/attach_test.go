package providers_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi-command/sdk/go/command/remote"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/providers"
)

// A stand-in is used only where the engine would not find the published plugin.
func TestAttachPrefersPublishedPlugin(t *testing.T) {
	for _, c := range []struct {
		name     string
		installs string // a file below HOME; PATH holds HOME/bin
		standIn  bool
	}{
		{name: "nothing is installed", standIn: true},
		{name: "on PATH", installs: "bin/pulumi-resource-command"},
		{name: "the very version", installs: ".pulumi/plugins/resource-command-v1.2.1/pulumi-resource-command"},
		// The engine wants the SDK's own version, and passes a newer one by.
		{name: "a newer one", installs: ".pulumi/plugins/resource-command-v1.3.0/pulumi-resource-command", standIn: true},
		{name: "an older one", installs: ".pulumi/plugins/resource-command-v1.2.0/pulumi-resource-command", standIn: true},
		{name: "another plugin", installs: ".pulumi/plugins/resource-random-v4.0.0/pulumi-resource-random", standIn: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("PULUMI_HOME", filepath.Join(home, ".pulumi"))
			t.Setenv("PATH", filepath.Join(home, "bin"))
			if c.installs != "" {
				path := filepath.Join(home, c.installs)
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
				require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755))
			}
			attached, err := providers.Attach(t.Context())
			require.NoError(t, err)
			defer func() { require.NoError(t, attached.Close()) }()
			if !c.standIn {
				assert.NotContains(t, attached.Env["PULUMI_DEBUG_PROVIDERS"], "command:")
				assert.NotContains(t, attached.StandIns, "command")
				assert.Nil(t, attached.Command())
				return
			}
			assert.Equal(t, []string{"command", "kubernetes"}, attached.StandIns)
			assert.Contains(t, strings.Split(attached.Env["PULUMI_DEBUG_PROVIDERS"], ","), fmt.Sprintf("command:%d", attached.Command().Port()))
		})
	}
}

// One stand-in serves several engines at once; each has its own log, and the
// end of one leaves the other's connections alone.
func TestAttachServesSeveralEngines(t *testing.T) {
	t.Parallel()
	attached, err := providers.Attach(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, attached.Close()) }()
	host, dir := startSSHD(t), t.TempDir()
	slow, quick := newAttachedStack(t, attached), newAttachedStack(t, attached)

	var wg sync.WaitGroup
	var first result
	wg.Go(func() {
		// Ends once the other engine has come and gone.
		first = slow.try(slow.ctx, command(remote.CommandArgs{
			Connection: host.connect(),
			Create:     pulumi.String("echo slow; touch " + dir + "/started\n" + waitFor(dir+"/ended")),
		}))
	})
	exists := func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	assert.True(t, poll(deadline, func() bool { return exists("started") }))
	second := quick.up(command(remote.CommandArgs{Connection: host.connect(), Create: pulumi.String("echo quick")}))
	assert.True(t, poll(deadline, func() bool { return host.present() == 1 }))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ended"), nil, 0o600))
	wg.Wait()
	require.NoError(t, first.err)
	assert.Contains(t, first.messages(), "slow")
	assert.NotContains(t, first.messages(), "quick")
	assert.Contains(t, second.messages(), "quick")
	assert.NotContains(t, second.messages(), "slow")
}
