package preview_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/golden"
)

// TestProdExample follows the head of Pulumi.prod.yaml to the letter: the
// commands there, with a password and a certificate, make a stack whose preview
// works, and whose secrets stand encrypted in the file.
func TestProdExample(t *testing.T) {
	p := newProject(t)
	example, err := os.ReadFile("../../Pulumi.prod.yaml")
	require.NoError(t, err)
	head, _, found := strings.Cut(string(example), "\nconfig:")
	require.True(t, found)
	commands := regexp.MustCompile(`(?m)^#   (pulumi .*)$`).FindAllStringSubmatch(head, -1)
	require.Len(t, commands, 7)

	cert, key := shopCertificate(t)
	for name, text := range map[string]string{
		"isp-a.password": "sentinel-a\n", "isp-b.password": "sentinel-b\n", "shop.pem": cert, "shop.key": key,
		"store1.password": "sentinel-1\n", "store2.password": "sentinel-2\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600))
	}
	for _, c := range commands {
		p.run(c[1])
	}
	written, err := os.ReadFile(filepath.Join(p.dir, "Pulumi.prod.yaml"))
	require.NoError(t, err)
	require.NotContains(t, string(written), "sentinel")
	require.NotContains(t, string(written), "PRIVATE KEY")
	require.Contains(t, string(written), "secure:")

	steps, err := p.preview("prod")
	require.NoError(t, err)
	golden.Compare(t, filepath.Join(here, "testdata", "prod.golden"), tree(steps))
}

// run runs a command line in the project's folder, against its backend.
func (p *project) run(line string) string {
	p.t.Helper()
	sh := exec.CommandContext(p.t.Context(), "sh", "-c", line)
	sh.Dir = p.dir
	sh.Env = append(os.Environ(), "PULUMI_BACKEND_URL=file://"+p.dir, "PULUMI_CONFIG_PASSPHRASE=test",
		"PULUMI_SKIP_UPDATE_CHECK=true", "PULUMI_HOME="+filepath.Join(p.dir, "home"))
	out, err := sh.CombinedOutput()
	require.NoError(p.t, err, "%s\n%s", line, out)
	return string(out)
}

func shopCertificate(t *testing.T) (certPEM, keyPEM string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop.example.net"}, DNSNames: []string{"shop.example.net"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}
