package haedge

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLeaf(t *testing.T) {
	now := example().Now
	ca, err := newCA("test", now)
	require.NoError(t, err)
	names := []string{"www.example.org", "example.org"}
	certificate, key, err := leaf(ca, "www", names, 0, now)
	require.NoError(t, err)
	_, err = tls.X509KeyPair([]byte(certificate), []byte(key))
	require.NoError(t, err)

	root, err := caCertificate(ca)
	require.NoError(t, err)
	assert.NotContains(t, root, "PRIVATE")
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(root)))
	parsed, err := parseCertificates(certificate)
	require.NoError(t, err)
	for _, name := range names {
		_, err = parsed[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now})
		require.NoError(t, err)
	}
	assert.GreaterOrEqual(t, parsed[0].NotAfter.Sub(now), 2*leafPeriod, "a run leaves at least two thirds of the life")

	again := func(generation int, at time.Time) (string, string) {
		c, k, err := leaf(ca, "www", names, generation, at)
		require.NoError(t, err)
		return c, k
	}
	sameCertificate, sameKey := again(0, now.Truncate(leafPeriod).Add(leafPeriod-time.Second))
	assert.Equal(t, certificate, sameCertificate, "within a period nothing changes")
	assert.Equal(t, key, sameKey)
	for _, other := range []struct {
		generation int
		at         time.Time
	}{{1, now}, {0, now.Add(leafPeriod)}} {
		c, k := again(other.generation, other.at)
		assert.NotEqual(t, certificate, c)
		assert.NotEqual(t, key, k)
		of, err := parseCertificates(c)
		require.NoError(t, err)
		assert.NotEqual(t, parsed[0].SerialNumber, of[0].SerialNumber)
	}
	_, _, err = leaf(ca, "www", names, 0, now.AddDate(10, 0, 0))
	require.ErrorContains(t, err, "the private authority ends on")
	_, _, err = leaf("nothing", "www", names, 0, now)
	require.Error(t, err)
}

func TestAuthorityIsRandom(t *testing.T) {
	a, err := newCA("test", example().Now)
	require.NoError(t, err)
	b, err := newCA("test", example().Now)
	require.NoError(t, err)
	assert.NotEqual(t, a, b)
}
