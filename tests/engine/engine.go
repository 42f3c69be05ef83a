// Package engine has Pulumi's engine run what a test registers, as a stack of its own
// with the stand-ins in the place of the plugins. It knows nothing of what the
// resources are; package graph shows them without an engine.
package engine

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/providers"
)

// Stack is a stack of a test.
type Stack struct {
	t     testing.TB
	ctx   context.Context
	stack auto.Stack
}

// New returns a stack whose program runs at each [Stack.Up]. The test is skipped
// where there is no Pulumi CLI.
func New(t testing.TB, program pulumi.RunFunc) *Stack {
	t.Helper()
	if _, err := exec.LookPath("pulumi"); err != nil {
		t.Skipf("SKIP: no Pulumi CLI on PATH (%v)", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	attached, err := providers.Attach(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, attached.Close()) })
	cli, err := auto.NewPulumiCommand(&auto.PulumiCommandOptions{SkipVersionCheck: true})
	require.NoError(t, err)
	env := map[string]string{
		"PULUMI_BACKEND_URL": "file://" + t.TempDir(), "PULUMI_CONFIG_PASSPHRASE": "for the test only",
		"PULUMI_SKIP_UPDATE_CHECK": "true", "PULUMI_AUTOMATION_API_SKIP_VERSION_CHECK": "true",
	}
	for k, v := range attached.Env {
		env[k] = v
	}
	stack, err := auto.NewStackInlineSource(ctx, "test", "test", program,
		auto.Pulumi(providers.Frugal{PulumiCommand: cli}), auto.EnvVars(env), auto.WorkDir(t.TempDir()),
		auto.Project(workspace.Project{Name: tokens.PackageName("test"), Runtime: workspace.NewProjectRuntimeInfo("go", nil)}))
	require.NoError(t, err)
	return &Stack{t: t, ctx: ctx, stack: stack}
}

// Up brings the stack up, and returns the resources that it did something to, each
// with what it did last.
func (s *Stack) Up() map[string]string {
	s.t.Helper()
	stream, done := make(chan events.EngineEvent), make(chan map[string]string)
	go func() {
		changed := map[string]string{}
		for e := range stream {
			if p := e.ResourcePreEvent; p != nil && p.Metadata.Op != "same" {
				changed[p.Metadata.URN[strings.LastIndex(p.Metadata.URN, "::")+2:]] = string(p.Metadata.Op)
			}
		}
		done <- changed
	}()
	_, err := s.stack.Up(s.ctx, optup.EventStreams(stream), optup.SuppressOutputs())
	require.NoError(s.t, err)
	return <-done
}

// Destroy takes away all that is in the stack.
func (s *Stack) Destroy() {
	s.t.Helper()
	_, err := s.stack.Destroy(s.ctx, optdestroy.SuppressProgress())
	require.NoError(s.t, err)
}
