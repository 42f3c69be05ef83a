#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# The programs of Kubernetes. The kubelet runs when the host joins its cluster.
packages curl dbus iproute2 mount procps util-linux
place
mkdir -p /etc/kubernetes/kubelet.conf.d /etc/kubernetes/manifests
# Images are pulled now by all hosts at once, not later by one after the other.
new=$(/usr/local/lib/halinux/bundle "$bundle" "$sums" $programs $images) || fail "${new#error: }" "make the bundle anew, or correct its address"
[ -z "$new" ] || say "new: $(printf '%s' "$new" | tr '\n' ' ')"
service halinux-kubernetes-services.service
SYSTEMCTL_SKIP_SYSV=1 systemctl enable -q kubelet.service
# Of this phase, though it starts later: so its port is known to be ours.
printf '%s\n' kubelet.service >>"$work/units"
# How long pods may delay a shutdown. A logind that does not run reads it later.
! changed /etc/systemd/logind.conf.d/zz-halinux-kubelet.conf || systemctl kill -s HUP systemd-logind.service || :
# A kubelet reads its settings at its start. Pods do not notice that it starts anew.
if changed /etc/kubernetes/kubelet.conf.d/10-halinux.conf && [ -e /var/lib/kubelet/config.yaml ] && systemctl is-active -q kubelet.service; then
	healthy() { curl -fsS -o /dev/null --max-time 5 http://127.0.0.1:10248/healthz; }
	systemctl restart kubelet.service || service_failed kubelet.service restart
	wait_for 120 "the kubelet has its new settings" healthy || service_failed kubelet.service "accept its settings"
fi
