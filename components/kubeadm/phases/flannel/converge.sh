#!/bin/sh
# shellcheck shell=sh disable=SC2154
# The overlay, said once for the whole cluster.
place
say "$(kubectl --kubeconfig /etc/kubernetes/admin.conf apply --server-side --force-conflicts --field-manager halinux -f /etc/kubernetes/halinux/flannel.yaml | grep -vc unchanged) objects of flannel applied"
