package kubeadm

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/halinux/halinux/components/host"
)

// labels of a node as KEY=VALUE, sorted.
func (a *KubeadmClusterArgs) labels(h string) []string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(a.Nodes[h].Labels)) {
		words = append(words, k+"="+a.Nodes[h].Labels[k])
	}
	return words
}

// inUse are the workers that are not drained.
func (a *KubeadmClusterArgs) inUse() []string {
	return slices.DeleteFunc(host.Names(a.Workers), func(h string) bool { return a.Nodes[h].Drain })
}

// reserved are the node's reserved resources, sorted.
func (n Node) reserved() []argument {
	var all []argument
	for _, k := range sortedKeys(n.Reserved) {
		all = append(all, argument{k, n.Reserved[k]})
	}
	return all
}

// labelsPhase gives a node that has joined its labels.
func (a *KubeadmClusterArgs) labelsPhase(h string) (host.Phase, error) {
	p, err := host.NewPhase(phases, "labels", host.Embedded(phases, lib+"node-labels", "phases/labels/node-labels.sh").Executable())
	p.Vars = map[string]string{"labels": strings.Join(a.labels(h), " ")}
	return p, err
}

// taintsPhase gives nodes that have joined their taints, where there are any.
func (a *KubeadmClusterArgs) taintsPhase() ([]host.Phase, error) {
	var lines strings.Builder
	for _, h := range sortedKeys(a.Nodes) {
		for _, t := range a.Nodes[h].Taints {
			fmt.Fprintf(&lines, "%s %s=%s:%s\n", h, t.Key, t.Value, t.Effect)
		}
	}
	if lines.Len() == 0 {
		return nil, nil
	}
	p, err := host.NewPhase(phases, "taints",
		host.Embedded(phases, lib+"node-taints", "phases/taints/node-taints.sh").Executable(),
		host.File{Path: "/etc/kubernetes/halinux/taints", Content: lines.String()},
	)
	return []host.Phase{p}, err
}

// gonePhase takes nodes that are gone for good off the cluster's lists.
func (a *KubeadmClusterArgs) gonePhase() ([]host.Phase, error) {
	if len(a.Gone) == 0 {
		return nil, nil
	}
	first := a.ControlPlanes[0].Name
	p, err := host.NewPhase(phases, "gone")
	p.Vars = map[string]string{"gone": strings.Join(a.Gone, " "), "address": a.address(first), "peers": strings.Join(a.peers(first), " ")}
	return []host.Phase{p}, err
}

// ofKubelets are the labels of Kubernetes' own that a kubelet may give its node
// (k8s.io/kubelet/pkg/apis, IsKubeletLabel); those that it sets from what the host
// is are not among them.
var ofKubelets = []string{"topology.kubernetes.io/zone", "topology.kubernetes.io/region", "node.kubernetes.io/instance-type"}

// isKubeletLabel says whether a node may give itself this label, and why not.
func isKubeletLabel(key string) (bool, string) {
	domain, _, prefixed := strings.Cut(key, "/")
	if !prefixed || !isKubernetes(domain) || slices.Contains(ofKubelets, key) {
		return true, ""
	}
	for _, d := range []string{"node.kubernetes.io", "kubelet.kubernetes.io"} {
		if domain == d || strings.HasSuffix(domain, "."+d) {
			return true, ""
		}
	}
	return false, domain
}
