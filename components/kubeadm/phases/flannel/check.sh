#!/bin/sh
# shellcheck shell=sh disable=SC2154
kubectl --kubeconfig /etc/kubernetes/admin.conf diff --server-side --force-conflicts --field-manager halinux -f /etc/kubernetes/halinux/flannel.yaml >/dev/null 2>&1 ||
	differs "flannel's objects in the cluster are others"
