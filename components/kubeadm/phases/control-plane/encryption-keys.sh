#!/bin/sh
# encryption-keys VERB ADDRESS KEY...: with which keys secrets are written, and read
# by the API server of this host. ADDRESS is the host's. Each verb succeeds when it
# is so, else says why not.
#   reads    the API server here is told to read with all of these keys
#   runs     the API server that runs here is the one that its manifest describes, as
#            far as its own files go, and it is ready
#   may      nothing is lost when the API server here reads with these keys alone: no
#            secret is written with another one that it has now
#   written  all secrets are written with this key
set -eu
verb=$1 address=$2
shift 2
pki=/etc/kubernetes/pki
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
# keys: those of the API server's file, one a line.
keys() {
	file=$(sed -n 's/^ *- --encryption-provider-config=//p' "$manifest" 2>/dev/null) || :
	[ -z "$file" ] || sed -n 's/^ *- {name: \([^,]*\), secret: .*/\1/p' "$file"
}
# used: the keys that secrets in etcd are written with, each once; "-" for what is in
# the clear, and "?" when etcd does not answer.
used() {
	{
		etcdctl --endpoints "https://$address:2379" --cacert $pki/etcd/ca.crt --cert $pki/etcd/healthcheck-client.crt \
			--key $pki/etcd/healthcheck-client.key --dial-timeout 3s --command-timeout 60s get --prefix /registry/secrets/ -w fields 2>/dev/null ||
			echo '"Value" : "k8s:enc:secretbox:v1:?:'
	} | sed -n 's/^"Value" : "k8s:enc:[a-z]*:v[0-9]*:\([^:"]*\):.*/\1/p; t; s/^"Value" : ".*/-/p' | sort -u
}
case $verb in
reads)
	for key; do
		keys | grep -qxF "$key" || { echo "it does not read with $key"; exit 1; }
	done
	;;
runs)
	args=" $(pgrep -x kube-apiserver | while read -r pid; do tr '\0' ' ' <"/proc/$pid/cmdline" || :; done)"
	sed -n 's|^ *- \(--[a-z-]*=/etc/kubernetes/halinux/apiserver/.*\)|\1|p' $manifest | while read -r flag; do
		case $args in *" $flag "*) ;; *)
			echo "nothing runs with $flag"
			exit 1
			;;
		esac
	done
	curl -fsS -o /dev/null --max-time 5 --cacert $pki/ca.crt "https://$address:6443/readyz" || { echo "it is not ready"; exit 1; }
	;;
may)
	gone=$(keys | while read -r key; do case " $* " in *" $key "*) ;; *) echo "$key" ;; esac; done)
	[ -n "$gone" ] || exit 0
	for key in $(used); do
		[ "$key" != '?' ] || { echo "etcd does not say with which keys secrets are written"; exit 1; }
		! printf '%s\n' "$gone" | grep -qxF "$key" || { echo "secrets are still written with $key"; exit 1; }
	done
	;;
written)
	for key in $(used); do
		[ "$key" = "$1" ] || { echo "not all secrets are written with $1, but also: $key (- is in the clear, ? no answer)"; exit 1; }
	done
	;;
*)
	echo "there is no verb $verb"
	exit 2
	;;
esac
