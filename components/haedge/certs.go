package haedge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/halinux/halinux/components/problem"
)

// A private leaf lives for three periods and is made anew by the first run of
// each, so a run finds two thirds of its life left and one every two months
// keeps the site alive.
const leafPeriod = 30 * 24 * time.Hour

// newCA makes a private authority: its key and its certificate as one PEM
// text, which is what the state keeps.
func newCA(name string, now time.Time) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return "", err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(10, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", err
	}
	return keyPEM(key) + certificatePEM(der), nil
}

// authority reads what newCA made.
func authority(text string) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	block, rest := pem.Decode([]byte(text))
	if block == nil {
		return nil, nil, errors.New("the private authority in the state is not PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("the private authority in the state: %w", err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, nil, fmt.Errorf("the private authority in the state has a key of type %T", parsed)
	}
	certificates, err := parseCertificates(string(rest))
	if err != nil {
		return nil, nil, fmt.Errorf("the private authority in the state: %w", err)
	}
	return key, certificates[0], nil
}

// caCertificate is the part of an authority that everybody may know.
func caCertificate(text string) (string, error) {
	_, certificate, err := authority(text)
	if err != nil {
		return "", err
	}
	return certificatePEM(certificate.Raw), nil
}

// leaf makes a site's certificate and key. It is a function of its arguments
// alone, so that nothing but the authority needs to be kept, and equal runs
// within a period make equal certificates: the key is derived from the
// authority's (HKDF, RFC 5869), and the signature is deterministic (RFC 6979).
func leaf(ca, site string, names []string, generation int, now time.Time) (certificate, key string, err error) {
	caKey, caCert, err := authority(ca)
	if err != nil {
		return "", "", err
	}
	secret, err := caKey.Bytes()
	if err != nil {
		return "", "", err
	}
	period := now.UTC().Truncate(leafPeriod)
	about := fmt.Sprintf("halinux leaf %q %q %d %d", site, names, generation, period.Unix())
	var private *ecdsa.PrivateKey
	for attempt := 0; private == nil; attempt++ {
		scalar, err := hkdf.Key(sha256.New, secret, nil, fmt.Sprintf("%s %d", about, attempt), 32)
		if err != nil {
			return "", "", err
		}
		// One in 2^32 scalars is beyond the curve's order; the next is not.
		private, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
		if err != nil && attempt > 10 {
			return "", "", err
		}
	}
	number := sha256.Sum256([]byte(about))
	number[0] &= 0x7f
	notAfter := period.Add(3 * leafPeriod)
	if notAfter.After(caCert.NotAfter) {
		return "", "", fmt.Errorf("the private authority ends on %s, before a certificate of %s would; let the state forget it, with \"pulumi state delete --target-dependents\" and the URN that ends in -ca, and run up (docs/operations.md, Keys and certificates)", caCert.NotAfter.Format(time.DateOnly), site)
	}
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(number[:19]),
		Subject:      pkix.Name{CommonName: commonName(names)},
		DNSNames:     names,
		NotBefore:    period.Add(-time.Hour),
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(nil, template, caCert, private.Public(), caKey)
	if err != nil {
		return "", "", err
	}
	return certificatePEM(der), keyPEM(private), nil
}

// commonName is the first name that fits into one (64 bytes).
func commonName(names []string) string {
	i := slices.IndexFunc(names, func(n string) bool { return len(n) <= 64 })
	if i < 0 {
		return ""
	}
	return names[i]
}

func certificatePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func keyPEM(key *ecdsa.PrivateKey) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err) // a P-256 key can always be written
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// parseCertificates reads one or more certificates.
func parseCertificates(text string) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	rest := []byte(text)
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("holds a %s where a certificate is expected", strings.ToLower(block.Type))
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("is not a certificate: %w", err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("holds no PEM certificate")
	}
	if strings.TrimSpace(string(rest)) != "" {
		return nil, errors.New("holds something after the last certificate")
	}
	return all, nil
}

// validateGiven checks a certificate with its key for a site's names.
func validateGiven(certificate, key string, names []string, now time.Time) problem.List {
	var l problem.List
	if key == "" {
		l.Add("key", "is missing", "give the private key as a secret")
	}
	chain, err := parseCertificates(certificate)
	if err != nil {
		l.Add("certificate", err.Error(), "give the chain as PEM, the site's own certificate first")
		return l
	}
	own := chain[0]
	for _, c := range chain {
		if now.After(c.NotAfter) {
			l.Add("certificate", fmt.Sprintf("%q expired on %s", c.Subject.CommonName, c.NotAfter.Format(time.DateOnly)), "renew it")
		}
		if now.Before(c.NotBefore) {
			l.Add("certificate", fmt.Sprintf("%q is valid from %s on", c.Subject.CommonName, c.NotBefore.Format(time.DateOnly)), "is the clock right?")
		}
	}
	for _, name := range names {
		if err := own.VerifyHostname(name); err != nil {
			l.Add("certificate", fmt.Sprintf("is not for %s but for %s", name, strings.Join(own.DNSNames, ", ")), "have it issued for all names of the site")
		}
	}
	for i, c := range chain[:len(chain)-1] {
		if err := c.CheckSignatureFrom(chain[i+1]); err != nil {
			l.Add("certificate", fmt.Sprintf("number %d of the chain was not signed by the next one: %v", i+1, err), "put the intermediates in order, the site's own first")
		}
	}
	if key != "" {
		if _, err := tls.X509KeyPair([]byte(certificate), []byte(key)); err != nil {
			l.Add("key", strings.TrimPrefix(err.Error(), "tls: "), "give the key that the certificate was made for")
		}
	}
	return l
}
