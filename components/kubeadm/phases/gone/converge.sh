#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# Nodes that are gone for good leave etcd and the list of nodes, and with that
# their pods are made elsewhere. None that shows a sign of life is touched.
k() { kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout 15s "$@"; }
for name in $gone; do
	is=$(k get node "$name" --ignore-not-found -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}') || fail "the API server does not say how $name is" "look at journalctl -u kubelet"
	[ "$is" != True ] || fail "$name is ready, and not gone" "take it off the list of those that are gone, or shut it down first"
done
for name in $gone; do
	why=$(/usr/local/lib/halinux/etcd-members expel "$name" "$address" $peers) || fail "$name stays a member of etcd: $why" "take it off the list of those that are gone, or bring etcd's majority back"
	k delete node "$name" --ignore-not-found --wait=false
done
