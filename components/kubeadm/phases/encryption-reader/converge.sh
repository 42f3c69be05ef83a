#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# A new key is read by all API servers before the first of them writes with it. The
# phase control-plane writes the whole manifest later; here one flag is changed.
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
script=/usr/local/lib/halinux/encryption-reader
place
if [ -e $manifest ] && ! $script reads "$address" "$key" >/dev/null; then
	why=$($script may "$address" $keys) || fail "the keys cannot be changed: $why" "put that key back into encryptionKeys, behind the others"
	sed "s|--encryption-provider-config=.*|--encryption-provider-config=$file|" $manifest >/etc/kubernetes/halinux/kube-apiserver.yaml
	chmod 0600 /etc/kubernetes/halinux/kube-apiserver.yaml
	mv -f /etc/kubernetes/halinux/kube-apiserver.yaml $manifest
	say "the API server reads with $key, and writes with $writer"
fi
if [ -e $manifest ]; then
	wait_for 300 "the API server here is ready, with its new keys" $script runs "$address" ||
		fail "the API server here is not ready" "look at journalctl -u kubelet, and at the logs below /var/log/pods"
fi
