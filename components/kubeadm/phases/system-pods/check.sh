#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
for item in $system; do
	kubectl --kubeconfig /etc/kubernetes/admin.conf -n "${item%/*/*}" rollout status "${item#*/}" --watch=false 2>/dev/null | grep -q 'successfully rolled out' ||
		differs "$item does not run on all nodes"
done
