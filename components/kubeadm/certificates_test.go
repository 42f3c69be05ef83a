package kubeadm

import (
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testCA is the certificate of an authority that signs nothing.
//
//go:embed testdata/ca.pem
var testCA string

func TestAuthorities(t *testing.T) {
	now := time.Now()
	all, err := newAuthorities(now)
	require.NoError(t, err)
	part := func(name string) string {
		t.Helper()
		text, err := authorityPart(all, name)
		require.NoError(t, err)
		return text
	}
	for _, pair := range [][2]string{{caCert, caKey}, {etcdCert, etcdKey}, {frontProxyCert, frontProxyKey}} {
		loaded, err := tls.X509KeyPair([]byte(part(pair[0])), []byte(part(pair[1])))
		require.NoError(t, err, pair[0])
		assert.True(t, loaded.Leaf.IsCA, pair[0])
		assert.True(t, loaded.Leaf.NotBefore.Before(now), "clocks of hosts may be behind")
	}
	admin, err := tls.X509KeyPair([]byte(part(adminCert)), []byte(part(adminKey)))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(part(caCert))))
	_, err = admin.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	require.NoError(t, err)
	assert.Equal(t, []string{"kubeadm:cluster-admins"}, admin.Leaf.Subject.Organization)

	assert.Regexp(t, regexp.MustCompile(`^[a-z0-9]{6}\.[a-z0-9]{16}$`), part(bootstrapToken), "kubeadm's form of a token")
	assert.Regexp(t, regexp.MustCompile(`^sha256:[0-9a-f]{64}$`), part(caHash))
	block, _ := pem.Decode([]byte(part(serviceAccountPub)))
	_, err = x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)

	_, err = authorityPart(all, "other")
	require.ErrorContains(t, err, "restore the state")
	_, err = authorityPart("not JSON", caCert)
	require.ErrorContains(t, err, "restore the state")
}
