package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/halinux/halinux/tests/report"
)

// acme lets an authority issue the site's certificate, and renew it, while
// clients shake hands. The authority is Pebble, on the controller; its question
// reaches the edge that has the VIP, whichever edge asked for a certificate.
func acme(t *testing.T, b *Bed, f *facts) {
	private := b.authority(t)
	ca := startPebble(t, b, b.hosts[f.edges[0]]+":53")
	// Both authorities are trusted: what must not be seen is a third
	// certificate, or none.
	trusted := filepath.Join(t.TempDir(), "trusted.pem")
	old, err := os.ReadFile(private)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(trusted, append(old, ca.root...), 0o600); err != nil {
		t.Fatal(err)
	}
	site := f.site(trusted)
	site.Rate = b.rate / 4
	l := b.Send(t, "client", with(site, patient))

	use := []Change{
		func(s Settings) {
			sites := s["halinux:edge"].(map[string]any)["sites"].([]any)
			sites[0].(map[string]any)["certificate"] = map[string]any{"source": "acme"}
		},
		Set(map[string]any{"directory": ca.directory, "ca": string(ca.own)}, "halinux:edge", "acme"),
	}
	b.Up(t, use...)
	issued := map[string]string{}
	for _, edge := range f.edges {
		Until(t, time.Minute, edge+" to serve the authority's certificate", func() error {
			var err error
			issued[edge], err = b.served(edge, f, ca.root)
			return err
		})
	}
	if issued[f.edges[0]] == issued[f.edges[1]] {
		t.Errorf("both edges have one certificate (%s), and so one key", issued[f.edges[0]])
	}
	b.NoDrift(t)

	// The authority's certificates are so short that the timer's service finds
	// them in need of renewal.
	for _, edge := range f.edges {
		b.On(t, edge, "systemctl start halinux-acme.service")
		Until(t, time.Minute, edge+" to serve the renewed certificate", func() error {
			renewed, err := b.served(edge, f, ca.root)
			if err == nil && renewed == issued[edge] {
				err = fmt.Errorf("it still serves %s", renewed)
			}
			return err
		})
	}
	b.NoDrift(t)
	b.Unchanged(t, use...)
	b.Up(t)
	lossless(t, b, report.Measurement{ID: "F12", Scenario: "an ACME authority issues the site's certificate, and renews it"}, l)
}

// served is the serial number of the certificate that an edge serves, which the
// authority has to have signed. Every edge has the public address, so asked on
// the edge itself it is that edge which answers.
func (b *Bed) served(edge string, f *facts, root []byte) (string, error) {
	site := f.site("")
	name := strings.TrimSuffix(strings.TrimPrefix(site.URL, "https://"), "/")
	out, err := b.try(edge, "openssl s_client -showcerts -connect "+site.Server+" -servername "+name+" </dev/null 2>/dev/null")
	if err != nil {
		return "", err
	}
	var chain []*x509.Certificate
	for rest := []byte(out); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return "", err
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return "", fmt.Errorf("no certificate: %s", tail(out))
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{DNSName: name, Roots: roots, Intermediates: between})
	return chain[0].SerialNumber.Text(16), err
}

// pebble is a running ACME authority.
type pebble struct {
	directory string
	own       []byte // what verifies its web server
	root      []byte // what verifies the certificates that it issues
}

// startPebble runs Pebble (tools/go.mod) on the controller's address in the
// site's network, until the test ends. dns is the name server that it asks.
func startPebble(t *testing.T, b *Bed, dns string) pebble {
	t.Helper()
	program := filepath.Join(b.root, "bin", "pebble")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%v; build it with make", err)
	}
	probe, err := net.Dial("udp", dns)
	if err != nil {
		t.Fatal(err)
	}
	address := probe.LocalAddr().(*net.UDPAddr).IP
	probe.Close()
	dir := t.TempDir()
	certificate := webServer(t, dir, address)
	at := func(port string) string { return net.JoinHostPort(address.String(), port) }
	settings, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": at("14000"), "managementListenAddress": at("15000"),
		"certificate": filepath.Join(dir, "cert.pem"), "privateKey": filepath.Join(dir, "key.pem"),
		"httpPort": 80, "tlsPort": 443, "keyAlgorithm": "ecdsa",
		// 20 days: dehydrated renews what has less than 30, the drift check
		// complains of less than 14.
		"profiles": map[string]any{"default": map[string]any{"description": "short", "validityPeriod": 20 * 24 * 3600}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pebble.json"), settings, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	c := exec.Command(program, "-config", filepath.Join(dir, "pebble.json"), "-dnsserver", dns)
	c.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("the authority's log:\n%s", tail(log.String()))
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	var root []byte
	Until(t, time.Minute, "the authority", func() error {
		answer, err := client.Get("https://" + at("15000") + "/roots/0")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("its root: %s", answer.Status)
		}
		root, err = io.ReadAll(answer.Body)
		return err
	})
	return pebble{directory: "https://" + at("14000") + "/dir", own: certificate, root: root}
}

// webServer makes a certificate for an address, with its key, in dir.
func webServer(t *testing.T, dir string, address net.IP) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{address}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, text := range map[string][]byte{"cert.pem": certificate, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate
}
