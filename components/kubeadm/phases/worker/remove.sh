#!/bin/sh
# shellcheck shell=sh disable=SC2154
# A worker leaves: empty, within the budgets of its pods, and off the list.
kubeconfig=/etc/kubernetes/kubelet.conf
if [ -e $kubeconfig ] && kubectl --kubeconfig $kubeconfig --request-timeout 15s get node "$host" >/dev/null 2>&1; then
	/usr/local/lib/halinux/drain "$host" 480 ||
		fail "not all pods have left $host" "their disruption budgets do not let them; free room elsewhere or relax the budgets, and run it again"
	# A kubelet that lives would put itself on the list again.
	no_service kubelet.service
	kubectl --kubeconfig $kubeconfig --request-timeout 15s delete node "$host" --wait=false || say "$host stays on the list of nodes; delete it by hand"
fi
no_service kubelet.service
rm -rf $kubeconfig /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/pki /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env
