#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# etcd itself keeps that it was restored: a control plane that is replaced later
# does not begin anew.
pki=/etc/kubernetes/pki/etcd
if ! /usr/local/lib/halinux/etcd-restored "$name" "$address" $peers; then
	etcdctl --endpoints "https://$address:2379" --cacert $pki/ca.crt --cert $pki/healthcheck-client.crt --key $pki/healthcheck-client.key \
		put "/halinux/restores/$name" "$snapshot" || fail "etcd does not take a note of its restore" "run it again"
	say "etcd is what it was in $snapshot"
fi
