#!/bin/sh
# drain NODE SECONDS: takes this node out of use and asks its pods to leave, as far
# as their disruption budgets let them, until they have. It does so as the node
# itself, whose kubelet may evict its own pods and nobody else's. Pods of
# DaemonSets stay, and those that belong to the node. When no other node takes
# pods any more, nobody is asked: the cluster is being taken down.
set -eu
node=$1 ends=$(($(date +%s) + $2))
k() { kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout 15s "$@"; }
# Lines of: namespace, name, kind of the owner, mark of a static pod, phase
pods() {
	k get pods -A --field-selector "spec.nodeName=$node" -o jsonpath='{range .items[*]}{.metadata.namespace}|{.metadata.name}|{.metadata.ownerReferences[0].kind}|{.metadata.annotations.kubernetes\.io/config\.mirror}|{.status.phase}{"\n"}{end}'
}
# Who cannot tell must not take it for none: then nobody would be asked to leave.
others() {
	all=$(k get nodes -o jsonpath='{range .items[*]}{.metadata.name}|{.spec.unschedulable}|{range .spec.taints[*]}{.effect} {end}|{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}') || { echo "cannot tell"; return 0; }
	printf '%s\n' "$all" | awk -F '|' -v me="$node" '$1 != "" && $1 != me && $2 != "true" && $3 !~ /NoSchedule|NoExecute/ && $4 == "True"'
}
k patch node "$node" --type merge -p '{"spec":{"unschedulable":true}}' >/dev/null
said=
while :; do
	have=$(pods) || { echo "error: the API server does not say which pods are here"; exit 1; }
	left=$(printf '%s\n' "$have" | awk -F '|' '$1 != "" && $3 != "DaemonSet" && $4 == "" && $5 != "Succeeded" && $5 != "Failed" {print $1 "/" $2}')
	[ -n "$left" ] || exit 0
	[ -n "$(others)" ] || { echo "no other node takes pods: those of $node are not waited for"; exit 0; }
	why=
	for pod in $left; do
		refused=$(printf '{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"%s","namespace":"%s"}}' "${pod#*/}" "${pod%/*}" |
			k create --raw "/api/v1/namespaces/${pod%/*}/pods/${pod#*/}/eviction" -f - 2>&1 >/dev/null) || why="$why $pod: $refused"
	done
	[ "$why" = "$said" ] || echo "waiting for: $(printf '%s' "$left" | tr '\n' ' ')${why:+ ($why)}"
	said=$why
	[ "$(date +%s)" -lt "$ends" ] || { echo "error: still there: $(printf '%s' "$left" | tr '\n' ' ')"; exit 1; }
	sleep 1
done
