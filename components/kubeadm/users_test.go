package kubeadm

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

func TestUserCertificate(t *testing.T) {
	start := time.Now().Truncate(45 * 24 * time.Hour)
	all, err := newAuthorities(start)
	require.NoError(t, err)
	part := func(name string) string {
		text, err := authorityPart(all, name)
		require.NoError(t, err)
		return text
	}
	// Any key will do.
	key := part(adminKey)
	of := func(user string, now time.Time) string {
		t.Helper()
		cert, err := userCertificate(all, key, user, 90, now)
		require.NoError(t, err)
		return cert
	}
	first := of("anna", start)
	assert.Equal(t, first, of("anna", start.Add(44*24*time.Hour)), "the same in each run, or every run would change something")
	next := of("anna", start.Add(45*24*time.Hour))
	assert.NotEqual(t, first, next, "half of its life is over")
	assert.NotEqual(t, first, of("berta", start))

	pair, err := tls.X509KeyPair([]byte(next), []byte(key))
	require.NoError(t, err, "it is that of the key")
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM([]byte(part(caCert))))
	at := start.Add(46 * 24 * time.Hour)
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	require.NoError(t, err)
	assert.Equal(t, "anna", pair.Leaf.Subject.CommonName)
	assert.Empty(t, pair.Leaf.Subject.Organization, "rights that stand in a certificate cannot be taken back")
	for day := range 180 {
		at := start.Add(time.Duration(day) * 24 * time.Hour)
		block, _ := pem.Decode([]byte(of("anna", at)))
		cert, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, cert.NotAfter.Sub(at), 45*24*time.Hour, "who runs it now has one for half of its life")
		assert.True(t, cert.NotBefore.Before(at))
	}
	assert.LessOrEqual(t, pair.Leaf.NotAfter.Sub(pair.Leaf.NotBefore), 90*24*time.Hour+time.Hour)
	assert.False(t, pair.Leaf.IsCA)

	_, err = userCertificate(all, "no key", "anna", 90, start)
	require.ErrorContains(t, err, "damaged")
}

func TestUsersKubeconfigs(t *testing.T) {
	a := exampleOther()
	a.Restore = nil
	var wg sync.WaitGroup
	wg.Add(1)
	resources := run(t, a, func(c *KubeadmCluster) {
		secret := pulumi.IsSecret(c.UserKubeconfigs)
		assert.True(t, secret)
		pulumi.All(c.UserKubeconfigs, c.Kubeconfig).ApplyT(func(v []any) error {
			defer wg.Done()
			users := v[0].(map[string]string)
			require.Len(t, users, 2)
			var k struct {
				Users []struct {
					Name string
					User struct {
						Cert string `yaml:"client-certificate-data"`
					}
				}
				Clusters []struct{ Cluster struct{ Server string } }
			}
			require.NoError(t, yaml.Unmarshal([]byte(users["anna"]), &k))
			assert.Equal(t, "https://10.10.0.101:8443", k.Clusters[0].Cluster.Server)
			assert.Equal(t, "anna", k.Users[0].Name)
			assert.NotContains(t, v[1], k.Users[0].User.Cert, "the administrator's is another one")
			return nil
		})
	})
	wg.Wait()
	for _, u := range []string{"anna", "berta"} {
		stash, ok := resources["kubernetes-user-"+u]
		require.True(t, ok, u)
		assert.True(t, stash.Inputs["input"].ContainsSecrets(), "a private key")
		block, _ := pem.Decode([]byte(stash.Inputs["input"].SecretValue().Element.StringValue()))
		require.NotNil(t, block)
	}
	_, ok := run(t, example(), nil)["kubernetes-user-anna"]
	assert.False(t, ok)
}

func TestAccess(t *testing.T) {
	const kubectl = `
while :; do case $1 in --kubeconfig | --request-timeout) shift 2 ;; *) break ;; esac; done
case "$1 $2" in
"get clusterrole") [ "$3" = view ] ;;
"apply --server-side") echo 'clusterrolebinding.rbac.authorization.k8s.io/halinux:ops:view serverside-applied' ;;
"get clusterrolebindings,rolebindings") printf 'ClusterRoleBinding||halinux:ops:view\nRoleBinding|web|halinux:dev:edit\nClusterRoleBinding||halinux:old:admin\n' ;;
delete*) echo "$*" >>"$DIR/deleted" ;;
*) exit 8 ;;
esac
`
	try := func(roles string) (hostScript, string, error) {
		s := phaseOf(t, "access/converge.sh", map[string]string{"roles": roles, "bindings": "ClusterRoleBinding||halinux:ops:view"}, map[string]string{"kubectl": kubectl})
		out, err := s.run()
		return s, out, err
	}
	s, out, err := try("view")
	require.NoError(t, err, out)
	assert.Equal(t, "delete RoleBinding halinux:dev:edit -n web --ignore-not-found\ndelete ClusterRoleBinding halinux:old:admin --ignore-not-found\n", s.file("deleted"))
	assert.Contains(t, out, "1 bindings")
	s, out, err = try("view veiw")
	require.Error(t, err)
	assert.Contains(t, out, "no ClusterRole veiw")
	assert.Empty(t, strings.TrimSpace(s.file("deleted")))
}
