package main

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// The benchmark reads the settings that the lab's stack has.
func TestClusterSettings(t *testing.T) {
	text, err := os.ReadFile("../../" + clusterSettings)
	require.NoError(t, err)
	var s site
	require.NoError(t, s.read(text))
	require.Equal(t, []string{"master1", "master2", "master3"}, s.masters)
	require.Equal(t, []string{"worker1", "worker2"}, s.workers)
	require.Contains(t, s.hosts, "edge1")

	var plain, without site
	all, err := s.text("")
	require.NoError(t, err)
	require.NoError(t, plain.read(all))
	require.Equal(t, s.settings, plain.settings)
	less, err := s.text("worker2")
	require.NoError(t, err)
	require.ErrorContains(t, without.read(less), "are too few", "one worker is left")
	require.Equal(t, s.hosts, without.hosts, "it stays a host")
	require.NoError(t, yaml.Unmarshal(text, &plain.settings))
	require.Equal(t, s.settings, plain.settings, "the settings themselves stay as they are")
}

func TestPhaseTimes(t *testing.T) {
	const said = ` +  command:remote:Command base-edge1-preflight created (0.91s)
 +  command:remote:Command kubernetes-master1-control-plane creating (0s)
 +  command:remote:Command kubernetes-master1-control-plane created (41s)
 +  command:remote:Command kubernetes-master2-control-plane created (1m2.5s)
 +  command:remote:Command kubernetes-master1-kubernetes created (9.50s)
 +  halinux:index:KubeadmCluster kubernetes created (3s)
`
	took := phaseTimes(said, []string{"edge1", "master1", "master2"})
	require.Equal(t, map[string][]time.Duration{
		"base/preflight":           {910 * time.Millisecond},
		"kubernetes/control-plane": {41 * time.Second, 62500 * time.Millisecond},
		"kubernetes/kubernetes":    {9500 * time.Millisecond},
	}, took)
	require.Equal(t, []string{"kubernetes/control-plane", "kubernetes/kubernetes", "base/preflight"}, sortedByTime(took))
}

func TestFloor(t *testing.T) {
	took, err := parseFloor("a word of kubeadm\ntook 20480 ms\n")
	require.NoError(t, err)
	require.Equal(t, 20480*time.Millisecond, took)
	for _, out := range []string{"", "took long\n", "took 0 ms\n"} {
		_, err := parseFloor(out)
		require.Error(t, err, out)
	}
}

func TestClusterFigures(t *testing.T) {
	f := clusterFigures{
		bare: 180 * time.Second, again: 5 * time.Second, joined: 20 * time.Second, floor: 36 * time.Second,
		took:    map[string][]time.Duration{"kubernetes/control-plane": {40 * time.Second, 20 * time.Second}, "base/packages": {time.Second}},
		touched: map[string]int{"master1": 0, "worker1": 2, "edge1": 1},
		masters: []string{"master1"}, workers: []string{"worker1", "worker2"},
	}
	values := map[string]float64{}
	for _, m := range f.measurements() {
		require.Equal(t, "bench-cluster", m.ID)
		values[m.Metric] = m.Value
	}
	require.InDelta(t, 5, values["bare hosts to all nodes ready, against kubeadm init alone"], 1e-9)
	require.InDelta(t, 2, values["SSH connections to other nodes for one more worker"], 1e-9)
	require.InDelta(t, 1, values["SSH connections to hosts that are no nodes for one more worker"], 1e-9)
	require.InDelta(t, 60, values["phase kubernetes/control-plane, one after the other"], 1e-9)
	require.NotContains(t, values, "phase base/packages, longest")
}
