package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a host would make up refuse is said by a preview too, which goes on.
func TestHostsOfANewStackAreAskedFirst(t *testing.T) {
	t.Setenv("PULUMI_BACKEND_URL", "file://"+t.TempDir())
	found := errors.New("preflight: a disk is not blank")
	for verb, want := range map[string]struct{ unfit, err error }{
		"up": {nil, found}, "preview": {exitCode(1), nil}, "destroy": {nil, nil}, "outputs": {nil, nil},
	} {
		asked := false
		unfit, err := lookFirst(t.Context(), verb, "lab", func(context.Context, string) error { asked = true; return found })
		assert.Equal(t, want.unfit, unfit, verb)
		assert.Equal(t, want.err, err, verb)
		assert.Equal(t, verb == "up" || verb == "preview", asked, verb)

		unfit, err = lookFirst(t.Context(), verb, "lab", func(context.Context, string) error { return nil })
		assert.NoError(t, unfit, verb)
		assert.NoError(t, err, verb)
	}
}

// A preview leaves a stack without resources behind, and so does a first run that
// is killed; only in the former case nothing may be at work on the hosts.
func TestAStackIsEmptyUntilSomethingIsMade(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PULUMI_BACKEND_URL", "file://"+dir)
	file := filepath.Join(dir, ".pulumi", "stacks", "halinux", "lab.json")
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	assert.True(t, isNew("lab"))
	assert.True(t, isEmpty("lab"))
	for text, want := range map[string]bool{
		`{"version":3,"checkpoint":{"stack":"organization/halinux/lab","latest":{"manifest":{},"metadata":{}}}}`:    true,
		`{"version":3,"checkpoint":{"stack":"organization/halinux/lab","latest":null}}`:                             true,
		`{"version":3,"checkpoint":{"latest":{"resources":[{"urn":"urn:pulumi:lab::x::pulumi:pulumi:Stack::y"}]}}}`: false,
		`not to be read`: false,
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		assert.Equal(t, want, isEmpty("lab"), text)
		assert.False(t, isNew("lab"))
		assert.True(t, isNew("storage"))
	}
	t.Setenv("PULUMI_BACKEND_URL", "s3://state")
	assert.False(t, isNew("storage"))
	assert.False(t, isEmpty("storage"))
}
