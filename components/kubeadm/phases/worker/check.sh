#!/bin/sh
# shellcheck shell=sh disable=SC2154
is=$(kubectl --kubeconfig /etc/kubernetes/kubelet.conf get node "$host" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' 2>/dev/null) || is=unknown
[ "$is" = True ] || differs "the node is not ready ($is)"
[ "${drain:-no}" = no ] || [ "$(kubectl --kubeconfig /etc/kubernetes/kubelet.conf get node "$host" -o jsonpath='{.spec.unschedulable}' 2>/dev/null)" = true ] ||
	differs "the node takes pods, and the settings drain it"
