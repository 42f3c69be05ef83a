#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# A control plane leaves etcd before it goes, unless it is the last one, or etcd
# has no majority any more: then nothing is left that could be told. Its API server
# ends before that: one whose etcd has gone does not end by itself.
members=/usr/local/lib/halinux/etcd-members
manifests=/etc/kubernetes/manifests
aside=/etc/kubernetes/halinux/leaving
server_ended() { [ -z "$(ss -ltnH 'sport = :6443')" ]; }
ended() { [ -z "$(ss -ltnH 'sport = :2379 or sport = :6443')" ]; }
mkdir -p $aside
for item in kube-apiserver kube-controller-manager kube-scheduler; do [ ! -e $manifests/$item.yaml ] || mv $manifests/$item.yaml $aside; done
wait_for 60 "the API server has ended" server_ended || say "the API server still listens"
if [ -e $manifests/etcd.yaml ] && [ -n "$peers" ]; then
	# Members that have just met are no majority yet to etcd.
	leaves() { why=$($members leave "$address" $peers); }
	if ! wait_for 60 "etcd goes on without this member" leaves; then
		find $aside -name "*.yaml" -exec mv -t $manifests {} +
		fail "etcd keeps this member, since those that stay would have no majority: $why" "bring the others back, or remove the one that is gone for good first; for the whole cluster: rm /etc/kubernetes/manifests/etcd.yaml here"
	fi
	kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout 10s delete node "$host" --ignore-not-found --wait=false || :
fi
rm -rf $manifests/*.yaml $aside
wait_for 60 "the pods of the control plane have ended" ended || say "etcd or the API server still listens"
no_service kubelet.service
rm -rf /var/lib/etcd /etc/kubernetes/pki
rm -f /etc/kubernetes/*.conf
