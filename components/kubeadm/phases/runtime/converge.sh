#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# The container runtime: containerd, runc, and the network plugins.
packages runc containernetworking-plugins ca-certificates curl nftables
place
for module in overlay br_netfilter vxlan; do
	# Built into some kernels, and a container's host has loaded it or not.
	modprobe -q "$module" 2>/dev/null || :
done
grep -qw overlay /proc/filesystems || fail "the kernel has no overlayfs" "use a kernel that has it, as Debian's"
[ -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || fail "the kernel has no br_netfilter" "use a kernel that has it, as Debian's"
sysctl -q -p /etc/sysctl.d/80-halinux-kubernetes.conf
# It has to be named in the configuration even where there is none.
mkdir -p /etc/containerd/conf.d
new=$(/usr/local/lib/halinux/bundle "$bundle" "$sums" $programs) || fail "${new#error: }" "make the bundle anew, or correct its address"
if [ -n "$new" ]; then say "new: $(printf '%s' "$new" | tr '\n' ' ')"; printf '%s\n' /usr/local/bin/containerd >>"$here/pending"; fi
containerd config dump >"$work/config" 2>"$work/errors" || { cat "$work/errors"; fail "containerd does not accept its configuration" "its words are above"; }
if changed /etc/containerd/config.toml /etc/containerd/cni.tmpl /etc/systemd/system/containerd.service /usr/local/bin/containerd; then
	service containerd.service restart
else
	# It reads the lists of registries at each pull.
	service containerd.service start
fi
wait_for 60 "containerd answers" ctr version || fail "containerd does not answer" "look at journalctl -u containerd"
