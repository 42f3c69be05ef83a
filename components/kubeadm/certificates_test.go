package kubeadm

import (
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/base64"
	"encoding/pem"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
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

	block, _ := pem.Decode([]byte(part(serviceAccountPub)))
	_, err = x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)

	_, err = authorityPart(all, "other")
	require.ErrorContains(t, err, "restore the state")
	_, err = authorityPart("not JSON", caCert)
	require.ErrorContains(t, err, "restore the state")
}

func TestJoinKubeconfig(t *testing.T) {
	all, err := newAuthorities(time.Now())
	require.NoError(t, err)
	of := func(node string) string {
		t.Helper()
		text, err := joinKubeconfig("site", "https://10.10.0.101:6443", node, all)
		require.NoError(t, err)
		return text
	}
	assert.Equal(t, of("worker1"), of("worker1"), "every run would be a change else")
	assert.NotEqual(t, of("worker1"), of("worker2"))
	var k struct {
		Users []struct {
			User struct {
				Data string `yaml:"client-certificate-data"`
				Key  string `yaml:"client-key-data"`
			}
		}
	}
	require.NoError(t, yaml.Unmarshal([]byte(of("worker1")), &k))
	decode := func(text string) []byte {
		t.Helper()
		data, err := base64.StdEncoding.DecodeString(text)
		require.NoError(t, err)
		return data
	}
	pair, err := tls.X509KeyPair(decode(k.Users[0].User.Data), decode(k.Users[0].User.Key))
	require.NoError(t, err)
	ca, err := authorityPart(all, caCert)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(ca)))
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	require.NoError(t, err)
	assert.Equal(t, "system:node:worker1", pair.Leaf.Subject.CommonName, "it is the node of its name, and can be no other")
	assert.Equal(t, []string{"system:nodes"}, pair.Leaf.Subject.Organization)
	key, err := authorityPart(all, caKey)
	require.NoError(t, err)
	assert.NotContains(t, of("worker1"), base64.StdEncoding.EncodeToString([]byte(key)))
}
