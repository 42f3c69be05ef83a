#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# A control plane leaves etcd before it goes, unless it is the last one, or etcd
# has no majority any more: then nothing is left that could be told.
pki=/etc/kubernetes/pki/etcd
etcd() {
	etcdctl --endpoints "https://$1:2379" --cacert $pki/ca.crt --cert $pki/healthcheck-client.crt --key $pki/healthcheck-client.key \
		--dial-timeout 2s --command-timeout 10s member "$2" ${3:+"$3"}
}
for peer in $peers; do
	members=$(etcd "$peer" list 2>/dev/null) || continue
	id=$(printf '%s\n' "$members" | awk -F ', ' -v me="https://$address:2380" '$4 == me {print $1}')
	[ -z "$id" ] || etcd "$peer" remove "$id" || :
	kubectl --kubeconfig /etc/kubernetes/admin.conf delete node "$host" --ignore-not-found --wait=false 2>/dev/null || :
	break
done
rm -f /etc/kubernetes/manifests/*.yaml
wait_for 60 "the pods of the control plane have ended" sh -c '! ctr -n k8s.io containers ls | grep -q "/etcd:\|/kube-"' || :
no_service kubelet.service
rm -rf /var/lib/etcd $pki /etc/kubernetes/pki /etc/kubernetes/*.conf
