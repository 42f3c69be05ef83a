// Package graph shows a test what a program registers, without an engine: the
// resources by name, with inputs, parents and dependencies as the engine would
// get them. It knows nothing of what the resources are.
package graph

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
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

// Text is what a program has registered as a person reads it, but for the component
// itself, whose type is given.
func Text(t testing.TB, resources map[string]pulumi.MockResourceArgs, component string) string {
	t.Helper()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(resources)) {
		r := resources[name]
		if r.TypeToken == component {
			continue
		}
		out, err := yaml.Marshal(Plain(resource.NewObjectProperty(r.Inputs)))
		require.NoError(t, err)
		fmt.Fprintf(&b, "# %s %s\n%s", r.TypeToken, name, out)
	}
	return b.String()
}

// Plain is a value of a resource as JSON has it, with a word in the place of each
// secret.
func Plain(v resource.PropertyValue) any {
	if v.IsSecret() || v.IsOutput() && v.OutputValue().Secret {
		return "[secret]"
	}
	return unwrapped(v, Plain)
}

// Revealed is a value of a resource as an API server gets it, secrets and all, with
// whole numbers.
func Revealed(v resource.PropertyValue) any {
	switch {
	case v.IsSecret():
		return Revealed(v.SecretValue().Element)
	case v.IsNumber():
		return int64(v.NumberValue())
	}
	return unwrapped(v, Revealed)
}

// unwrapped is a value without what the engine puts around it; of is for what is
// inside of it.
func unwrapped(v resource.PropertyValue, of func(resource.PropertyValue) any) any {
	switch {
	case v.IsOutput():
		return of(v.OutputValue().Element)
	case v.IsObject():
		m := map[string]any{}
		for k, e := range v.ObjectValue() {
			m[string(k)] = of(e)
		}
		return m
	case v.IsArray():
		all := []any{}
		for _, e := range v.ArrayValue() {
			all = append(all, of(e))
		}
		return all
	}
	return v.V
}
