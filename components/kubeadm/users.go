package kubeadm

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/problem"
	"github.com/halinux/halinux/components/stash"
)

// administrator is the name in the certificate of the cluster's own kubeconfig.
const administrator = "halinux"

// clusterRole is a name that RBAC takes.
var clusterRole = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9:._-]{0,251}[A-Za-z0-9])?$`)

func (u User) days() int { return cmp.Or(u.Days, 90) }

func (a *KubeadmClusterArgs) validateUsers() problem.List {
	var l problem.List
	for _, name := range sortedKeys(a.Groups) {
		at, g := "groups."+name, a.Groups[name]
		if !host.DNSLabel.MatchString(name) {
			l.Add(at, fmt.Sprintf("%q is not a name for a group", name), "use lower-case letters, digits and hyphens, at most 63")
		}
		if !clusterRole.MatchString(g.Role) {
			l.Add(at+".role", fmt.Sprintf("%q is not the name of a ClusterRole", g.Role), "use view, edit, admin, cluster-admin, or one of your own")
		}
		for i, n := range g.Namespaces {
			switch {
			case !host.DNSLabel.MatchString(n):
				l.Add(fmt.Sprintf("%s.namespaces[%d]", at, i), fmt.Sprintf("%q is not a namespace", n), "use lower-case letters, digits and hyphens, at most 63")
			case slices.Contains(g.Namespaces[:i], n):
				l.Add(fmt.Sprintf("%s.namespaces[%d]", at, i), n+" stands there twice", "name it once")
			}
		}
	}
	for _, name := range sortedKeys(a.Users) {
		at, u := "users."+name, a.Users[name]
		if !host.DNSLabel.MatchString(name) {
			l.Add(at, fmt.Sprintf("%q is not a name for a user", name), "use lower-case letters, digits and hyphens, at most 63")
		} else if name == administrator {
			l.Add(at, "is the name of the cluster's administrator", "choose another")
		}
		if d := u.days(); d < 2 || d > 3650 {
			l.Add(at+".days", fmt.Sprintf("%d days", d), "use 2 to 3650, or leave it out for 90")
		}
		for i, g := range u.Groups {
			if _, ok := a.Groups[g]; !ok {
				l.Add(fmt.Sprintf("%s.groups[%d]", at, i), fmt.Sprintf("there is no group %q", g), "use one of groups: "+strings.Join(sortedKeys(a.Groups), ", "))
			} else if slices.Contains(u.Groups[:i], g) {
				l.Add(fmt.Sprintf("%s.groups[%d]", at, i), g+" stands there twice", "name it once")
			}
		}
	}
	return l
}

// binding gives the members of a group a role, in one namespace or in all.
type binding struct {
	Kind, Namespace, Name, Role string
	Users                       []string
}

// bindings of all groups. The role is part of the name, since the API server lets
// nobody change it.
func (a *KubeadmClusterArgs) bindings() []binding {
	var all []binding
	for _, name := range sortedKeys(a.Groups) {
		g := a.Groups[name]
		b := binding{Kind: "ClusterRoleBinding", Name: "halinux:" + name + ":" + g.Role, Role: g.Role}
		for _, u := range sortedKeys(a.Users) {
			if slices.Contains(a.Users[u].Groups, name) {
				b.Users = append(b.Users, u)
			}
		}
		if len(g.Namespaces) == 0 {
			all = append(all, b)
		}
		for _, n := range slices.Sorted(slices.Values(g.Namespaces)) {
			b.Kind, b.Namespace = "RoleBinding", n
			all = append(all, b)
		}
	}
	return all
}

// accessPhase tells the cluster what groups may do, where there are any.
func (a *KubeadmClusterArgs) accessPhase() ([]host.Phase, error) {
	bindings := a.bindings()
	if len(bindings) == 0 {
		return nil, nil
	}
	var roles, namespaces, names []string
	for _, b := range bindings {
		roles, names = append(roles, b.Role), append(names, b.Kind+"|"+b.Namespace+"|"+b.Name)
		if b.Namespace != "" {
			namespaces = append(namespaces, b.Namespace)
		}
	}
	slices.Sort(roles)
	slices.Sort(namespaces)
	file, err := rendered("/etc/kubernetes/halinux/access.yaml", "access/access.yaml.tmpl", map[string]any{
		"Namespaces": slices.Compact(namespaces), "Bindings": bindings,
	})
	if err != nil {
		return nil, err
	}
	p, err := host.NewPhase(phases, "access", file)
	p.Vars = map[string]string{"roles": strings.Join(slices.Compact(roles), " "), "bindings": strings.Join(names, " ")}
	return []host.Phase{p}, err
}

// userKubeconfigs are the kubeconfigs of all users. A user's key is made once and
// kept in the state; the certificate is made of it in each run.
func (c *KubeadmCluster) userKubeconfigs(ctx *pulumi.Context, name string, a *KubeadmClusterArgs, authorities *Authorities, now time.Time) (pulumi.StringMapOutput, error) {
	all := pulumi.StringMap{}
	for _, user := range sortedKeys(a.Users) {
		made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return pulumi.StringMapOutput{}, err
		}
		text, err := keyPEM(made)
		if err != nil {
			return pulumi.StringMapOutput{}, err
		}
		key, err := stash.Keep(ctx, name+"-user-"+user, text, c)
		if err != nil {
			return pulumi.StringMapOutput{}, err
		}
		all[user] = pulumi.All(key, authorities.secrets).ApplyT(func(v []any) (string, error) {
			authorities, key := v[1].(string), v[0].(string)
			cert, err := userCertificate(authorities, key, user, a.Users[user].days(), now)
			if err != nil {
				return "", fmt.Errorf("user %s: %w", user, err)
			}
			ca, err := authorityPart(authorities, caCert)
			if err != nil {
				return "", err
			}
			return kubeconfig(a.name(), "https://"+a.Endpoint.String(), user, ca, cert, key)
		}).(pulumi.StringOutput)
	}
	// A secret, since the keys are.
	return all.ToStringMapOutput(), nil
}

// userCertificate says who somebody is. It lives for so many days, and the one of a
// run is the same as that of the run before until half of them are over: who runs
// the program that often has always one that is good for the other half. For equal
// certificates, the signature takes no chance (RFC 6979), and neither does the
// number.
func userCertificate(authorities, key, user string, days int, now time.Time) (string, error) {
	cert, err := authorityPart(authorities, caCert)
	if err != nil {
		return "", err
	}
	private, err := authorityPart(authorities, caKey)
	if err != nil {
		return "", err
	}
	signer, err := tls.X509KeyPair([]byte(cert), []byte(private))
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode([]byte(key))
	if block == nil {
		return "", errors.New("the key in the state is damaged; take the user out, run the program, and put it in again")
	}
	parsed, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return "", err
	}
	life := time.Duration(days) * 24 * time.Hour
	from := now.UTC().Truncate(life / 2)
	number := sha256.Sum256(fmt.Appendf(nil, "%s %d %d", user, from.Unix(), days))
	raw, err := x509.CreateCertificate(nil, &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(number[:15]), Subject: pkix.Name{CommonName: user},
		// An hour earlier: hosts' clocks differ a little.
		NotBefore: from.Add(-time.Hour), NotAfter: from.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, signer.Leaf, parsed.Public(), signer.PrivateKey.(crypto.Signer))
	if err != nil {
		return "", err
	}
	return certPEM(raw), nil
}
