#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# A control plane, made by kubeadm's own phases. The first one makes the cluster
# when there is none anywhere; every other one becomes a member of it. Each step
# looks at what is there, so that a run which was cut short is gone on with.
place
pki=/etc/kubernetes/pki
config=/etc/kubernetes/halinux/kubeadm.yaml
health=/usr/local/lib/halinux/etcd-health
kubeconfig=/etc/kubernetes/admin.conf

step() {
	say "kubeadm $*"
	kubeadm "$@" --config "$config" >"$work/kubeadm" 2>&1 || { tail -n 15 "$work/kubeadm"; fail "kubeadm $* failed" "kubeadm's words are above"; }
}
ready() { curl -fsS -o /dev/null --max-time 2 --cacert $pki/ca.crt "https://$1/readyz"; }
# elsewhere: whether another control plane has an etcd already. A host that does
# not even refuse the connection might have one.
elsewhere() {
	for address in $peers; do
		rc=0
		curl -sS -o /dev/null --connect-timeout 3 --max-time 5 --cacert $pki/etcd/ca.crt --cert $pki/etcd/healthcheck-client.crt \
			--key $pki/etcd/healthcheck-client.key "https://$address:2379/health" 2>"$work/peer" || rc=$?
		case $rc in
		0) return 0 ;;
		7) grep -q refused "$work/peer" || silent="${silent:-} $address" ;;
		*) silent="${silent:-} $address" ;;
		esac
	done
	return 1
}

# Existing ones are kept, where they fit.
step init phase certs all
step init phase kubeconfig all
if [ ! -e /var/lib/kubelet/config.yaml ] || ! systemctl is-active -q kubelet.service; then step init phase kubelet-start; fi

if [ ! -e /etc/kubernetes/manifests/etcd.yaml ]; then
	if elsewhere; then
		for_=0
		until why=$("$health" $peers); do
			[ $for_ != 0 ] || say "etcd may not grow yet: $why"
			for_=$((for_ + 1))
			[ $for_ -lt 300 ] || fail "etcd may not grow: $why" "bring its members back, or remove the one that is gone for good"
			sleep 1
		done
		say "kubeadm join phase etcd-join"
		kubeadm join phase etcd-join --config /etc/kubernetes/halinux/join.yaml >"$work/kubeadm" 2>&1 ||
			{ tail -n 15 "$work/kubeadm"; fail "this host could not become a member of etcd" "kubeadm's words are above"; }
	else
		[ "$first" = yes ] || fail "no control plane has an etcd" "the first of the list of control planes makes the cluster; did its phase succeed?"
		[ -z "${silent:-}" ] || fail "no answer from:$silent; there may be a cluster already" "bring these hosts back, or take them out of the list of control planes"
		step init phase etcd local
	fi
fi
if [ ! -e /etc/kubernetes/manifests/kube-apiserver.yaml ] || [ ! -e /etc/kubernetes/manifests/kube-scheduler.yaml ]; then step init phase control-plane all; fi
wait_for 300 "the API server here is ready" ready "$address:6443" || fail "the API server here is not ready" "look at crictl or ctr -n k8s.io, and at journalctl -u kubelet"
wait_for 120 "the API server answers at $endpoint" ready "$endpoint" ||
	fail "no API server answers at $endpoint" "does the edge have a service there, with the control planes as its backends?"

if [ "$first" = yes ] && ! kubectl --kubeconfig $kubeconfig -n kube-system get configmap kube-proxy >/dev/null 2>&1; then
	step init phase upload-config all
	step init phase bootstrap-token
	step init phase addon all
fi
wait_for 120 "the node is known" kubectl --kubeconfig $kubeconfig get node "$host" || fail "the node $host does not register" "look at journalctl -u kubelet"
kubectl --kubeconfig $kubeconfig get node "$host" -o jsonpath='{.metadata.labels}' | grep -q node-role.kubernetes.io/control-plane ||
	step init phase mark-control-plane
grep -q kubelet-client-current /etc/kubernetes/kubelet.conf || step init phase kubelet-finalize enable-client-cert-rotation
