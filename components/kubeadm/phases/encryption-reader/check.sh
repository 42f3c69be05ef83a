#!/bin/sh
# shellcheck shell=sh disable=SC2154
[ ! -e /etc/kubernetes/manifests/kube-apiserver.yaml ] || why=$(/usr/local/lib/halinux/encryption-reader reads "$address" "$key") || differs "the API server: $why"
