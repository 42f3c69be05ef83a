#!/bin/sh
# shellcheck shell=sh disable=SC2154
# What nodes may do beyond what every cluster lets them.
place
kubectl --kubeconfig /etc/kubernetes/admin.conf apply --server-side --force-conflicts --field-manager halinux -f /etc/kubernetes/halinux/nodes.yaml
