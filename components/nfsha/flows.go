package nfsha

import (
	"cmp"
	"slices"

	"github.com/halinux/halinux/components/host"
)

// Flows are the traffic that the storage needs, for the firewall of every host.
func (a *NFSHAClusterArgs) Flows() []host.Flow {
	hosts := a.hostNames()
	flows := []host.Flow{
		{Name: "nfsha: corosync", To: hosts, Protocol: "udp", Ports: []int{corosyncPort, corosyncPort + 1}, From: hosts},
		{Name: "nfsha: drbd", To: hosts, Protocol: "tcp", Ports: []int{drbdPort}, From: hosts},
		{Name: "nfsha: witness", To: a.witnessNames(), Protocol: "tcp", Ports: []int{witnessPort}, From: hosts},
	}
	var clients []string
	for _, p := range a.Projects {
		clients = append(clients, p.Clients...)
	}
	slices.Sort(clients)
	if clients = slices.Compact(clients); len(clients) > 0 {
		flows = append(flows, host.Flow{Name: "nfsha: nfs", To: hosts, Protocol: "tcp", Ports: []int{nfsPort}, From: clients})
	}
	if a.Provisioner != nil {
		for _, p := range a.Projects {
			if p.Name == a.Provisioner.Project {
				flows = append(flows, host.Flow{Name: "nfsha: volumes", To: hosts, Protocol: "tcp", Ports: a.sshPorts(), From: p.Clients, Theirs: true})
			}
		}
	}
	return flows
}

// sshPorts are those that the storage hosts' sshd listens on.
func (a *NFSHAClusterArgs) sshPorts() []int {
	var ports []int
	for _, h := range a.Hosts {
		ports = append(ports, cmp.Or(h.SSH.Port, 22))
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}
