// Package graph shows a test what a program registers, without an engine: the
// resources by name, with inputs, parents and dependencies as the engine would
// get them. It knows nothing of what the resources are.
package graph

import (
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
)

// recorder answers a program as the engine would, and notes what it registers.
type recorder struct {
	mu        sync.Mutex
	resources map[string]pulumi.MockResourceArgs
}

func (r *recorder) NewResource(args pulumi.MockResourceArgs) (string, resource.PropertyMap, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resources[args.Name] = args
	outputs := args.Inputs.Copy()
	if args.TypeToken == "pulumi:index:Stash" {
		outputs["output"] = args.Inputs["input"]
	}
	return args.Name + "-id", outputs, nil
}

func (r *recorder) Call(pulumi.MockCallArgs) (resource.PropertyMap, error) { return nil, nil }

// Of runs a program and returns what it registered, by name. A program that
// fails fails the test.
func Of(t testing.TB, program pulumi.RunFunc) map[string]pulumi.MockResourceArgs {
	t.Helper()
	r := &recorder{resources: map[string]pulumi.MockResourceArgs{}}
	require.NoError(t, pulumi.RunErr(program, pulumi.WithMocks("project", "stack", r)))
	return r.resources
}
