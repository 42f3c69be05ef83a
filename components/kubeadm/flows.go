package kubeadm

import (
	"net"
	"slices"
	"strconv"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/haedge"
	"github.com/halinux/halinux/components/host"
)

// Ports of nodes.
const (
	apiPort     = 6443
	etcdPort    = 2379 // of clients; the next one is its peers'
	kubeletPort = 10250
)

// Flows are the traffic that the cluster needs, for the firewall of every host.
// What any node may send is let in from the nodes' network and not from a list of
// nodes: with one, a worker that is added would change the firewall of all others.
func (a *KubeadmClusterArgs) Flows() []host.Flow {
	masters, nodes := host.Names(a.ControlPlanes), host.Names(slices.Concat(a.ControlPlanes, a.Workers))
	flows := []host.Flow{
		{Name: "kubeadm: api", To: masters, Protocol: "tcp", Ports: []int{apiPort}, From: append([]string{a.Network}, a.Edges...)},
		{Name: "kubeadm: etcd", To: masters, Protocol: "tcp", Ports: []int{etcdPort, etcdPort + 1}, From: masters},
		{Name: "kubeadm: kubelet", To: nodes, Protocol: "tcp", Ports: []int{kubeletPort}, From: masters},
		// Pods talk to the host they run on.
		{Name: "kubeadm: pods", To: nodes, Protocol: "tcp", Ports: []int{apiPort, kubeletPort}, From: []string{a.pods()}},
	}
	if to := a.Snapshots.CopyTo; to != "" {
		flows = append(flows, host.Flow{Name: "kubeadm: snapshots", To: []string{to}, Protocol: "tcp", Ports: []int{22}, Theirs: true, From: masters})
	}
	if a.Flannel.backend() == "vxlan" {
		flows = append(flows, host.Flow{Name: "kubeadm: vxlan", To: nodes, Protocol: "udp", Ports: []int{a.Flannel.port()}, From: []string{a.Network}})
	}
	if !a.Ingress.Off && len(a.Edges) > 0 && len(a.Workers) > 0 {
		flows = append(flows, host.Flow{Name: "kubeadm: ingress", To: host.Names(a.Workers), Protocol: "tcp", Ports: []int{a.Ingress.port(), a.Ingress.checkPort()}, From: a.Edges})
	}
	return flows
}

// Service leads from a VIP of an edge to the API servers. The edge asks them by
// TLS whether they can serve, not whether their port is open; authority is
// [Authorities.CA].
func (a *KubeadmClusterArgs) Service(vip string, authority pulumi.StringInput) haedge.Service {
	s := haedge.Service{
		Name: "kubernetes", Port: a.Endpoint.port(), VIPs: []string{vip},
		Check: haedge.ServiceCheck{Type: "https", Path: "/readyz", Host: "kubernetes", CA: authority},
	}
	for _, h := range a.ControlPlanes {
		s.Backends = append(s.Backends, haedge.Backend{Host: h.Name, Port: apiPort})
	}
	return s
}

// Site makes a site of an edge one that leads to the ingress controller: its
// backends are all workers that are in use.
func (a *KubeadmClusterArgs) Site(s haedge.Site) haedge.Site {
	s.Backends = nil
	for _, h := range a.inUse() {
		s.Backends = append(s.Backends, haedge.Backend{Host: h, Port: a.Ingress.port()})
	}
	s.Check.Port, s.Check.Path = a.Ingress.checkPort(), "/ping"
	return s
}

// IngressFrom are the networks that the ingress controller's requests reach pods from:
// for network policies. Those of the pod's own node are under none. With VXLAN they come
// from addresses of the pods' range, which no policy can tell from pods.
func (a *KubeadmClusterArgs) IngressFrom() []string {
	if a.Flannel.backend() == "vxlan" {
		return []string{a.pods()}
	}
	var all []string
	for _, h := range a.Workers {
		all = append(all, a.address(h.Name)+"/32")
	}
	return all
}

// TrustedProxies are all networks that the ingress controller's requests reach pods
// from: on its own node it comes from the node's address in the pods' range.
func (a *KubeadmClusterArgs) TrustedProxies() []string {
	return slices.Compact(append(a.IngressFrom(), a.pods()))
}

// APIServers are where pods reach the API, behind the service "kubernetes": for
// network policies.
func (a *KubeadmClusterArgs) APIServers() []string {
	var all []string
	for _, h := range a.ControlPlanes {
		all = append(all, net.JoinHostPort(a.address(h.Name), strconv.Itoa(apiPort)))
	}
	return all
}
