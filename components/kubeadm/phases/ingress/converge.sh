#!/bin/sh
# shellcheck shell=sh disable=SC2154
# The ingress controller, said once for the whole cluster.
place
k() { kubectl --kubeconfig /etc/kubernetes/admin.conf "$@" -f /etc/kubernetes/halinux/ingress.yaml; }
# An API server that is started anew on another control plane may cut it off.
if [ "$wanted" = yes ]; then
	apply() { k apply --server-side --force-conflicts --field-manager halinux; }
else
	apply() { k delete --ignore-not-found --timeout=100s; }
fi
wait_for 60 "the ingress controller is said" apply || apply
