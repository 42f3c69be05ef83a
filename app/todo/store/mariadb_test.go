package store

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// installMariaDB makes a folder with an empty database, data.
func installMariaDB(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"mariadbd", "mariadb-install-db"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIP: %s is not on PATH (Debian's package mariadb-server has it)", program)
		}
	}
	dir, err := os.MkdirTemp("", "todo-mariadb") // short: a socket's path has 107 bytes at most
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	give(t, dir)
	out, err := exec.CommandContext(t.Context(), "mariadb-install-db", "--no-defaults", "--datadir="+filepath.Join(dir, "data"), "--user="+servant(t).Username,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve").CombinedOutput()
	require.NoError(t, err, string(out))
	return dir
}

// servant is who a server runs as: a server that root starts gives that up, and
// so do the programs that it starts.
func servant(t *testing.T) *user.User {
	t.Helper()
	u, err := user.Current()
	if err == nil && u.Uid == "0" {
		u, err = user.Lookup("mysql")
	}
	require.NoError(t, err)
	return u
}

// give makes a folder the servant's.
func give(t *testing.T, dir string) {
	t.Helper()
	uid, err := strconv.Atoi(servant(t).Uid)
	require.NoError(t, err)
	gid, err := strconv.Atoi(servant(t).Gid)
	require.NoError(t, err)
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, uid, gid))
	}))
}

// mariadbServer is a server of a test's own.
type mariadbServer struct {
	MariaDB // through its socket
	process *exec.Cmd
	log     string
}

// startMariaDB runs a server on a folder until the test ends.
func startMariaDB(t *testing.T, dir string, more ...string) *mariadbServer {
	t.Helper()
	s := &mariadbServer{MariaDB: MariaDB{Address: filepath.Join(dir, "sock"), User: "root"}, log: filepath.Join(dir, "log")}
	log, err := os.Create(s.log)
	require.NoError(t, err)
	s.process = exec.Command("mariadbd", append([]string{"--no-defaults", "--datadir=" + filepath.Join(dir, "data"), "--socket=" + s.Address,
		"--user=" + servant(t).Username, "--skip-name-resolve", "--pid-file=" + filepath.Join(dir, "pid"), "--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=1",
		"--innodb-buffer-pool-size=16M"}, more...)...)
	s.process.Stdout, s.process.Stderr = log, log
	require.NoError(t, s.process.Start())
	t.Cleanup(func() {
		_ = s.process.Process.Kill() // it may have ended already
		_ = s.process.Wait()
		assert.NoError(t, log.Close())
		if t.Failed() {
			text, _ := os.ReadFile(s.log)
			lines := strings.Split(string(text), "\n")
			t.Log(strings.Join(lines[max(0, len(lines)-30):], "\n"))
		}
	})
	s.await(t, "SELECT 1", "1")
	return s
}

// await waits until a statement has an answer.
func (s *mariadbServer) await(t *testing.T, statement, answer string) {
	t.Helper()
	admin, err := OpenMariaDB(s.MariaDB)
	require.NoError(t, err)
	defer func() { assert.NoError(t, admin.Close()) }()
	require.Eventually(t, func() bool {
		row := admin.DB().QueryRowContext(t.Context(), statement)
		var name, got string
		if strings.HasPrefix(statement, "SHOW") {
			return row.Scan(&name, &got) == nil && got == answer
		}
		return row.Scan(&got) == nil && got == answer
	}, 20*time.Second, 50*time.Millisecond, "%s is not %s", statement, answer)
}

// stop ends a server as systemd would.
func (s *mariadbServer) stop(t *testing.T) {
	t.Helper()
	require.NoError(t, s.process.Process.Signal(syscall.SIGTERM))
	require.NoError(t, s.process.Wait())
}

// The connection is encrypted, and only a server with a certificate of the
// right authority is spoken to.
func TestMariaDBShowsItsCertificate(t *testing.T) {
	dir := installMariaDB(t)
	ca, key := certificate(t, dir, "127.0.0.1")
	give(t, dir)
	port := freePort(t)
	server := startMariaDB(t, dir, "--bind-address=127.0.0.1", "--port="+port, "--ssl-cert="+ca, "--ssl-key="+key, "--require-secure-transport=ON")
	admin, err := OpenMariaDB(server.MariaDB)
	require.NoError(t, err)
	_, err = admin.DB().ExecContext(t.Context(), "CREATE USER todo@'%' IDENTIFIED BY 'a password'")
	require.NoError(t, errors.Join(err, admin.Close()))

	other, _ := certificate(t, t.TempDir(), "127.0.0.1")
	elsewhere, _ := certificate(t, t.TempDir(), "db.test")
	for name, c := range map[string]struct{ ca, says string }{
		"right": {ca, ""}, "none": {"", "Access denied"}, "another": {other, "certificate"}, "another host": {elsewhere, "certificate"},
	} {
		s, err := OpenMariaDB(MariaDB{Address: "127.0.0.1:" + port, User: "todo", Password: "a password", CA: c.ca})
		require.NoError(t, err)
		var cipher, variable string
		err = s.DB().QueryRowContext(t.Context(), "SHOW STATUS LIKE 'Ssl_cipher'").Scan(&variable, &cipher)
		if c.says == "" {
			require.NoError(t, err, name)
			require.NotEmpty(t, cipher)
		} else {
			require.ErrorContains(t, err, c.says, name)
		}
		require.NoError(t, s.Close())
	}
	_, err = OpenMariaDB(MariaDB{Address: "127.0.0.1:" + port, CA: key})
	require.ErrorContains(t, err, "has no certificate")
}

// certificate writes one that signs itself, for a host.
func certificate(t *testing.T, dir, host string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return cert, key
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

const galera = "/usr/lib/galera/libgalera_smm.so"

// Two nodes of a Galera cluster take the same item's changes at the same time,
// which is what nobody should have them do: what certification refuses is
// repeated, and no change that was accepted is lost. Then one node is killed
// with the other one left without a majority, which says so.
func TestGalera(t *testing.T) {
	if _, err := os.Stat(galera); err != nil {
		t.Skipf("SKIP: there is no %s (Debian's package galera-4 has it)", galera)
	}
	first := installMariaDB(t)
	ports := []string{freePort(t), freePort(t)}
	members := fmt.Sprintf("gcomm://127.0.0.1:%s,127.0.0.1:%s", ports[0], ports[1])
	node := func(i int, dir string, more ...string) *mariadbServer {
		return startMariaDB(t, dir, append([]string{"--skip-networking", "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2",
			"--wsrep-on=ON", "--wsrep-provider=" + galera, "--wsrep-cluster-address=" + members, "--wsrep-node-address=127.0.0.1",
			"--wsrep-sst-method=rsync", "--wsrep-sst-receive-address=127.0.0.1:" + freePort(t), // only asked whether it is needed: both begin with the same data
			"--wsrep-provider-options=gcache.size=4M;gmcast.listen_addr=tcp://127.0.0.1:" + ports[i] + ";ist.recv_addr=127.0.0.1:" + freePort(t)}, more...)...)
	}
	// What the first one is when it has been a cluster of one is what both
	// begin with, so nothing has to be copied between them.
	alone := node(0, first, "--wsrep-new-cluster")
	alone.await(t, "SHOW STATUS LIKE 'wsrep_ready'", "ON")
	alone.stop(t)
	second, err := os.MkdirTemp("", "todo-mariadb")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(second)) })
	require.NoError(t, os.CopyFS(filepath.Join(second, "data"), os.DirFS(filepath.Join(first, "data"))))
	give(t, second)
	nodes := []*mariadbServer{node(0, first, "--wsrep-new-cluster")}
	nodes = append(nodes, node(1, second))
	for _, n := range nodes {
		n.await(t, "SHOW STATUS LIKE 'wsrep_cluster_size'", "2")
		n.await(t, "SHOW STATUS LIKE 'wsrep_local_state_comment'", "Synced")
	}

	admin, err := OpenMariaDB(nodes[0].MariaDB)
	require.NoError(t, err)
	_, err = admin.DB().ExecContext(t.Context(), "CREATE DATABASE todo")
	require.NoError(t, errors.Join(err, admin.Close()))
	var stores []*Store
	for _, n := range nodes {
		n.Name, n.SyncWait = "todo", true
		s, err := OpenMariaDB(n.MariaDB)
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() }) // its server may be gone
		stores = append(stores, s)
	}
	_, err = stores[0].Migrate(t.Context())
	require.NoError(t, err)
	require.NoError(t, stores[1].Ready(t.Context()))

	person := newUser(t, stores[0])
	item := newItem(t, stores[0], person, Item{Title: "item"})
	var all sync.WaitGroup
	for writer := range 4 {
		s := stores[writer%2]
		all.Go(func() {
			for n := range 15 {
				for {
					now, err := s.Item(t.Context(), person, item.ID)
					if !assert.NoError(t, err) {
						return
					}
					now.Notes += fmt.Sprintf("%d.%d ", writer, n)
					if err = s.UpdateItem(t.Context(), person, now); errors.As(err, new(*Conflict[Item])) {
						continue
					}
					assert.NoError(t, err)
					break
				}
			}
		})
	}
	all.Wait()
	for _, s := range stores {
		got, err := s.Item(t.Context(), person, item.ID)
		require.NoError(t, err)
		for writer := range 4 {
			for n := range 15 {
				assert.Equal(t, 1, strings.Count(" "+got.Notes, fmt.Sprintf(" %d.%d ", writer, n)))
			}
		}
	}
	t.Logf("repeated since certification refused them: %d and %d", stores[0].Retries(), stores[1].Retries())

	require.NoError(t, nodes[1].process.Process.Kill())
	require.Eventually(t, func() bool {
		return errors.Is(stores[0].SetDone(t.Context(), person, item.ID, true), ErrUnavailable)
	}, 40*time.Second, 50*time.Millisecond, "a node without a majority takes nothing")
	require.Error(t, stores[0].Ready(t.Context()))
}
