#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# What every other pod needs runs on all nodes: the ways between them, services,
# and names.
out() { kubectl --kubeconfig /etc/kubernetes/admin.conf -n "${1%/*/*}" rollout status "${1#*/}" --timeout=5s; }
for item in $system; do
	wait_for 300 "$item runs" out "$item" && continue
	# The last words of one that does not run.
	kubectl --kubeconfig /etc/kubernetes/admin.conf -n "${item%/*/*}" get pods -o wide || :
	kubectl --kubeconfig /etc/kubernetes/admin.conf -n "${item%/*/*}" logs --tail 5 "${item#*/}" || :
	fail "$item does not run on all nodes" "its pods and one's last words are above"
done
