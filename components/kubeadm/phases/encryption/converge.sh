#!/bin/sh
# shellcheck shell=sh disable=SC2154
# Every secret is written once more as it is: an API server that finds it under
# another key than the one that writes puts it into etcd again. What changes at the
# same moment refuses the older text, and is looked at again.
script=/usr/local/lib/halinux/encryption-keys
k() { kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout 60s "$@"; }
rewritten() {
	for namespace in $(k get namespaces -o name); do
		k get secrets -n "${namespace#namespace/}" -o json | k replace -f - || :
	done >"$work/replaced" 2>&1
	$script written "$address" "$key"
}
if ! $script written "$address" "$key" >/dev/null; then
	wait_for 1200 "all secrets are written with $key" rewritten ||
		fail "$($script written "$address" "$key")" "what refused it: $(grep -v ' replaced$' "$work/replaced" | head -n 3 | tr '\n' ' ')"
fi
