#!/bin/sh
# shellcheck shell=sh disable=SC2154
kubectl --kubeconfig /etc/kubernetes/admin.conf diff --server-side --force-conflicts --field-manager halinux -f /etc/kubernetes/halinux/nodes.yaml >/dev/null 2>&1 ||
	differs "the rights of nodes in the cluster are others"
