#!/bin/sh
# etcd-restored NAME ADDRESS...: what etcd at one of these addresses says of a
# restore. Exit 0: it was done; 1: it was not, and the majority of a cluster that
# works says so; 2: no majority answers.
set -eu
name=$1
shift
pki=/etc/kubernetes/pki/etcd
for address; do
	knows=$(etcdctl --endpoints "https://$address:2379" --cacert $pki/ca.crt --cert $pki/healthcheck-client.crt --key $pki/healthcheck-client.key \
		--dial-timeout 3s --command-timeout 10s get --print-value-only "/halinux/restores/$name" 2>/dev/null) || continue
	[ -z "$knows" ] || exit 0
	exit 1
done
exit 2
