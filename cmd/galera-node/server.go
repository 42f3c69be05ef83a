package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "github.com/go-sql-driver/mysql" // the driver of the status

	"github.com/halinux/halinux/components/galera/pod"
	"github.com/halinux/halinux/components/galera/recovery"
)

// unfinished lies in the data folder while a new cluster is made: what is there
// then has never been anybody's.
const unfinished = "galera-node.unfinished"

// zeroUUID is that of no cluster.
const zeroUUID = "00000000-0000-0000-0000-000000000000"

// server is mariadbd and its folder.
type server struct {
	settings settings
	db       *sql.DB
	cmd      *exec.Cmd
	ended    chan struct{} // closed when cmd has ended
	err      error         // how it has ended
}

func newServer(s settings) (*server, error) {
	db, err := sql.Open("mysql", "mysql@unix("+s.socket+")/?timeout=2s&readTimeout=5s&writeTimeout=5s&interpolateParams=true")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(2)
	db.SetConnMaxLifetime(time.Minute)
	return &server{settings: s, db: db}, nil
}

// inspect says what the data folder of a server that does not run holds.
func (s *server) inspect(ctx context.Context) (recovery.Node, error) {
	n := recovery.Node{Ordinal: s.settings.ordinal, Phase: recovery.Deciding, Seqno: -1}
	entries, err := os.ReadDir(s.settings.data)
	if err != nil {
		return n, err
	}
	has := map[string]bool{}
	for _, e := range entries {
		has[e.Name()] = true
	}
	delete(has, "lost+found")
	if has[unfinished] || len(has) == 0 {
		return n, nil
	}
	if has["sst_in_progress"] || !has["ibdata1"] {
		n.Interrupted = true
		return n, nil
	}
	if has["grastate.dat"] {
		text, err := os.ReadFile(filepath.Join(s.settings.data, "grastate.dat"))
		if err != nil {
			return n, err
		}
		if n, err = parseState(n, text); err != nil {
			return n, fmt.Errorf("grastate.dat: %w", err)
		}
		// Galera takes the UUID away from data that it finds to differ from the
		// cluster's, and while it replaces it.
		if n.UUID == zeroUUID {
			n.UUID, n.Interrupted = "", true
			return n, nil
		}
	}
	if n.Seqno >= 0 {
		return n, nil
	}
	uuid, seqno, err := s.recover(ctx)
	if err != nil {
		return n, err
	}
	switch {
	case uuid != zeroUUID:
		n.UUID, n.Seqno = uuid, seqno
	case n.UUID == "":
		n.UUID = zeroUUID // a server's that was never in a cluster
	}
	return n, nil
}

// parseState reads grastate.dat.
func parseState(n recovery.Node, text []byte) (recovery.Node, error) {
	n.UUID = zeroUUID
	scanner := bufio.NewScanner(bytes.NewReader(text))
	for scanner.Scan() {
		key, value, found := strings.Cut(scanner.Text(), ":")
		value = strings.TrimSpace(value)
		if !found || strings.HasPrefix(key, "#") {
			continue
		}
		var err error
		switch strings.TrimSpace(key) {
		case "uuid":
			n.UUID = value
		case "seqno":
			n.Seqno, err = strconv.ParseInt(value, 10, 64)
		case "safe_to_bootstrap":
			n.SafeToBootstrap = value == "1"
		}
		if err != nil {
			return n, err
		}
	}
	return n, scanner.Err()
}

var position = regexp.MustCompile(`WSREP: Recovered position: ([0-9a-f-]{36}):(-?\d+)`)

// recover lets InnoDB recover, and returns the position that it then says to be at.
func (s *server) recover(ctx context.Context) (string, int64, error) {
	out, err := s.command(ctx, "mariadbd", "--wsrep-recover", "--wsrep-cluster-address=gcomm://", "--skip-networking", "--socket="+s.settings.socket, "--disable-log-error").CombinedOutput()
	found := position.FindSubmatch(out)
	if found == nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return "", -1, fmt.Errorf("mariadbd --wsrep-recover names no position (%v); its last words: %s", err, strings.Join(lines[max(0, len(lines)-5):], "; "))
	}
	seqno, err := strconv.ParseInt(string(found[2]), 10, 64)
	return string(found[1]), seqno, err
}

// command is a program of the server's on its folder, with the settings that all
// nodes share and those of its own number. Programs end with a signal when the
// context does.
func (s *server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, append([]string{
		"--defaults-file=" + s.settings.config, fmt.Sprintf("--defaults-group-suffix=-%d", s.settings.ordinal), "--datadir=" + s.settings.data,
	}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}

// create fills the folder for the first node of a new cluster.
func (s *server) create(ctx context.Context) error {
	if err := s.clear(); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.settings.data, unfinished), nil, 0o600); err != nil {
		return err
	}
	// Without the node's settings: with wsrep_on the server that it runs wants to
	// join a cluster. --force asks nobody for the host's name.
	out, err := exec.CommandContext(ctx, "mariadb-install-db", "--no-defaults", "--datadir="+s.settings.data, "--force",
		"--auth-root-authentication-method=socket", "--auth-root-socket-user=mysql", "--skip-test-db").CombinedOutput()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return fmt.Errorf("mariadb-install-db: %w: %s", err, strings.Join(lines[max(0, len(lines)-5):], "; "))
	}
	return nil
}

// clear empties a folder that has nothing in it, or what a first start that did
// not come to its end has left.
func (s *server) clear() error {
	entries, err := os.ReadDir(s.settings.data)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(s.settings.data, unfinished)); err != nil {
		for _, e := range entries {
			if e.Name() != "lost+found" {
				return fmt.Errorf("%s is not empty: %s", s.settings.data, e.Name())
			}
		}
		return nil
	}
	for _, e := range entries {
		if e.Name() == "lost+found" || e.Name() == unfinished {
			continue
		}
		if err := os.RemoveAll(filepath.Join(s.settings.data, e.Name())); err != nil {
			return err
		}
	}
	return os.Remove(filepath.Join(s.settings.data, unfinished))
}

// finished says that the folder is a member's from now on.
func (s *server) finished() error {
	err := os.Remove(filepath.Join(s.settings.data, unfinished))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// allow tells Galera that this node may start a primary component, which it
// refuses where it was not the last to leave: here the selection knows better.
func (s *server) allow(n recovery.Node) error {
	path := filepath.Join(s.settings.data, "grastate.dat")
	text := fmt.Sprintf("# GALERA saved state\nversion: 2.1\nuuid:    %s\nseqno:   %d\nsafe_to_bootstrap: 1\n", n.UUID, n.Seqno)
	if err := os.WriteFile(path+".new", []byte(text), 0o660); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// start starts mariadbd from the position of the node.
func (s *server) start(n recovery.Node, bootstrap bool) error {
	p := s.settings
	options := fmt.Sprintf("gmcast.listen_addr=tcp://%s:%d;ist.recv_addr=%s:%d", p.ip, pod.PortGroup, p.ip, pod.PortIST)
	if p.options != "" {
		options += ";" + p.options
	}
	args := []string{
		"--socket=" + p.socket, "--bind-address=" + p.ip, "--wsrep-provider-options=" + options,
		"--wsrep-cluster-name=" + p.cluster, "--wsrep-cluster-address=gcomm://" + strings.Join(p.peers, ","),
		"--wsrep-node-name=" + p.pod, fmt.Sprintf("--wsrep-node-address=%s:%d", p.ip, pod.PortGroup), "--wsrep-node-incoming-address=" + p.ip,
		fmt.Sprintf("--wsrep-sst-receive-address=%s:%d", p.ip, pod.PortSST),
	}
	if n.UUID != "" && n.Seqno >= 0 && !n.Interrupted {
		args = append(args, fmt.Sprintf("--wsrep-start-position=%s:%d", n.UUID, n.Seqno))
	}
	if bootstrap {
		args = append(args, "--wsrep-new-cluster")
	}
	s.cmd = s.command(context.Background(), "mariadbd", args...)
	s.cmd.Stdout, s.cmd.Stderr = os.Stderr, os.Stderr
	// Not in this program's group: a signal to that would end both at once.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.ended, s.err = make(chan struct{}), nil
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	return nil
}

// stop ends mariadbd in order, however long it takes: the kubelet has the last
// word, by the pod's grace period.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.ended
}

// state is what a running server says of itself.
type state struct {
	primary bool
	local   int // wsrep_local_state: 1 joining, 2 donor, 3 joined, 4 synced
	ready   bool
	uuid    string
	seqno   int64

	size      int           // wsrep_cluster_size
	queue     int           // wsrep_local_recv_queue
	conflicts int64         // wsrep_local_cert_failures
	paused    time.Duration // wsrep_flow_control_paused_ns
}

// ask asks the running server.
func (s *server) ask(ctx context.Context) (state, error) {
	var st state
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	rows, err := s.db.QueryContext(ctx, `SHOW GLOBAL STATUS WHERE Variable_name IN
		('wsrep_cluster_status', 'wsrep_local_state', 'wsrep_ready', 'wsrep_cluster_state_uuid', 'wsrep_last_committed',
		'wsrep_cluster_size', 'wsrep_local_recv_queue', 'wsrep_local_cert_failures', 'wsrep_flow_control_paused_ns')`)
	if err != nil {
		return st, err
	}
	defer rows.Close()
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return st, err
		}
		switch name {
		case "wsrep_cluster_status":
			st.primary = value == "Primary"
		case "wsrep_local_state":
			st.local, err = strconv.Atoi(value)
		case "wsrep_ready":
			st.ready = value == "ON"
		case "wsrep_cluster_state_uuid":
			st.uuid = value
		case "wsrep_last_committed":
			st.seqno, err = strconv.ParseInt(value, 10, 64)
		case "wsrep_cluster_size":
			st.size, err = strconv.Atoi(value)
		case "wsrep_local_recv_queue":
			st.queue, err = strconv.Atoi(value)
		case "wsrep_local_cert_failures":
			st.conflicts, err = strconv.ParseInt(value, 10, 64)
		case "wsrep_flow_control_paused_ns":
			var ns int64
			ns, err = strconv.ParseInt(value, 10, 64)
			st.paused = time.Duration(ns)
		}
		if err != nil {
			return st, fmt.Errorf("%s: %w", name, err)
		}
	}
	return st, rows.Err()
}
