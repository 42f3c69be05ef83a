#!/bin/sh
# shellcheck shell=sh disable=SC2154
: >/etc/kubernetes/halinux/taints
/usr/local/lib/halinux/node-taints /etc/kubernetes/halinux/taints || say "taints stay as they are"
