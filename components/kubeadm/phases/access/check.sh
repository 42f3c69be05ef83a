#!/bin/sh
# shellcheck shell=sh disable=SC2154
kubectl --kubeconfig /etc/kubernetes/admin.conf diff --server-side --force-conflicts --field-manager halinux -f /etc/kubernetes/halinux/access.yaml >/dev/null 2>&1 ||
	differs "what people may do in the cluster is something else"
