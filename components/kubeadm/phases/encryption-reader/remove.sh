#!/bin/sh
# shellcheck shell=sh disable=SC2154
# Where no run has come as far as the phase control-plane, the API server still has
# this phase's file, and gets its own again.
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
if grep -qsF -- "=$file" $manifest; then
	for own in /etc/kubernetes/halinux/apiserver/encryption-[0-9a-f]*.yaml; do
		sed "s|--encryption-provider-config=.*|--encryption-provider-config=$own|" $manifest >/etc/kubernetes/halinux/kube-apiserver.yaml
		chmod 0600 /etc/kubernetes/halinux/kube-apiserver.yaml
		mv -f /etc/kubernetes/halinux/kube-apiserver.yaml $manifest
	done
	wait_for 300 "the API server here has its own keys again" /usr/local/lib/halinux/encryption-reader runs "$address" || say "the API server here is not ready"
fi
