#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
no_service containerd.service
# Its shims outlive it, on purpose; nobody is left who could speak to them.
for pid in $(pgrep -x containerd-shim); do kill -KILL "$pid" 2>/dev/null || :; done
awk '$2 ~ "^/run/containerd/" {print $2}' /proc/mounts | sort -r | while IFS= read -r point; do umount -l "$point" || :; done
find /run/netns -maxdepth 1 -name 'cni-*' 2>/dev/null | while IFS= read -r point; do umount -l "$point" || :; rm -f "$point"; done
for item in $programs; do rm -f "${item#*=}"; done
ip link delete cni0 2>/dev/null || :
rm -rf /etc/cni/net.d /run/containerd /var/lib/cni
# It may be a mount point of its own.
[ ! -d /var/lib/containerd ] || find /var/lib/containerd -mindepth 1 -delete
