package nfsha

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// lifetime of the certificates between the cluster and its witnesses. qnetd and
// qdevice cannot renew theirs, and Debian's own tool gives them ten years too.
const lifetime = 10 // years

// newCertificates are what the cluster and its witnesses know each other by: an
// authority that signs just these two and is forgotten, the certificate of the
// witnesses, and that of the cluster, whose common name has to be the cluster's
// (corosync-qnetd(8)). The result is what the state keeps.
func newCertificates(cluster string) (string, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	now := time.Now()
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(lifetime, 0, 0),
		}
	}
	ca := template(1, "halinux "+cluster+" witness")
	ca.IsCA, ca.BasicConstraintsValid, ca.MaxPathLenZero, ca.KeyUsage = true, true, true, x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return "", err
	}
	parts := map[string]string{"ca": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
	for i, leaf := range []struct {
		part, name string
		use        x509.ExtKeyUsage
	}{{"witness", "Qnetd Server", x509.ExtKeyUsageServerAuth}, {"node", cluster, x509.ExtKeyUsageClientAuth}} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return "", err
		}
		t := template(int64(i+2), leaf.name)
		t.KeyUsage, t.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{leaf.use}
		// Common names alone: these programs look for nothing else, and the name
		// that qdevice wants of a witness cannot be a DNS name.
		der, err := x509.CreateCertificate(rand.Reader, t, ca, key.Public(), caKey)
		if err != nil {
			return "", err
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return "", err
		}
		parts[leaf.part] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})) +
			string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	text, err := json.Marshal(parts)
	return string(text), err
}

// certificatePart is one part of what newCertificates made.
func certificatePart(all, part string) (string, error) {
	var parts map[string]string
	if err := json.Unmarshal([]byte(all), &parts); err != nil || parts[part] == "" {
		return "", fmt.Errorf("the state lacks the certificate %q of the witness", part)
	}
	return parts[part], nil
}

// replicationSecret is DRBD's shared secret, made out of the cluster's key; at
// most 63 letters (drbd.conf(5)).
func replicationSecret(cluster string) (string, error) {
	key, err := base64.StdEncoding.DecodeString(cluster)
	if err != nil {
		return "", fmt.Errorf("the cluster's key in the state is not base64: %w", err)
	}
	secret, err := hkdf.Key(sha256.New, key, nil, "halinux drbd", 24)
	return hex.EncodeToString(secret), err
}
