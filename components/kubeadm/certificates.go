package kubeadm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/stash"
)

// What authorities hold, by name. kubeadm finds those whose names are paths below
// /etc/kubernetes/pki, and makes everything else from them.
const (
	caCert, caKey                   = "ca.crt", "ca.key"
	etcdCert, etcdKey               = "etcd/ca.crt", "etcd/ca.key"
	frontProxyCert, frontProxyKey   = "front-proxy-ca.crt", "front-proxy-ca.key"
	serviceAccountPub, serviceAcKey = "sa.pub", "sa.key"
	adminCert, adminKey             = "admin.crt", "admin.key"
	encryptionKey                   = "encryption-key"
)

// pkiFiles are those that stand on control planes.
var pkiFiles = []string{caCert, caKey, etcdCert, etcdKey, frontProxyCert, frontProxyKey, serviceAccountPub, serviceAcKey}

// lifetime of authorities; certificates that kubeadm makes live a year.
const lifetime = 10 * 365 * 24 * time.Hour

// NewAuthorities makes the authorities of a cluster, or finds those that the
// state has. They belong to the program, and not to the host that comes first:
// every control plane is given the same ones, so that none has to wait for
// another or fetch anything from it, and any of them can be replaced.
func NewAuthorities(ctx *pulumi.Context, name string, parent pulumi.Resource) (*Authorities, error) {
	made, err := newAuthorities(time.Now())
	if err != nil {
		return nil, err
	}
	kept, err := stash.Keep(ctx, name+"-authorities", made, parent)
	if err != nil {
		return nil, err
	}
	a := &Authorities{secrets: kept}
	// A certificate is nobody's secret, and what is made of it should be readable.
	a.CA = pulumi.Unsecret(a.part(caCert)).(pulumi.StringOutput)
	return a, nil
}

// part is one of them.
func (a *Authorities) part(name string) pulumi.StringOutput {
	return a.secrets.ApplyT(func(all string) (string, error) { return authorityPart(all, name) }).(pulumi.StringOutput)
}

func authorityPart(all, name string) (string, error) {
	var parts map[string]string
	if err := json.Unmarshal([]byte(all), &parts); err != nil {
		return "", fmt.Errorf("the cluster's authorities in the state are damaged; restore the state from its last backup: %w", err)
	}
	text, ok := parts[name]
	if !ok {
		return "", fmt.Errorf("the cluster's authorities in the state lack %q; restore the state from its last backup", name)
	}
	return text, nil
}

// joinKubeconfig is what a worker joins with: a certificate that says that it is
// the node of its name, and can be nobody else. Its kubelet gets the next one with
// it from the cluster. The key is derived from the authority's, so that nothing has
// to be kept for a worker, and equal runs give equal texts; who knows the one can
// make the other anyway.
func joinKubeconfig(cluster, server, node, authorities string) (string, error) {
	ca, err := authorityPart(authorities, caCert)
	if err != nil {
		return "", err
	}
	private, err := authorityPart(authorities, caKey)
	if err != nil {
		return "", err
	}
	signer, err := tls.X509KeyPair([]byte(ca), []byte(private))
	if err != nil {
		return "", err
	}
	var key *ecdsa.PrivateKey
	// All but one in 2³² numbers of this length are keys.
	for i := 0; key == nil; i++ {
		raw, err := hkdf.Key(sha256.New, []byte(private), nil, fmt.Sprintf("join %s %d", node, i), 32)
		if err != nil {
			return "", err
		}
		key, _ = ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	}
	number := sha256.Sum256([]byte("join " + node))
	raw, err := x509.CreateCertificate(nil, &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(number[:15]),
		Subject:      pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}},
		// As long as the authority's: it is on a host while that joins, and a host
		// may join anew at any time.
		NotBefore: signer.Leaf.NotBefore, NotAfter: signer.Leaf.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, signer.Leaf, key.Public(), signer.PrivateKey.(crypto.Signer))
	if err != nil {
		return "", err
	}
	text, err := keyPEM(key)
	if err != nil {
		return "", err
	}
	return kubeconfig(cluster, server, node, ca, certPEM(raw), text)
}

// newAuthorities makes all of them as one JSON text.
func newAuthorities(now time.Time) (string, error) {
	parts := map[string]string{}
	for _, a := range []struct{ cert, key, name string }{
		{caCert, caKey, "kubernetes"}, {etcdCert, etcdKey, "etcd-ca"}, {frontProxyCert, frontProxyKey, "front-proxy-ca"},
	} {
		cert, key, err := newAuthority(a.name, now)
		if err != nil {
			return "", fmt.Errorf("authority %s: %w", a.name, err)
		}
		if parts[a.key], err = keyPEM(key); err != nil {
			return "", err
		}
		parts[a.cert] = certPEM(cert.Raw)
		if a.cert != caCert {
			continue
		}
		// What kubeadm calls the administrator: a member of the group that it
		// binds to cluster-admin.
		adminKey_, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return "", err
		}
		template, err := certificate(pkix.Name{CommonName: administrator, Organization: []string{"kubeadm:cluster-admins"}}, now)
		if err != nil {
			return "", err
		}
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		raw, err := x509.CreateCertificate(rand.Reader, template, cert, adminKey_.Public(), key)
		if err != nil {
			return "", err
		}
		parts[adminCert] = certPEM(raw)
		if parts[adminKey], err = keyPEM(adminKey_); err != nil {
			return "", err
		}
	}
	// Service accounts' tokens are signed as kubeadm does it.
	sa, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	parts[serviceAcKey] = string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(sa)}))
	public, err := x509.MarshalPKIXPublicKey(sa.Public())
	if err != nil {
		return "", err
	}
	parts[serviceAccountPub] = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	parts[encryptionKey] = newKey()
	all, err := json.Marshal(parts)
	return string(all), err
}

func newAuthority(name string, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template, err := certificate(pkix.Name{CommonName: name}, now)
	if err != nil {
		return nil, nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageKeyEncipherment
	template.DNSNames = []string{name}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(raw)
	return cert, key, err
}

// certificate is what all of them have in common. It is valid from an hour ago:
// hosts' clocks differ a little.
func certificate(subject pkix.Name, now time.Time) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: subject, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: now.Add(-time.Hour).UTC(), NotAfter: now.Add(lifetime).UTC(),
	}, nil
}

func certPEM(raw []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}))
}

func keyPEM(key *ecdsa.PrivateKey) (string, error) {
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})), nil
}
