package password

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCompare(t *testing.T) {
	ctx := t.Context()
	cheap := New(Cost{Memory: 64, Time: 1})
	hash, err := cheap.Hash(ctx, "a password")
	require.NoError(t, err)
	require.Regexp(t, `^\$argon2id\$v=19\$m=64,t=1,p=1\$[\w+/]{22}\$[\w+/]{43}$`, hash)
	other, err := cheap.Hash(ctx, "a password")
	require.NoError(t, err)
	require.NotEqual(t, hash, other, "each has a salt of its own")

	for _, c := range []struct {
		hasher         *Hasher
		hash, password string
		same, outdated bool
	}{
		{cheap, hash, "a password", true, false},
		{cheap, hash, "a passwort", false, false},
		{cheap, "", "a password", false, false},
		{cheap, "", "", false, false},
		{New(Cost{Memory: 128, Time: 1}), hash, "a password", true, true},
	} {
		same, outdated, err := c.hasher.Compare(ctx, c.hash, c.password)
		require.NoError(t, err)
		require.Equal(t, c.same, same)
		require.Equal(t, c.outdated, outdated)
	}
	for _, bad := range []string{"plain", "$argon2i$v=19$m=64,t=1,p=1$AAAA$AAAA", "$argon2id$v=19$m=64,t=1,p=1$AAAA$AAAA"} {
		_, _, err := cheap.Compare(ctx, bad, "x")
		require.Error(t, err)
	}
}

// Who has gone does not wait for a turn.
func TestWaitingEnds(t *testing.T) {
	h := New(Cost{Memory: 64, Time: 1})
	for range cap(h.slots) {
		h.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.Hash(ctx, "x")
	require.ErrorIs(t, err, context.Canceled)
}
