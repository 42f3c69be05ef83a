#!/bin/sh
# shellcheck shell=sh disable=SC2154
k() { kubectl --kubeconfig /etc/kubernetes/admin.conf "$@" -f /etc/kubernetes/halinux/ingress.yaml; }
if [ "$wanted" = yes ]; then
	k diff --server-side --force-conflicts --field-manager halinux >/dev/null 2>&1 ||
		differs "the ingress controller's objects in the cluster are others"
elif ! left=$(k get --ignore-not-found -o name 2>/dev/null) || [ -n "$left" ]; then
	differs "the ingress controller's objects are still in the cluster"
fi
