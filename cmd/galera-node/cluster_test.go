package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/components/galera/pod"
	"github.com/halinux/halinux/components/galera/recovery"
)

// inPod runs the program in namespaces of its own, as a container's first process:
// its paths are those of a pod, and nothing of it outlives it.
const inPod = `set -eu
mount --make-rprivate /
for m in data:var/lib/mysql run:run/mysqld etc:etc/galera tmp:tmp secrets:run/secrets backup:backup backup-etc:etc/galera-backup; do
	mount --bind "$2/${m%%:*}" "$1/${m#*:}"
done
mount --rbind /dev "$1/dev"
mount -t proc proc "$1/proc"
root=$1
shift 2
# A change of the user forgets what unshare asked for: that the end of it ends this.
exec chroot "$root" setpriv --reuid=999 --regid=999 --clear-groups --pdeathsig=KILL "$@"
`

const (
	deadline  = 4 * time.Minute // of whatever is waited for; the machine may be slow
	nodeCount = 3
)

// bed is a cluster of real servers on loopback addresses.
type bed struct {
	t    *testing.T
	root string // of a system with MariaDB in it
	dir  string
	api  *standIn
	cmds [nodeCount]*exec.Cmd
	logs [nodeCount]*os.File
	ca   *x509.CertPool
}

func address(ordinal int) string { return fmt.Sprintf("127.0.77.%d", ordinal+1) }

// standIn answers for the Kubernetes API: one ConfigMap with optimistic locking,
// labels of pods, and how CronJobs are.
type standIn struct {
	mu      sync.Mutex
	server  *httptest.Server
	version int
	record  map[string]any
	labels  map[string]string // the writer's label, by pod
}

func newStandIn() *standIn {
	s := &standIn{version: 1, labels: map[string]string{}}
	s.record = map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "db-record", "namespace": "test", "resourceVersion": "1"}}
	s.server = httptest.NewTLSServer(s)
	return s
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	fail := func(code int, reason string) {
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, code)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		fail(http.StatusBadRequest, "BadRequest")
		return
	}
	const maps, pods, jobs = "/api/v1/namespaces/test/configmaps/db-record", "/api/v1/namespaces/test/pods/", "/apis/batch/v1/namespaces/test/cronjobs/"
	switch {
	case r.URL.Path == maps && r.Method == http.MethodGet:
	case r.URL.Path == maps && r.Method == http.MethodPut:
		var next map[string]any
		if json.Unmarshal(body, &next) != nil {
			fail(http.StatusBadRequest, "BadRequest")
			return
		}
		if next["metadata"].(map[string]any)["resourceVersion"] != strconv.Itoa(s.version) {
			fail(http.StatusConflict, "Conflict")
			return
		}
		s.version++
		next["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(s.version)
		s.record = next
	case strings.HasPrefix(r.URL.Path, pods) && r.Method == http.MethodPatch:
		var patch struct {
			Metadata struct{ Labels map[string]*string }
		}
		if json.Unmarshal(body, &patch) != nil {
			fail(http.StatusBadRequest, "BadRequest")
			return
		}
		name := strings.TrimPrefix(r.URL.Path, pods)
		if v := patch.Metadata.Labels[pod.LabelWriter]; v == nil {
			delete(s.labels, name)
		} else {
			s.labels[name] = *v
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name}})
		return
	case strings.HasPrefix(r.URL.Path, jobs) && r.Method == http.MethodGet:
		status := map[string]any{"lastScheduleTime": "2026-10-29T02:30:00Z"}
		name := strings.TrimPrefix(r.URL.Path, jobs)
		if name == "db-backup" {
			status["lastSuccessfulTime"] = "2026-10-29T02:31:00Z"
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "batch/v1", "kind": "CronJob", "metadata": map[string]any{"name": name}, "status": status})
		return
	default:
		fail(http.StatusNotFound, "NotFound")
		return
	}
	_ = json.NewEncoder(w).Encode(s.record)
}

// giveUp is what a person does for data that is lost for good.
func (s *standIn) giveUp(ordinals ...int) {
	var words []string
	for _, o := range ordinals {
		words = append(words, strconv.Itoa(o))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	m := s.record["metadata"].(map[string]any)
	m["annotations"], m["resourceVersion"] = map[string]any{pod.AnnotationLost: strings.Join(words, ",")}, strconv.Itoa(s.version)
}

func (s *standIn) generation() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, _ := s.record["data"].(map[string]any)
	text, _ := data[pod.KeyRecord].(string)
	var r recovery.Record
	_ = json.Unmarshal([]byte(text), &r)
	return r.Generation
}

// writer is the ordinal of the pod with the label, -1 where there is not just one.
func (s *standIn) writer() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.labels) != 1 {
		return -1
	}
	for name := range s.labels {
		o, _ := strconv.Atoi(strings.TrimPrefix(name, "db-"))
		return o
	}
	return -1
}

const serverConfig = `[mariadbd]
user=mysql
binlog_format=ROW
default_storage_engine=InnoDB
innodb_autoinc_lock_mode=2
innodb_flush_log_at_trx_commit=1
innodb_buffer_pool_size=32M
innodb_log_file_size=16M
performance_schema=OFF
skip_name_resolve=ON
wsrep_on=ON
# With it the provider's options cannot be changed, and no node be cut off.
plugin_wsrep_provider=OFF
wsrep_provider=/usr/lib/galera/libgalera_smm.so
wsrep_sst_method=mariabackup
wsrep_sst_auth=mysql:
ssl_cert=/etc/galera/tls/tls.crt
ssl_key=/etc/galera/tls/tls.key
ssl_ca=/etc/galera/tls/ca.crt
[sst]
encrypt=4
tcert=/etc/galera/tls/tls.crt
tkey=/etc/galera/tls/tls.key
tca=/etc/galera/tls/ca.crt
[mariadbd-2]
log_bin=binlog
log_slave_updates=ON
sync_binlog=1
slave_connections_needed_for_purge=0
`

const providerOptions = "gcache.size=64M;gcache.recover=yes;evs.suspect_timeout=PT3S;evs.inactive_check_period=PT0.25S;evs.join_retrans_period=PT0.5S;socket.ssl_cert=/etc/galera/tls/tls.crt;socket.ssl_key=/etc/galera/tls/tls.key;socket.ssl_ca=/etc/galera/tls/ca.crt"

// certificates makes an authority and one certificate for all nodes.
func certificates(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	write := func(name, kind string, der []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644))
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	require.NoError(t, err)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "node"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for o := range nodeCount {
		leaf.IPAddresses = append(leaf.IPAddresses, net.ParseIP(address(o)))
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, leafKey.Public(), key)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	require.NoError(t, err)
	write("ca.crt", "CERTIFICATE", caDER)
	write("tls.crt", "CERTIFICATE", leafDER)
	write("tls.key", "PRIVATE KEY", keyDER)
	pool := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(caDER)
	require.NoError(t, err)
	pool.AddCert(parsed)
	return pool
}

func newBed(t *testing.T) *bed {
	root := os.Getenv("HALINUX_MARIADB")
	if root == "" {
		t.Skip("SKIP: set HALINUX_MARIADB to the root of a system with MariaDB (`make mariadb-root` makes one) to start servers")
	}
	if os.Getuid() != 0 {
		t.Skip("SKIP: servers are started in namespaces of their own, which needs root")
	}
	b := &bed{t: t, root: root, dir: t.TempDir(), api: newStandIn()}
	t.Cleanup(b.api.server.Close)
	program := filepath.Join(b.dir, "galera-node")
	build := exec.Command("go", "build", "-tags", "netgo,osusergo", "-ldflags", "-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if ready := os.Getenv("HALINUX_GALERA_NODE"); ready != "" {
		build = exec.Command("cp", ready, program)
	}
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, os.Chmod(b.dir, 0o755))
	for _, mountPoint := range []string{"var/lib/mysql", "run/mysqld", "etc/galera", "tmp", "run/secrets", "dev", "proc", "backup", "etc/galera-backup"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, mountPoint), 0o755))
	}
	for o := range nodeCount {
		for _, folder := range []string{"data", "run", "etc/tls", "etc/schema", "etc/config", "tmp", "secrets/kubernetes.io/serviceaccount", "backup", "backup-etc"} {
			require.NoError(t, os.MkdirAll(filepath.Join(b.dir, strconv.Itoa(o), folder), 0o755))
		}
		for _, folder := range []string{"data", "run", "tmp", "backup"} {
			require.NoError(t, os.Chown(filepath.Join(b.dir, strconv.Itoa(o), folder), 999, 999))
		}
		file := func(name, text string) {
			require.NoError(t, os.WriteFile(filepath.Join(b.dir, strconv.Itoa(o), name), []byte(text), 0o644))
		}
		require.NoError(t, os.Link(program, filepath.Join(b.dir, strconv.Itoa(o), "run/galera-node")))
		file("etc/config/server.cnf", serverConfig)
		file("secrets/kubernetes.io/serviceaccount/token", "test")
		file("secrets/kubernetes.io/serviceaccount/ca.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.api.server.Certificate().Raw})))
		text, err := json.Marshal(pod.Schema{
			Databases: []pod.Database{{Name: "app"}},
			Users: []pod.User{{Name: "app", Host: "%", Password: `p'a"s\s`, Grants: []pod.Grant{{Database: "app", Privileges: []string{"ALL"}}, {Database: "*", Privileges: []string{"SUPER"}}}}, {
				Name: "galera-backup", Host: "%", Password: "password of the backup", Grants: []pod.Grant{
					{Database: "*", Privileges: []string{"RELOAD", "PROCESS", "LOCK TABLES", "BINLOG MONITOR", "REPLICA MONITOR"}},
					{Database: "mysql", Privileges: []string{"SELECT"}},
				},
			}},
		})
		require.NoError(t, err)
		file("etc/schema/schema.json", string(text))
		for _, name := range []string{"backup.sh", "restore.sh"} {
			script, err := os.ReadFile("../../components/galera/" + name)
			require.NoError(t, err)
			file("backup-etc/"+name, string(script))
		}
		file("backup-etc/backup.cnf", "[client]\nuser=galera-backup\npassword=password of the backup\nssl\nssl_ca=/etc/galera/tls/ca.crt\n")
	}
	b.ca = certificates(t, filepath.Join(b.dir, "0/etc/tls"))
	for o := 1; o < nodeCount; o++ {
		require.NoError(t, os.CopyFS(filepath.Join(b.dir, strconv.Itoa(o), "etc/tls"), os.DirFS(filepath.Join(b.dir, "0/etc/tls"))))
	}
	t.Cleanup(func() {
		for o := range nodeCount {
			b.kill(o)
		}
		if t.Failed() {
			for o := range nodeCount {
				text, _ := os.ReadFile(filepath.Join(b.dir, strconv.Itoa(o), "log"))
				lines := strings.Split(string(text), "\n")
				t.Logf("node %d:\n%s", o, strings.Join(lines[max(0, len(lines)-60):], "\n"))
			}
		}
	})
	return b
}

func (b *bed) start(ordinals ...int) {
	b.t.Helper()
	host, port, err := net.SplitHostPort(b.api.server.Listener.Addr().String())
	require.NoError(b.t, err)
	var hosts []string
	for o := range nodeCount {
		hosts = append(hosts, address(o))
	}
	for _, o := range ordinals {
		log, err := os.OpenFile(filepath.Join(b.dir, strconv.Itoa(o), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		require.NoError(b.t, err)
		cmd := b.inPod(o, "/run/mysqld/galera-node", "run")
		cmd.Stdout, cmd.Stderr = log, log
		cmd.Env = []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "KUBERNETES_SERVICE_HOST=" + host, "KUBERNETES_SERVICE_PORT=" + port,
			pod.EnvName + "=db-" + strconv.Itoa(o), pod.EnvNamespace + "=test", pod.EnvIP + "=" + address(o), pod.EnvCluster + "=db", pod.EnvRecord + "=db-record",
			pod.EnvPeers + "=" + strings.Join(hosts, ","), pod.EnvOptions + "=" + providerOptions,
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		require.NoError(b.t, cmd.Start())
		b.cmds[o], b.logs[o] = cmd, log
	}
}

// inPod is a command in a pod of a node's volumes.
func (b *bed) inPod(o int, args ...string) *exec.Cmd {
	return exec.Command("unshare", append([]string{"-mpf", "--kill-child", "sh", "-c", inPod, "pod", b.root, filepath.Join(b.dir, strconv.Itoa(o))}, args...)...)
}

// job runs one of the scripts of backups in a pod of a node's volume.
func (b *bed) job(o int, env string, script ...string) (string, error) {
	b.t.Helper()
	began := time.Now()
	cmd := b.inPod(o, append([]string{"sh", "/etc/galera-backup/" + script[0]}, script[1:]...)...)
	cmd.Env = append(strings.Fields(env), "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	out, err := cmd.CombinedOutput()
	b.t.Logf("%s: %.1f s", strings.Join(script, " "), time.Since(began).Seconds())
	return string(out), err
}

// empty loses a node's volume.
func (b *bed) empty(o int) {
	b.t.Helper()
	data := filepath.Join(b.dir, strconv.Itoa(o), "data")
	require.NoError(b.t, os.RemoveAll(data))
	require.NoError(b.t, os.Mkdir(data, 0o755))
	require.NoError(b.t, os.Chown(data, 999, 999))
}

// kill ends nodes as a power cut does: nobody is told.
func (b *bed) kill(ordinals ...int) {
	for _, o := range ordinals {
		if b.cmds[o] != nil {
			_ = b.cmds[o].Process.Kill() // unshare, and with it the namespace's first process
		}
	}
	for _, o := range ordinals {
		if b.cmds[o] != nil {
			_ = b.cmds[o].Wait()
			b.logs[o].Close()
			b.cmds[o] = nil
		}
	}
}

// stop ends a node as the kubelet does.
func (b *bed) stop(o int) {
	b.t.Helper()
	// unshare's only child is the first process of the namespace.
	text, err := os.ReadFile(fmt.Sprintf("/proc/%[1]d/task/%[1]d/children", b.cmds[o].Process.Pid))
	require.NoError(b.t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(b.t, err)
	require.NoError(b.t, syscall.Kill(pid, syscall.SIGTERM))
	require.NoError(b.t, b.cmds[o].Wait(), "the server ends in order")
	b.logs[o].Close()
	b.cmds[o] = nil
}

// signal sends a signal to all processes of a node.
func (b *bed) signal(o int, s syscall.Signal) {
	b.t.Helper()
	for left := []int{b.cmds[o].Process.Pid}; len(left) > 0; left = left[1:] {
		// A process belongs to the thread that started it.
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", left[0]))
		require.NoError(b.t, err)
		for _, thread := range threads {
			text, _ := os.ReadFile(thread) // or it has ended
			for word := range strings.FieldsSeq(string(text)) {
				pid, err := strconv.Atoi(word)
				require.NoError(b.t, err)
				require.NoError(b.t, syscall.Kill(pid, s))
				left = append(left, pid)
			}
		}
	}
}

// takesOver waits for rows that another node than the writer has taken, and says when
// it was told to, and when it did.
func (b *bed) takesOver(c *client, w int) {
	b.t.Helper()
	began, n := time.Now(), c.count()
	var told, took time.Duration
	require.Eventually(b.t, func() bool {
		if now := b.api.writer(); told == 0 && now >= 0 && now != w {
			told = time.Since(began)
		}
		if took == 0 && told != 0 && c.count() > n {
			took = time.Since(began)
		}
		return told != 0 && c.count() >= n+50
	}, deadline, 10*time.Millisecond)
	b.t.Logf("another node has the writer's place after %.1f s, and takes writes after %.1f s", told.Seconds(), took.Seconds())
}

// phase is what a node says of itself.
func (b *bed) phase(o int) string {
	_, text := b.probe(o, "/ready")
	phase, _, _ := strings.Cut(text, ":")
	return phase
}

// probe is what the kubelet is told.
func (b *bed) probe(o int, path string) (bool, string) {
	c := &http.Client{Timeout: 3 * time.Second}
	r, err := c.Get("http://" + net.JoinHostPort(address(o), strconv.Itoa(pod.PortCheck)) + path)
	if err != nil {
		return false, err.Error()
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	return r.StatusCode == http.StatusOK, strings.TrimSpace(string(text))
}

func (b *bed) until(what string, condition func() bool) {
	b.t.Helper()
	began := time.Now()
	require.Eventually(b.t, condition, deadline, 200*time.Millisecond, what)
	b.t.Logf("%s: %.1f s", what, time.Since(began).Seconds())
}

func (b *bed) ready(ordinals ...int) {
	b.t.Helper()
	b.until(fmt.Sprintf("nodes %v are ready", ordinals), func() bool {
		for _, o := range ordinals {
			if b.cmds[o] == nil {
				return false
			}
			if live, why := b.probe(o, "/live"); !live && strings.Contains(why, ":") && !strings.Contains(why, "refused") {
				b.t.Errorf("node %d would be killed: %s", o, why)
			}
			if good, _ := b.probe(o, "/ready"); !good {
				return false
			}
		}
		return true
	})
}

// says waits until a node gives a decision with a reason.
func (b *bed) says(o int, action recovery.Action, reason string) {
	b.t.Helper()
	b.until(fmt.Sprintf("node %d: %s (%s)", o, action, reason), func() bool {
		_, text := b.probe(o, "/ready")
		return strings.Contains(text, string(action)+" (") && strings.Contains(text, reason)
	})
}

func (b *bed) open(o int) *sql.DB {
	b.t.Helper()
	db, err := sql.Open("mysql", `app:p'a"s\s@tcp(`+net.JoinHostPort(address(o), strconv.Itoa(pod.PortSQL))+")/app?timeout=2s&readTimeout=10s&writeTimeout=10s&tls=skip-verify")
	require.NoError(b.t, err)
	db.SetMaxOpenConns(4)
	b.t.Cleanup(func() { db.Close() })
	return db
}

// client writes to whoever is the writer and remembers what was acknowledged.
type client struct {
	cancel context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	acked  map[int64]bool
	sent   int64
	stall  time.Duration
}

func (b *bed) write() *client {
	ctx, cancel := context.WithCancel(context.Background())
	c := &client{cancel: cancel, done: make(chan struct{}), acked: map[int64]bool{}}
	var dbs [nodeCount]*sql.DB
	for o := range dbs {
		dbs[o] = b.open(o)
	}
	b.until("the table is there", func() bool {
		w := b.api.writer()
		if w < 0 {
			return false
		}
		_, err := dbs[w].Exec("CREATE TABLE IF NOT EXISTS journal (id BIGINT PRIMARY KEY)")
		return err == nil
	})
	var first int64
	require.NoError(b.t, dbs[b.api.writer()].QueryRow("SELECT COALESCE(MAX(id), 0) FROM journal").Scan(&first))
	c.sent = first
	go func() {
		defer close(c.done)
		last := time.Now()
		for ctx.Err() == nil {
			w := b.api.writer()
			if w < 0 {
				pause(ctx, 20*time.Millisecond)
				continue
			}
			c.sent++
			// How long it waits for a server that does not answer is a client's own choice.
			wait, done := context.WithTimeout(ctx, 2*time.Second)
			_, err := dbs[w].ExecContext(wait, "INSERT INTO journal VALUES (?)", c.sent)
			done()
			if err != nil {
				pause(ctx, 50*time.Millisecond)
				continue
			}
			c.mu.Lock()
			c.acked[c.sent] = true
			c.stall = max(c.stall, time.Since(last))
			c.mu.Unlock()
			last = time.Now()
		}
	}()
	return c
}

func (c *client) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acked)
}

func (c *client) end() {
	c.cancel()
	<-c.done
}

// lost are the acknowledged rows that a node does not have.
func (b *bed) lost(o int, c *client) int {
	b.t.Helper()
	rows, err := b.open(o).Query("SELECT id FROM journal")
	require.NoError(b.t, err)
	defer rows.Close()
	there := map[int64]bool{}
	for rows.Next() {
		var id int64
		require.NoError(b.t, rows.Scan(&id))
		there[id] = true
	}
	require.NoError(b.t, rows.Err())
	missing := 0
	for id := range c.acked {
		if !there[id] {
			missing++
		}
	}
	return missing
}

func (b *bed) nothingLost(c *client) {
	b.t.Helper()
	for o := range nodeCount {
		assert.Zero(b.t, b.lost(o, c), "acknowledged rows that node %d lacks, of %d", o, c.count())
	}
	b.t.Logf("%d rows acknowledged, all there on all nodes; longest wait %.1f s", c.count(), c.stall.Seconds())
}

// With real servers: what the decisions lead to.
func TestCluster(t *testing.T) {
	b := newBed(t)
	b.start(0, 1, 2)
	b.ready(0, 1, 2)
	require.Equal(t, 1, b.api.generation())
	b.until("one writer", func() bool { return b.api.writer() >= 0 })
	for o := range nodeCount {
		good, metrics := b.probe(o, "/metrics")
		require.True(t, good, metrics)
		require.Contains(t, metrics, `galera_node_component_size{cluster="db"} 3`)
		require.Contains(t, metrics, `galera_node_local_state{cluster="db"} 4`)
	}

	t.Run("all die at once", func(t *testing.T) {
		b.t = t
		c := b.write()
		b.until("300 rows", func() bool { return c.count() >= 300 })
		b.kill(0, 1, 2)
		c.end()
		b.start(2)
		b.says(2, recovery.Wait, "nodes 0, 1 do not answer")
		b.start(1)
		b.says(1, recovery.Wait, "node 0 does not answer")
		require.Equal(t, 1, b.api.generation(), "nobody starts before all are seen")
		b.start(0)
		b.ready(0, 1, 2)
		require.Equal(t, 2, b.api.generation(), "one node has started the component")
		b.nothingLost(c)
	})

	t.Run("the newest comes back last", func(t *testing.T) {
		b.t = t
		c := b.write()
		b.until("rows", func() bool { return c.count() >= 50 })
		b.stop(2)
		n := c.count()
		b.until("more rows", func() bool { return c.count() >= n+50 })
		b.stop(1)
		n = c.count()
		b.until("rows on one node", func() bool { return c.count() >= n+50 })
		c.end()
		b.kill(0)
		generation := b.api.generation()
		b.start(1, 2)
		b.says(1, recovery.Wait, "node 0 does not answer")
		b.says(2, recovery.Wait, "node 0 does not answer")
		b.start(0)
		b.ready(0, 1, 2)
		require.Equal(t, generation+1, b.api.generation())
		b.nothingLost(c)
	})

	t.Run("one is killed under load", func(t *testing.T) {
		b.t = t
		generation := b.api.generation()
		c := b.write()
		b.until("rows", func() bool { return c.count() >= 50 })
		w := b.api.writer()
		b.kill(w)
		b.takesOver(c, w)
		b.start(w)
		b.ready(0, 1, 2)
		c.end()
		require.Equal(t, generation, b.api.generation())
		b.nothingLost(c)
	})

	// As with a power cut of its host, nothing answers and no connection is closed.
	t.Run("one hangs under load", func(t *testing.T) {
		b.t = t
		generation := b.api.generation()
		c := b.write()
		b.until("rows", func() bool { return c.count() >= 50 })
		w := b.api.writer()
		b.signal(w, syscall.SIGSTOP)
		b.takesOver(c, w)
		b.signal(w, syscall.SIGCONT)
		b.until("the one that hung sees it", func() bool { return b.phase(w) != "primary" })
		b.ready(0, 1, 2)
		c.end()
		require.Equal(t, generation, b.api.generation())
		b.nothingLost(c)
	})

	t.Run("one is cut off", func(t *testing.T) {
		b.t = t
		c := b.write()
		w := b.api.writer()
		_, err := b.open(w).Exec("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=1'")
		require.NoError(t, err)
		b.until("the one that is cut off takes no more", func() bool {
			good, text := b.probe(w, "/ready")
			return !good && strings.Contains(text, "non-primary")
		})
		_, err = b.open(w).Exec("INSERT INTO journal VALUES (-1)")
		require.Error(t, err, "a minority refuses writes")
		n := c.count()
		b.until("the others go on", func() bool { return c.count() >= n+50 && b.api.writer() != w })
		_, err = b.open(w).Exec("SET GLOBAL wsrep_provider_options = 'gmcast.isolate=0'")
		require.NoError(t, err)
		b.ready(0, 1, 2)
		c.end()
		b.nothingLost(c)
	})

	t.Run("the donor dies", func(t *testing.T) {
		b.t = t
		c := b.write()
		b.until("rows", func() bool { return c.count() >= 50 })
		b.kill(2)
		b.empty(2)
		b.start(2)
		donor := -1
		b.until("a donor", func() bool {
			for o := range 2 {
				var name, state string
				if b.open(o).QueryRow("SHOW GLOBAL STATUS LIKE 'wsrep_local_state'").Scan(&name, &state) == nil && state == "2" {
					donor = o
				}
			}
			return donor >= 0
		})
		b.kill(donor)
		b.start(donor)
		n := c.count()
		b.until("writes go on", func() bool { return c.count() >= n+50 })
		b.ready(0, 1, 2)
		c.end()
		b.nothingLost(c)
	})

	t.Run("all die and one volume is lost", func(t *testing.T) {
		b.t = t
		c := b.write()
		b.until("rows", func() bool { return c.count() >= 50 })
		c.end()
		generation := b.api.generation()
		b.kill(0, 1, 2)
		b.empty(1)
		b.start(0, 1, 2)
		for o := range nodeCount {
			b.says(o, recovery.Stop, "the volume of node 1")
		}
		require.Equal(t, generation, b.api.generation(), "nobody chooses by itself")
		b.api.giveUp(1)
		b.ready(0, 1, 2)
		require.Equal(t, generation+1, b.api.generation())
		b.nothingLost(c)
	})

	t.Run("restored to a time", func(t *testing.T) {
		b.t = t
		out, err := b.job(2, "BACKUP_HOST="+address(2)+" BACKUP_KEEP=2", "backup.sh", "logs")
		require.NoError(t, err, out)
		require.Contains(t, out, "copying all data", "the first logs come with a copy")
		copies, err := filepath.Glob(filepath.Join(b.dir, "2/backup/*Z"))
		require.NoError(t, err)
		require.Len(t, copies, 1)

		c := b.write()
		b.until("rows after the copy", func() bool { return c.count() >= 50 })
		b.kill(2)
		n := c.count()
		b.until("rows without the node of the logs", func() bool { return c.count() >= n+50 })
		b.start(2)
		b.ready(2)
		n = c.count()
		b.until("rows", func() bool { return c.count() >= n+50 })
		c.end()
		chosen := time.Now().Truncate(time.Second).Add(time.Second) // logs know seconds
		b.until("the next second", func() bool { return time.Now().After(chosen) })
		after := b.write()
		b.until("rows after the chosen time", func() bool { return after.count() >= 50 })
		after.end()
		out, err = b.job(2, "BACKUP_HOST="+address(2)+" BACKUP_KEEP=2", "backup.sh", "logs")
		require.NoError(t, err, out)
		require.NotContains(t, out, "copying all data", "the logs go on over a power cut")

		b.kill(0, 1, 2)
		to := chosen.UTC().Format(time.RFC3339)
		out, err = b.job(0, "RESTORE_TO="+to, "restore.sh")
		require.Error(t, err, out)
		for o := range nodeCount {
			b.empty(o)
		}
		// One volume, in pods of either node.
		require.NoError(t, os.Remove(filepath.Join(b.dir, "0/backup")))
		require.NoError(t, os.Rename(filepath.Join(b.dir, "2/backup"), filepath.Join(b.dir, "0/backup")))
		require.NoError(t, os.Symlink("../0/backup", filepath.Join(b.dir, "2/backup")))
		out, err = b.job(0, "RESTORE_TO="+time.Now().UTC().Add(time.Minute).Format(time.RFC3339), "restore.sh")
		require.Error(t, err, out)
		require.Contains(t, out, "copy newer ones, or choose an earlier time")
		b.empty(0)
		out, err = b.job(0, "RESTORE_TO="+to, "restore.sh")
		require.NoError(t, err, out)
		b.start(0, 1, 2)
		b.says(0, recovery.Stop, "is empty")
		b.api.giveUp(0, 1, 2)
		b.ready(0)
		require.Zero(t, b.lost(0, c), "rows of before the chosen time")
		require.Equal(t, after.count(), b.lost(0, after), "rows of after it")
		b.ready(0, 1, 2)
		b.nothingLost(c)
		out, err = b.job(2, "BACKUP_HOST="+address(2)+" BACKUP_KEEP=2", "backup.sh", "logs")
		require.Error(t, err, out)
		require.Contains(t, out, "do not go on", "those of a new volume are no part of the old ones")
	})

	t.Run("all volumes are lost", func(t *testing.T) {
		b.t = t
		b.kill(0, 1, 2)
		for o := range nodeCount {
			b.empty(o)
		}
		b.start(0, 1, 2)
		for o := range nodeCount {
			b.says(o, recovery.Stop, "restore a backup")
		}
	})
}

func tlsWithout(pool *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
}
