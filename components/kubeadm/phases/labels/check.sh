#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
for pair in $labels; do
	[ -n "$(kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout 15s get node "$host" -o name -l "$pair" 2>/dev/null)" ] || differs "the node lacks the label $pair"
done
