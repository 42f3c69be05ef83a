package main

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/halinux/halinux/components/galera/pod"
	"github.com/halinux/halinux/components/galera/recovery"
)

const aUUID = "e365f369-e618-11f1-9d51-97e46530baf1"

func grastate(uuid, seqno, safe string) string {
	return "# GALERA saved state\nversion: 2.1\nuuid:    " + uuid + "\nseqno:   " + seqno + "\nsafe_to_bootstrap: " + safe + "\n"
}

// What is in a folder is what a node says that it has.
func TestInspect(t *testing.T) {
	bin := t.TempDir()
	fake := func(says string) {
		require.NoError(t, os.WriteFile(filepath.Join(bin, "mariadbd"), []byte("#!/bin/sh\necho \""+says+"\" >&2\n"), 0o755))
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for _, c := range []struct {
		name  string
		files map[string]string
		says  string
		want  recovery.Node
		fails string
	}{
		{"an empty volume", map[string]string{"lost+found/x": ""}, "", recovery.Node{Seqno: -1}, ""},
		{"a first start that was cut short", map[string]string{unfinished: "", "ibdata1": ""}, "", recovery.Node{Seqno: -1}, ""},
		{"ended in order", map[string]string{"ibdata1": "", "grastate.dat": grastate(aUUID, "42", "1")}, "", recovery.Node{UUID: aUUID, Seqno: 42, SafeToBootstrap: true}, ""},
		{
			"killed", map[string]string{"ibdata1": "", "grastate.dat": grastate(aUUID, "-1", "0")},
			"[Note] WSREP: Recovered position: " + aUUID + ":77", recovery.Node{UUID: aUUID, Seqno: 77}, "",
		},
		{"a transfer that was cut short", map[string]string{"ibdata1": "", "sst_in_progress": "", "grastate.dat": grastate(aUUID, "42", "0")}, "", recovery.Node{Seqno: -1, Interrupted: true}, ""},
		{"Galera took its cluster away", map[string]string{"ibdata1": "", "grastate.dat": grastate(zeroUUID, "-1", "0")}, "", recovery.Node{Seqno: -1, Interrupted: true}, ""},
		{"a part of a folder", map[string]string{"ib_logfile0": ""}, "", recovery.Node{Seqno: -1, Interrupted: true}, ""},
		{
			"a server's that was in no cluster", map[string]string{"ibdata1": ""},
			"[Note] WSREP: Recovered position: " + zeroUUID + ":-1", recovery.Node{UUID: zeroUUID, Seqno: -1}, "",
		},
		{"no position", map[string]string{"ibdata1": "", "grastate.dat": grastate(aUUID, "-1", "0")}, "[ERROR] InnoDB: corrupt", recovery.Node{UUID: aUUID, Seqno: -1}, "InnoDB: corrupt"},
		{"no number", map[string]string{"ibdata1": "", "grastate.dat": grastate(aUUID, "many", "0")}, "", recovery.Node{UUID: aUUID}, "grastate.dat"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settings{ordinal: 1, data: t.TempDir()}
			for name, text := range c.files {
				require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(s.data, name)), 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(s.data, name), []byte(text), 0o600))
			}
			fake(c.says)
			got, err := (&server{settings: s}).inspect(t.Context())
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
			} else {
				require.NoError(t, err)
			}
			c.want.Ordinal, c.want.Phase = 1, recovery.Deciding
			assert.Equal(t, c.want, got)
		})
	}
}

// What is nobody's is removed before a start; anything else stays where it is.
func TestClear(t *testing.T) {
	s := &server{settings: settings{data: t.TempDir()}}
	require.NoError(t, s.clear())
	file := filepath.Join(s.settings.data, "ibdata1")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.ErrorContains(t, s.clear(), "is not empty")
	require.FileExists(t, file)
	require.NoError(t, os.WriteFile(filepath.Join(s.settings.data, unfinished), nil, 0o600))
	require.NoError(t, s.clear())
	require.NoFileExists(t, file)
	require.NoFileExists(t, filepath.Join(s.settings.data, unfinished))
}

func TestAllowedToStart(t *testing.T) {
	s := &server{settings: settings{data: t.TempDir()}}
	require.NoError(t, s.allow(recovery.Node{UUID: aUUID, Seqno: 12}))
	text, err := os.ReadFile(filepath.Join(s.settings.data, "grastate.dat"))
	require.NoError(t, err)
	n, err := parseState(recovery.Node{}, text)
	require.NoError(t, err)
	assert.Equal(t, recovery.Node{UUID: aUUID, Seqno: 12, SafeToBootstrap: true}, n)
}

func TestSettings(t *testing.T) {
	env := map[string]string{
		pod.EnvName: "db-1", pod.EnvNamespace: "todo", pod.EnvIP: "10.244.1.7", pod.EnvCluster: "todo-db", pod.EnvRecord: "db-record",
		pod.EnvPeers: "db-0.n,db-1.n,db-2.n",
	}
	get := func(name string) string { return env[name] }
	s, err := settingsOf(get)
	require.NoError(t, err)
	assert.Equal(t, 1, s.ordinal)
	assert.Equal(t, "db-2", s.podOf(2))
	for name, bad := range map[string]string{pod.EnvName: "db", pod.EnvIP: "here", pod.EnvPeers: "db-0.n", pod.EnvRecord: ""} {
		good := env[name]
		env[name] = bad
		_, err := settingsOf(get)
		require.ErrorContains(t, err, name)
		env[name] = good
	}
}

func TestStatements(t *testing.T) {
	var texts []string
	for _, q := range statements(pod.Schema{
		Databases: []pod.Database{{Name: "to`do", CharacterSet: "utf8mb4", Collation: "utf8mb4_bin"}},
		Users: []pod.User{{Name: "todo", Host: "%", Password: "secret of todo", MaxConnections: 5, Grants: []pod.Grant{
			{Database: "to`do", Privileges: []string{"SELECT", "INSERT"}}, {Database: "*", Privileges: []string{"PROCESS"}},
		}}},
	}) {
		texts = append(texts, q.text)
		assert.NotContains(t, q.text, "secret", "secrets are arguments")
	}
	assert.Equal(t, []string{
		"CREATE DATABASE IF NOT EXISTS `to``do` CHARACTER SET `utf8mb4` COLLATE `utf8mb4_bin`",
		"CREATE USER IF NOT EXISTS ?@?",
		"ALTER USER ?@? IDENTIFIED BY ? REQUIRE NONE WITH MAX_USER_CONNECTIONS 5",
		"GRANT SELECT, INSERT ON `to``do`.* TO ?@?",
		"GRANT PROCESS ON *.* TO ?@?",
	}, texts)
}

// recordAt is a way to a stand-in for the API.
func recordAt(t *testing.T, s *standIn) *api {
	t.Helper()
	client, err := dynamic.NewForConfig(&rest.Config{Host: s.server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	require.NoError(t, err)
	of := func(group, resource string) dynamic.ResourceInterface {
		return client.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}).Namespace("test")
	}
	return &api{maps: of("", "configmaps"), pods: of("", "pods"), jobs: of("batch", "cronjobs"), name: "db-record"}
}

// Of two that start a component from the same record, one may.
func TestTheRecordIsALock(t *testing.T) {
	s := newStandIn()
	defer s.server.Close()
	a := recordAt(t, s)
	first, err := a.read(t.Context())
	require.NoError(t, err)
	assert.Equal(t, -1, first.writer)
	s.giveUp(2)
	first, err = a.read(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []int{2}, first.lost)
	second, err := a.read(t.Context())
	require.NoError(t, err)
	first.Record, first.lost = recovery.Record{UUID: aUUID, Generation: 1, Seqnos: map[int]int64{0: 7}}, nil
	require.NoError(t, a.write(t.Context(), first))
	second.Record = recovery.Record{UUID: aUUID, Generation: 1}
	require.Error(t, a.write(t.Context(), second))
	now, err := a.read(t.Context())
	require.NoError(t, err)
	assert.Equal(t, map[int]int64{0: 7}, now.Seqnos)
	assert.Empty(t, now.lost, "what was given up was given up for one start")

	s.mu.Lock()
	s.record["data"] = map[string]any{pod.KeyRecord: "{"}
	s.mu.Unlock()
	_, err = a.read(t.Context())
	require.ErrorContains(t, err, pod.KeyRecord, "what cannot be read is not taken for nothing")
	require.NoError(t, a.label(t.Context(), "db-1", true))
	assert.Equal(t, 1, s.writer())
	require.NoError(t, a.label(t.Context(), "db-1", false))
	assert.Equal(t, -1, s.writer())
	_, err = a.maps.Get(t.Context(), "other", metav1.GetOptions{})
	require.Error(t, err)
}

// Nodes tell each other how they are, and nobody else.
func TestPeers(t *testing.T) {
	dir := t.TempDir()
	pool := certificates(t, dir)
	of := func(ordinal int) settings {
		return settings{ordinal: ordinal, ip: address(ordinal), cluster: "db", tls: dir, interval: time.Second, peers: []string{address(0), address(1), address(2)}}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- newPeers(of(1)).serve(ctx, func() recovery.Node {
			return recovery.Node{Ordinal: 1, Phase: recovery.Deciding, UUID: aUUID, Seqno: 5}
		})
	}()
	asker := newPeers(of(0))
	require.Eventually(t, func() bool { return len(asker.ask(t.Context())) == 1 }, 10*time.Second, 50*time.Millisecond)
	assert.Equal(t, map[int]recovery.Node{1: {Ordinal: 1, Phase: recovery.Deciding, UUID: aUUID, Seqno: 5}}, asker.ask(t.Context()))

	other := of(0)
	other.cluster = "another"
	assert.Empty(t, newPeers(other).ask(t.Context()), "a node of another cluster is none")
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsWithout(pool)}, Timeout: 5 * time.Second}
	_, err := stranger.Get("https://" + address(1) + ":8443/node")
	require.Error(t, err, "who has no certificate is told nothing")
	cancel()
	require.NoError(t, <-ended)
}

// Who joins is alive, however long it takes.
func TestALongJoinIsAlive(t *testing.T) {
	n := newNode(settings{ordinal: 0, ip: address(0), interval: time.Millisecond}, nil, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.check(ctx) }()
	ask := func(path string) string {
		r, err := http.Get("http://" + address(0) + ":8080" + path)
		if err != nil {
			return err.Error()
		}
		defer r.Body.Close()
		return r.Status
	}
	require.Eventually(t, func() bool { return strings.HasPrefix(ask("/live"), "200") }, 10*time.Second, 20*time.Millisecond)
	for phase, want := range map[recovery.Phase]string{recovery.Deciding: "200", recovery.Joining: "200", recovery.Bootstrapping: "200", recovery.Primary: "503", recovery.NonPrimary: "503"} {
		n.set(func() { n.self.Phase = phase })
		assert.True(t, strings.HasPrefix(ask("/live"), want), "%s, with a server that has not answered for long", phase)
		assert.True(t, strings.HasPrefix(ask("/ready"), "503"), phase)
	}
	n.set(func() { n.donor = true })
	assert.True(t, strings.HasPrefix(ask("/live"), "200"), "a donor")
	n.set(func() { n.serving = true })
	assert.True(t, strings.HasPrefix(ask("/ready"), "200"))
	cancel()
	require.NoError(t, <-ended)
}

// What a node tells of itself, of its certificate and of backups; and the rules ask
// for nothing else.
func TestMetrics(t *testing.T) {
	s := newStandIn()
	defer s.server.Close()
	dir := t.TempDir()
	certificates(t, dir)
	n := newNode(settings{
		ordinal: 1, peers: []string{"a", "b", "c"}, cluster: "todo-db", tls: dir, interval: time.Second, backups: []string{"db-backup", "db-logs"},
	}, recordAt(t, s), slog.New(slog.DiscardHandler))
	registry, err := n.registry()
	require.NoError(t, err)
	gather := func() map[string]float64 {
		families, err := registry.Gather()
		require.NoError(t, err)
		values := map[string]float64{}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					if l.GetName() == "cronjob" {
						name += " " + l.GetValue()
					} else {
						assert.Equal(t, "todo-db", l.GetValue(), l.GetName())
					}
				}
				values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
		return values
	}
	silent := gather()
	assert.Zero(t, silent["galera_node_up"])
	assert.NotContains(t, silent, "galera_node_component_size", "a server that says nothing")
	assert.InDelta(t, time.Now().Add(24*time.Hour).Unix(), silent["galera_node_certificate_end_time_seconds"], 60)

	n.self.Phase, n.serving, n.writes, n.answered = recovery.Primary, true, true, time.Now()
	n.status = state{primary: true, local: 4, size: 2, queue: 7, conflicts: 3, seqno: 99, paused: 1500 * time.Millisecond}
	n.backups, err = n.api.cronJobs(t.Context(), n.settings.backups)
	require.NoError(t, err)
	values := gather()
	for name, want := range map[string]float64{
		"nodes": 3, "up": 1, "member": 1, "serving": 1, "writer": 1, "stopped": 0, "component_size": 2, "local_state": 4, "receive_queue": 7, "last_committed": 99,
		"flow_control_paused_seconds_total": 1.5, "certification_failures_total": 3,
		"backup_schedule_time_seconds db-backup": 1793241000, "backup_success_time_seconds db-backup": 1793241060,
		"backup_schedule_time_seconds db-logs": 1793241000, "backup_success_time_seconds db-logs": 0,
	} {
		assert.InDelta(t, want, values["galera_node_"+name], 0.01, name)
	}
	n.decision.Action = recovery.Stop
	assert.InDelta(t, 1, gather()["galera_node_stopped"], 0)

	alerts, err := os.ReadFile("../../components/galera/alerts.yaml")
	require.NoError(t, err)
	asked := regexp.MustCompile(`galera_node_[a-z_]+`).FindAllString(string(alerts), -1)
	require.NotEmpty(t, asked)
	told := strings.Join(slices.Collect(maps.Keys(values)), " ") + " "
	for _, name := range asked {
		assert.Contains(t, told, name+" ")
	}
}

// Of all processes those whose parent is the first one are left behind.
func TestOrphans(t *testing.T) {
	proc := t.TempDir()
	for pid, stat := range map[string]string{
		"1": "1 (galera-node) S 0 1 1", "7": "7 (galera-node) S 1 1 1", "20": "20 (mariadbd) S 7 20 1",
		"31": "31 (bash) S 1 20 1", "32": "32 (so) S 9 (cat) S 1 20 1", "33": "33 (socat) S 31 20 1", "34": "34 (awk) Z 1 20 1", "self": "",
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(proc, pid), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(proc, pid, "stat"), []byte(stat), 0o644))
	}
	assert.ElementsMatch(t, []int{31, 32}, orphans(proc, 7))
	assert.Empty(t, orphans(filepath.Join(proc, "none"), 7))
}
