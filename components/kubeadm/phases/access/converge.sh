#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# What people may do, said once for the whole cluster; what is not said any more
# goes.
place
k() { kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout 30s "$@"; }
for role in $roles; do
	k get clusterrole "$role" -o name >/dev/null || fail "the cluster has no ClusterRole $role" "make it, or name another: view, edit, admin and cluster-admin are there"
done
# An API server that is started anew on another control plane may cut it off.
apply() { k apply --server-side --force-conflicts --field-manager halinux -f /etc/kubernetes/halinux/access.yaml >"$work/applied"; }
wait_for 60 "what people may do is said" apply || apply || fail "what people may do could not be set" "the API server's words are above"
say "$(grep -c rolebinding "$work/applied" || :) bindings of groups"
k get clusterrolebindings,rolebindings -A -l halinux/access=yes -o jsonpath='{range .items[*]}{.kind}|{.metadata.namespace}|{.metadata.name}{"\n"}{end}' >"$work/there"
while IFS='|' read -r kind namespace name; do
	case " $bindings " in *" $kind|$namespace|$name "*) continue ;; esac
	say "$kind $namespace${namespace:+ }$name goes"
	k delete "$kind" "$name" ${namespace:+-n "$namespace"} --ignore-not-found </dev/null
done <"$work/there"
