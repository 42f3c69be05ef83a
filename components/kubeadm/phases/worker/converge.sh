#!/bin/sh
# shellcheck shell=sh disable=SC2154
# A worker joins, once, by kubeadm's own phases.
place
# The kubelet writes kubelet.conf itself, when it has got its certificate.
if [ ! -e /etc/kubernetes/kubelet.conf ] || [ ! -e /var/lib/kubelet/config.yaml ]; then
	# Left by a run that was cut short.
	rm -f /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/pki/ca.crt
	sed "s|WORK|$work|" /etc/kubernetes/halinux/join.yaml >"$work/join.yaml"
	say "kubeadm join phase kubelet-start"
	kubeadm join phase kubelet-start --config "$work/join.yaml" >"$work/kubeadm" 2>&1 ||
		{ tail -n 15 "$work/kubeadm"; fail "this host could not join the cluster" "kubeadm's words are above"; }
fi
service kubelet.service start
# The kubelet may look at its own node.
ready() {
	[ "$(kubectl --kubeconfig /etc/kubernetes/kubelet.conf get node "$host" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null)" = True ]
}
wait_for 240 "the node is ready" ready || fail "the node $host does not become ready" "look at journalctl -u kubelet, and at kubectl describe node $host"
# The kubelet has a certificate of its own by now, and gets the next ones by itself.
rm -f /etc/kubernetes/bootstrap-kubelet.conf
# It is ready before its pods reach those of other nodes.
network() { [ -e /run/flannel/subnet.env ] && { nft list tables | grep -q ' kube-proxy$' || nft list chain ip nat KUBE-SERVICES; }; }
wait_for 240 "its pods reach the cluster" network || fail "flannel and kube-proxy do not run on $host" "look at the logs below /var/log/pods"
# Out of use for as long as the settings say so. What others have cordoned stays so.
k() { kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout 15s "$@"; }
if [ "${drain:-no}" = yes ]; then
	k annotate node "$host" --overwrite halinux/drained=yes
	/usr/local/lib/halinux/drain "$host" 480 ||
		fail "not all pods have left $host" "their disruption budgets do not let them; free room elsewhere or relax the budgets, and run it again"
elif was=$(k get node "$host" -o jsonpath='{.metadata.annotations.halinux/drained}') && [ -n "$was" ]; then
	k patch node "$host" --type merge -p '{"metadata":{"annotations":{"halinux/drained":null}},"spec":{"unschedulable":null}}'
fi
