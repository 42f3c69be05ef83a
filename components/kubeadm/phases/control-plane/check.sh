#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do
	[ -e "/etc/kubernetes/manifests/$name.yaml" ] || differs "/etc/kubernetes/manifests/$name.yaml is missing"
done
# One that is busy for a moment is no drift.
tries=3
until curl -fsS -o /dev/null --max-time 5 --cacert /etc/kubernetes/pki/ca.crt "https://$address:6443/readyz" 2>/dev/null; do
	tries=$((tries - 1))
	[ $tries -gt 0 ] || { differs "the API server here is not ready"; break; }
	sleep 1
done
why=$(/usr/local/lib/halinux/etcd-members grow none "$address") || differs "etcd: $why"
