// Package lab runs real hosts on one machine: each with its own systemd, sshd,
// addresses and disks, in network namespaces that nothing leads out of.
//
// A topology (data, topology.yaml) names networks and hosts. Each host runs
// under a driver that is chosen by what the host needs: a system container, or
// a virtual machine where it needs a kernel of its own. The verbs are those of
// a machine room: up, down, crash, restart, cut, heal, slow.
//
// The lab knows nothing of the components that will run on its hosts. To them
// it is a list of addresses and a key that root accepts.
package lab
