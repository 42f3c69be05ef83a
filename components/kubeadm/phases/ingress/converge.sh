#!/bin/sh
# shellcheck shell=sh disable=SC2154
# The ingress controller, said once for the whole cluster.
place
k() { kubectl --kubeconfig /etc/kubernetes/admin.conf "$@" -f /etc/kubernetes/halinux/ingress.yaml; }
if [ "$wanted" = yes ]; then
	k apply --server-side --force-conflicts --field-manager halinux
else
	k delete --ignore-not-found --timeout=100s
fi
