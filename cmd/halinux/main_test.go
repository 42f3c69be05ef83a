package main

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What a host would make up refuse is said by a preview too, which goes on.
func TestHostsOfANewStackAreAskedFirst(t *testing.T) {
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
