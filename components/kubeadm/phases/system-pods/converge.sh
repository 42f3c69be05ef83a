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
# The first control plane had no other node for them when they were made, and pods
# stay where they are: names would be lost with that one node.
names() { kubectl --kubeconfig /etc/kubernetes/admin.conf -n kube-system "$@"; }
on=$(names get pods -l k8s-app=kube-dns --field-selector status.phase=Running -o jsonpath='{range .items[*]}{.spec.nodeName}{"\n"}{end}')
if [ "$(printf '%s\n' "$on" | grep -c .)" -gt 1 ] && [ "$(printf '%s\n' "$on" | sort -u | grep -c .)" = 1 ]; then
	say "all CoreDNS pods are on $(printf '%s\n' "$on" | head -n 1): they are made anew, apart"
	names rollout restart deployment/coredns
	wait_for 300 "CoreDNS runs" out kube-system/deployment/coredns || fail "CoreDNS does not run" "look at kubectl -n kube-system describe pods -l k8s-app=kube-dns"
fi
