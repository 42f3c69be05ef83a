#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# The programs of Kubernetes. The kubelet runs when the host joins its cluster.
packages curl iproute2 mount util-linux
place
mkdir -p /etc/kubernetes/kubelet.conf.d /etc/kubernetes/manifests
# Images are pulled now by all hosts at once, not later by one after the other.
new=$(/usr/local/lib/halinux/bundle "$bundle" "$sums" $programs $images) || fail "${new#error: }" "make the bundle anew, or correct its address"
[ -z "$new" ] || say "new: $(printf '%s' "$new" | tr '\n' ' ')"
service halinux-kubernetes-services.service
SYSTEMCTL_SKIP_SYSV=1 systemctl enable -q kubelet.service
# Of this phase, though it starts later: so its port is known to be ours.
printf '%s\n' kubelet.service >>"$work/units"
