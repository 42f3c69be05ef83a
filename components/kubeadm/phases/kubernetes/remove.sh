#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
no_service kubelet.service
for item in $programs; do rm -f "${item#*=}"; done
rm -rf /etc/kubernetes/manifests /var/lib/kubelet
