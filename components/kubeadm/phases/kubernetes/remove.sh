#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
no_service kubelet.service halinux-kubernetes-services.service
# Pods are not told to end any more: whoever removes a node has drained it.
if command -v ctr >/dev/null && systemctl is-active -q containerd; then
	for id in $(ctr -n k8s.io tasks ls -q 2>/dev/null); do ctr -n k8s.io tasks kill -s KILL "$id" 2>/dev/null || :; done
fi
awk '$2 ~ "^/var/lib/kubelet/" {print $2}' /proc/mounts | sort -r | while IFS= read -r point; do umount -l "$point" || :; done
for item in $programs; do rm -f "${item#*=}"; done
# Those that run lie there also while an upgrade has put others aside.
rm -f /usr/local/bin/kubeadm /usr/local/bin/kubelet /usr/local/bin/kubectl
ip link delete flannel.1 2>/dev/null || :
for table in kube-proxy flannel-ipv4 flannel-ipv6; do
	for family in ip ip6; do nft delete table $family $table 2>/dev/null || :; done
done
rm -rf /etc/kubernetes/manifests /var/lib/kubelet /run/flannel /etc/systemd/logind.conf.d/99-kubelet.conf
