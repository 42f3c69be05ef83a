#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# A control plane leaves etcd before it goes, unless it is the last one, or etcd
# has no majority any more: then nothing is left that could be told.
members=/usr/local/lib/halinux/etcd-members
if [ -e /etc/kubernetes/manifests/etcd.yaml ] && [ -n "$peers" ]; then
	why=$($members leave "$address" $peers) || say "etcd: $why"
	kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout 10s delete node "$host" --ignore-not-found --wait=false || :
fi
rm -f /etc/kubernetes/manifests/*.yaml
ended() { [ -z "$(ss -ltnH 'sport = :2379 or sport = :6443')" ]; }
wait_for 60 "the pods of the control plane have ended" ended || say "etcd or the API server still listens"
no_service kubelet.service
rm -rf /var/lib/etcd /etc/kubernetes/pki
rm -f /etc/kubernetes/*.conf
