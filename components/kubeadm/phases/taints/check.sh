#!/bin/sh
# shellcheck shell=sh disable=SC2154
while read -r node taint; do
	kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout 15s get node "$node" -o jsonpath='{range .spec.taints[*]}{.key}={.value}:{.effect}{"\n"}{end}' 2>/dev/null | grep -qxF "$taint" ||
		differs "$node lacks the taint $taint"
done </etc/kubernetes/halinux/taints
