// Package stash keeps secret values that a program makes by itself: made in the
// first run, the same in every later one, encrypted in the state. It knows
// nothing of what the values are for.
package stash

import "github.com/pulumi/pulumi/sdk/v3/go/pulumi"

// Keep gives a value made in this run to the state, or returns the one that is
// there: the engine's Stash with its input ignored keeps the first. The error is
// the engine's.
func Keep(ctx *pulumi.Context, name, value string, parent pulumi.Resource) (pulumi.StringOutput, error) {
	stash, err := pulumi.NewStash(ctx, name, &pulumi.StashArgs{Input: pulumi.ToSecret(pulumi.String(value))},
		pulumi.Parent(parent), pulumi.IgnoreChanges([]string{"input"}))
	if err != nil {
		return pulumi.StringOutput{}, err
	}
	return pulumi.ToSecret(stash.Output.AsStringOutput()).(pulumi.StringOutput), nil
}
