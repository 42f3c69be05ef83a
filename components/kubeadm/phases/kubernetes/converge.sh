#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# The programs of Kubernetes. The kubelet runs when the host joins its cluster.
packages curl iproute2 mount util-linux
place
mkdir -p /etc/kubernetes/kubelet.conf.d /etc/kubernetes/manifests
new=$(/usr/local/lib/halinux/bundle "$bundle" "$sums" $programs) || fail "${new#error: }" "make the bundle anew, or correct its address"
[ -z "$new" ] || say "new: $(printf '%s' "$new" | tr '\n' ' ')"
service halinux-kubernetes-services.service
SYSTEMCTL_SKIP_SYSV=1 systemctl enable -q kubelet.service
# Pulled now by all hosts at once, not later by one after the other.
for image in $images; do
	[ -n "$(ctr -n k8s.io images ls -q "name==$image")" ] || ctr -n k8s.io images pull --hosts-dir /etc/containerd/certs.d --label io.cri-containerd.image=managed "$image" >/dev/null 2>"$work/pull" ||
		{ tail -n 3 "$work/pull"; fail "cannot pull $image" "does the bundle at $bundle have it?"; }
done
