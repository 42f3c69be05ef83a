#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
if command -v ctr >/dev/null && systemctl is-active -q containerd; then
	for id in $(ctr -n k8s.io tasks ls -q); do ctr -n k8s.io tasks kill -s KILL "$id" || :; done
	wait_for 30 "no container is left" sh -c '! ctr -n k8s.io tasks ls | grep -q RUNNING' || :
fi
no_service containerd.service
# What held a mount or a network of a pod is gone by now.
awk '$2 ~ "^/run/containerd/" {print $2}' /proc/mounts | sort -r | while IFS= read -r point; do umount "$point" || :; done
for item in $programs; do rm -f "${item#*=}"; done
ip link delete cni0 2>/dev/null || :
rm -rf /etc/cni/net.d /run/containerd /var/lib/cni
# It may be a mount point of its own.
[ ! -d /var/lib/containerd ] || find /var/lib/containerd -mindepth 1 -delete
