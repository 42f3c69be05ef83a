package galera

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// lifetime of the authority and of the nodes' certificate, in years: nothing
// renews them yet.
const lifetime = 10

// What the state keeps of the cluster, by name: the first three are the keys of
// its Secret.
const (
	caPart, certificatePart, keyPart = "ca.crt", "tls.crt", "tls.key"
	backupPart                       = "backup" // the password of backupUser
)

// newSecrets makes an authority that signs one certificate and is forgotten, that
// certificate, for all names that nodes and services go by, and a password.
func newSecrets(name string, hosts []string, now time.Time) (string, error) {
	template := func(serial int64, common string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: common},
			NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(lifetime, 0, 0),
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	ca := template(1, "halinux "+name)
	ca.IsCA, ca.BasicConstraintsValid, ca.MaxPathLenZero, ca.KeyUsage = true, true, true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return "", err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	leaf := template(2, name)
	leaf.DNSNames = hosts
	leaf.KeyUsage = x509.KeyUsageDigitalSignature
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return "", err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	password, err := newPassword()
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]string{
		caPart:          string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})),
		certificatePart: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		keyPart:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		backupPart:      password,
	})
	return string(text), err
}

// part is one part of what newSecrets made.
func part(all, name string) (string, error) {
	var parts map[string]string
	if err := json.Unmarshal([]byte(all), &parts); err != nil || parts[name] == "" {
		return "", fmt.Errorf("the state lacks %q of the database's secrets", name)
	}
	return parts[name], nil
}

// newPassword is one that nobody has to type.
func newPassword() (string, error) {
	password := make([]byte, 24)
	_, err := rand.Read(password)
	return base64.RawURLEncoding.EncodeToString(password), err
}
