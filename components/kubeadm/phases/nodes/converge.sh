#!/bin/sh
# shellcheck shell=sh disable=SC2154
# What nodes may do beyond what every cluster lets them.
place
# An API server that is started anew on another control plane may cut it off.
apply() { kubectl --kubeconfig /etc/kubernetes/admin.conf apply --server-side --force-conflicts --field-manager halinux -f /etc/kubernetes/halinux/nodes.yaml; }
wait_for 60 "what nodes may do is said" apply || apply
