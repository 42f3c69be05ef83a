package pool_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/halinux/halinux/components/volumes/pool"
	"github.com/halinux/halinux/tests/nfspool"
	"github.com/halinux/halinux/tests/sshkey"
)

// TestPool is the life of volumes, on the host that serves.
func TestPool(t *testing.T) {
	s := nfspool.New(t, 1000)
	p := s.Pool()
	ctx := t.Context()
	at, err := p.Create(ctx, "pvc-1", 100, "0777")
	require.NoError(t, err)
	assert.Equal(t, s.Path+"/pvc-1", at)
	assert.DirExists(t, at)
	assert.Equal(t, "100", s.Quota("pvc-1"))

	_, err = p.Create(ctx, "pvc-1", 100, "0777")
	require.NoError(t, err, "again")
	_, err = p.Create(ctx, "pvc-1", 300, "0777")
	require.NoError(t, err)
	assert.Equal(t, "300", s.Quota("pvc-1"))
	at, err = p.Create(ctx, "pvc-1", 200, "0777")
	require.NoError(t, err, "a command from before the growth that was late")
	assert.Equal(t, s.Path+"/pvc-1", at)
	assert.Equal(t, "300", s.Quota("pvc-1"), "never smaller")

	_, err = p.Create(ctx, "pvc-2", 701, "0777")
	require.ErrorIs(t, err, pool.ErrNoRoom)
	assert.False(t, pool.Begun(err))
	all, err := p.List(ctx)
	require.NoError(t, err)
	assert.Equal(t, []pool.Volume{{Name: "pvc-1", Size: 300}}, all)

	require.NoError(t, p.Remove(ctx, "pvc-1"))
	assert.NoDirExists(t, s.Path+"/pvc-1")
	require.NoError(t, p.Remove(ctx, "pvc-1"), "again")

	asked := len(s.Hosts[0].Asked())
	for _, bad := range []func() error{
		func() error { _, err := p.Create(ctx, "../x", 1, "0777"); return err },
		func() error { _, err := p.Create(ctx, "a b", 1, "0777"); return err },
		func() error { _, err := p.Create(ctx, "a", 0, "0777"); return err },
		func() error { _, err := p.Create(ctx, "a", 1, "rwx"); return err },
		func() error { return p.Remove(ctx, "") },
	} {
		require.ErrorIs(t, bad(), pool.ErrRefused)
	}
	assert.Len(t, s.Hosts[0].Asked(), asked, "what cannot be is not even asked for")
	assert.Empty(t, s.Hosts[1].Asked(), "the one that serves was asked first")
}

// TestFailover is the service on the other host, and on none.
func TestFailover(t *testing.T) {
	s := nfspool.New(t, 1000)
	p := s.Pool()
	ctx := t.Context()
	s.Serve(1)
	_, err := p.Create(ctx, "pvc-1", 100, "0777")
	require.NoError(t, err)
	assert.Len(t, s.Hosts[0].Asked(), 1, "it does not serve")
	_, err = p.List(ctx)
	require.NoError(t, err)
	assert.Len(t, s.Hosts[0].Asked(), 1, "the one that did serve is asked first")

	s.ServeNowhere()
	_, err = p.Create(ctx, "pvc-2", 100, "0777")
	require.ErrorContains(t, err, "this host does not serve")
	assert.False(t, pool.Begun(err))

	s.Serve(0)
	s.Hosts[0].Deaf(func() {}) // the connection is cut after all has been done
	_, err = p.Create(ctx, "pvc-2", 100, "0777")
	require.Error(t, err)
	assert.True(t, pool.Begun(err), "it may have been made, and was")
	assert.Equal(t, "100", s.Quota("pvc-2"))

	s.KillNext()
	_, err = p.Create(ctx, "pvc-3", 100, "0777")
	require.Error(t, err)
	assert.True(t, pool.Begun(err))
	assert.Empty(t, s.Quota("pvc-3"), "killed before the quota")
	at, err := p.Create(ctx, "pvc-3", 100, "0777")
	require.NoError(t, err)
	assert.Equal(t, s.Path+"/pvc-3", at)
	assert.Equal(t, "100", s.Quota("pvc-3"))
}

// TestForeignHost is a machine behind the address of a storage host.
func TestForeignHost(t *testing.T) {
	s := nfspool.New(t, 1000)
	p := s.Pool()
	ctx := t.Context()
	s.Hosts[0].NewKey()
	_, err := p.Create(ctx, "pvc-1", 100, "0777")
	require.ErrorContains(t, err, "key mismatch")
	assert.False(t, pool.Begun(err))
	assert.Empty(t, s.Hosts[0].Asked(), "nothing is asked of a host that is not the one we know")
	s.Know() // as after a change of the known hosts, without a restart
	_, err = p.Create(ctx, "pvc-1", 100, "0777")
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(p.KnownHosts, nil, 0o600))
	_, err = p.Create(ctx, "pvc-1", 100, "0777")
	require.ErrorContains(t, err, "it could be anybody")
}

// TestDeadlines is a host that takes connections and says nothing, as one does
// whose machine hangs.
func TestDeadlines(t *testing.T) {
	s := nfspool.New(t, 1000)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	p := s.Pool()
	p.DialTimeout = 200 * time.Millisecond
	p.Hosts = []string{silent.Addr().String()}
	known, err := os.ReadFile(p.KnownHosts)
	require.NoError(t, err)
	key, err := sshkey.New()
	require.NoError(t, err)
	line := knownhosts.Line([]string{silent.Addr().String()}, key.PublicKey())
	require.NoError(t, os.WriteFile(p.KnownHosts, append(known, line+"\n"...), 0o600))
	_, err = p.List(t.Context())
	require.ErrorContains(t, err, "it does not answer")
	assert.False(t, pool.Begun(err))

	ctx, cancel := context.WithCancelCause(t.Context())
	p.DialTimeout = time.Minute
	cancel(errors.New("we end"))
	_, err = p.List(ctx)
	require.ErrorContains(t, err, "we end")

	s.Slow() // the host that serves hangs in the middle
	p = s.Pool()
	p.Timeout = time.Second
	_, err = p.Create(t.Context(), "pvc-1", 100, "0777")
	require.ErrorContains(t, err, "it took too long")
	assert.True(t, pool.Begun(err))
}

func TestParseHosts(t *testing.T) {
	all, err := pool.ParseHosts("10.0.0.1,10.0.0.2:2222")
	require.NoError(t, err)
	assert.Equal(t, []string{"10.0.0.1", "10.0.0.2:2222"}, all)
	for _, bad := range []string{"", "a,", "a:x", "a:70000"} {
		_, err := pool.ParseHosts(bad)
		require.Error(t, err, bad)
	}
}

func TestSizes(t *testing.T) {
	assert.EqualValues(t, 1, pool.MiB(1))
	assert.EqualValues(t, 1, pool.MiB(1<<20))
	assert.EqualValues(t, 2, pool.MiB(1<<20+1))
	assert.EqualValues(t, 1<<30, pool.Bytes(1024))
}
