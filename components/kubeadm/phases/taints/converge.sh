#!/bin/sh
# shellcheck shell=sh disable=SC2154
# A node may not change its own taints, so a control plane does.
place
/usr/local/lib/halinux/node-taints /etc/kubernetes/halinux/taints || fail "not all taints could be set" "kubectl's words are above"
