#!/bin/sh
# renew ADDRESS DAYS PEER...: renews this control plane's certificates when one of
# them ends within so many days, and starts anew, one after the other, what reads
# them at its start alone. Ends before it touches anything when etcd has a member
# that is not well: a second one must not be taken away.
set -eu
address=$1 days=$2
shift 2
pki=/etc/kubernetes/pki
members=/usr/local/lib/halinux/etcd-members

ends_soon() {
	for file in "$pki"/*.crt "$pki"/etcd/*.crt; do
		case $file in */ca.crt | */front-proxy-ca.crt) continue ;; esac
		openssl x509 -noout -checkend $((days * 86400)) -in "$file" >/dev/null || { echo "$file"; return 0; }
	done
	for file in /etc/kubernetes/admin.conf /etc/kubernetes/controller-manager.conf /etc/kubernetes/scheduler.conf; do
		sed -n 's/^ *client-certificate-data: //p' $file | base64 -d | openssl x509 -noout -checkend $((days * 86400)) >/dev/null || { echo "$file"; return 0; }
	done
	return 1
}
tasks() {
	for id in $(ctr -n k8s.io containers ls -q "labels.\"io.kubernetes.container.name\"==$1"); do
		ctr -n k8s.io tasks ls 2>/dev/null | awk -v id="$id" '$1 == id && $3 == "RUNNING" {print $1}'
	done
}
well() {
	case $1 in
	etcd) "$members" votes "$address" "$address" >/dev/null ;;
	kube-apiserver) curl -fsS -o /dev/null --max-time 5 --cacert $pki/ca.crt "https://$address:6443/readyz" ;;
	kube-controller-manager) curl -fsSk -o /dev/null --max-time 5 https://127.0.0.1:10257/healthz ;;
	kube-scheduler) curl -fsSk -o /dev/null --max-time 5 https://127.0.0.1:10259/healthz ;;
	esac 2>/dev/null
}

soon=$(ends_soon) || exit 0
echo "$soon ends within $days days"
if [ $# -gt 0 ]; then
	why=$("$members" grow none "$@" "$address") || { echo "error: not now: $why"; exit 1; }
fi
kubeadm certs renew all --config /etc/kubernetes/halinux/kubeadm.yaml
for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do
	before=$(tasks $name)
	for id in $before; do ctr -n k8s.io tasks kill -s TERM "$id" || :; done
	until_=$(($(date +%s) + 300))
	until [ -n "$(tasks $name)" ] && [ "$(tasks $name)" != "$before" ] && well $name; do
		[ "$(date +%s)" -lt $until_ ] || { echo "error: $name is not well again"; exit 1; }
		sleep 1
	done
	echo "$name: started anew"
done
