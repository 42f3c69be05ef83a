package preview_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRunbook follows docs/operations.md where it changes the state by hand.
func TestRunbook(t *testing.T) {
	s := newSite(t)
	s.up()
	forget := func(component, resource string) {
		s.run(fmt.Sprintf(`pulumi state delete -s lab --yes --target-dependents "$(pulumi stack -s lab --show-urns | sed -n 's/.*\(urn:.*%s::%s\)$/\1/p')"`, component, resource))
	}
	authority := func() string {
		stack := s.stack("lab")
		outputs, err := stack.Outputs(t.Context())
		require.NoError(t, err)
		return outputs["caCertificate"].Value.(string)
	}

	// A new private authority.
	before := authority()
	forget("Stash", "edge-ca")
	s.up()
	assert.NotEqual(t, before, authority())
	assert.Empty(t, s.changes())

	// A host that is gone for good.
	require.NoError(t, s.hosts["backend2"].Close())
	kept := authority()
	known, after := s.run("pulumi stack -s lab --show-urns"), ""
	forget("Command", "base-backend2-library")
	after = s.run("pulumi stack -s lab --show-urns")
	for line := range strings.Lines(known) {
		// What stands before the URN draws a tree, whose shape changes.
		if _, urn, ok := strings.Cut(line, "URN: "); ok && !strings.Contains(after, urn) {
			assert.Contains(t, urn, "-backend2-", "nothing but the host's own phases is forgotten")
		}
	}
	s.configure(func(config map[string]any) {
		without := func(list any, key string) []any {
			var rest []any
			for _, v := range list.([]any) {
				if v.(map[string]any)[key] != "backend2" {
					rest = append(rest, v)
				}
			}
			return rest
		}
		config["halinux:hosts"] = without(config["halinux:hosts"], "name")
		edge := config["halinux:edge"].(map[string]any)
		for _, kind := range []string{"sites", "services"} {
			for _, v := range edge[kind].([]any) {
				v.(map[string]any)["backends"] = without(v.(map[string]any)["backends"], "host")
			}
		}
	})
	s.up()
	assert.Equal(t, kept, authority(), "what is made once stays")
	assert.Empty(t, s.changes())
	assert.False(t, strings.Contains(s.run("pulumi stack -s lab"), "backend2"))
}
