#!/bin/sh
# shellcheck shell=sh disable=SC2154
# The overlay, said once for the whole cluster.
place
# An API server that is started anew on another control plane may cut it off.
apply() { kubectl --kubeconfig /etc/kubernetes/admin.conf apply --server-side --force-conflicts --field-manager halinux -f /etc/kubernetes/halinux/flannel.yaml; }
wait_for 60 "the overlay is said" apply || apply
