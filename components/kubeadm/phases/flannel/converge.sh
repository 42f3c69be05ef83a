#!/bin/sh
# shellcheck shell=sh disable=SC2154
# The overlay, said once for the whole cluster.
place
kubectl --kubeconfig /etc/kubernetes/admin.conf apply --server-side --force-conflicts --field-manager halinux -f /etc/kubernetes/halinux/flannel.yaml
