#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# A control plane, made by kubeadm's own phases. The first one makes the cluster
# when there is none anywhere; every other one becomes a member of it. Each step
# looks at what is there, so that a run which was cut short is gone on with.
pki=/etc/kubernetes/pki
config=/etc/kubernetes/halinux/kubeadm.yaml
members=/usr/local/lib/halinux/etcd-members
kubeconfig=/etc/kubernetes/admin.conf
manifests=/etc/kubernetes/manifests
encryption=/usr/local/lib/halinux/encryption-keys

place $encryption
if [ -e $manifests/kube-apiserver.yaml ]; then
	why=$($encryption may "$address" $keys) || fail "the keys cannot be changed: $why" "put that key back into encryptionKeys, behind the others"
fi
place

step() {
	say "kubeadm $*"
	kubeadm "$@" --config "$config" >"$work/kubeadm" 2>&1 || { tail -n 15 "$work/kubeadm"; fail "kubeadm $* failed" "kubeadm's words are above"; }
}
ready() { curl -fsS -o /dev/null --max-time 5 --cacert $pki/ca.crt "https://$1/readyz"; }
# says SECONDS VERB: until etcd says yes to the verb; why is what it said last.
says() {
	ends=$(($(date +%s) + $1)) before=
	until why=$("$members" "$2" "$address" $peers "$address"); do
		[ "$why" = "$before" ] || say "etcd: $why"
		before=$why
		[ "$(date +%s)" -lt $ends ] || return 1
		sleep 1
	done
}
# elsewhere: whether another control plane has an etcd already. One that does not
# even refuse the connection might have.
elsewhere() {
	silent=
	for peer in $peers; do
		rc=0
		# -v: without it, curl says no more than that it could not connect.
		curl -sv -o /dev/null --connect-timeout 3 --max-time 10 --cacert $pki/etcd/ca.crt --cert $pki/etcd/healthcheck-client.crt \
			--key $pki/etcd/healthcheck-client.key "https://$peer:2379/health" 2>"$work/peer" || rc=$?
		[ $rc != 0 ] || return 0
		[ $rc = 7 ] && grep -q refused "$work/peer" || silent="$silent $peer"
	done
	return 1
}

# Certificates and kubeconfigs that are there are kept, where they fit.
step init phase certs all
step init phase kubeconfig all
if [ ! -e /var/lib/kubelet/config.yaml ] || ! systemctl is-active -q kubelet.service; then step init phase kubelet-start; fi

if [ ! -e $manifests/etcd.yaml ]; then
	if elsewhere; then
		for name in ${gone:-}; do
			why=$("$members" expel "$name" $peers) || fail "$name stays a member of etcd: $why" "take it off the list of those that are gone, or bring etcd's majority back"
		done
		says 300 grow || fail "etcd may not grow: $why" "bring its members back, or remove the one that is gone for good"
		if [ ! -e /var/lib/etcd/member ]; then
			why=$("$members" anew "$address" $peers) || fail "this host's member of before stays on etcd's list: $why" "are the other members healthy?"
		fi
		say "kubeadm join phase etcd-join"
		# It fails when the new member does not catch up in its time; then the
		# member is there all the same, and is waited for below.
		kubeadm join phase etcd-join --config /etc/kubernetes/halinux/join.yaml >"$work/kubeadm" 2>&1 || [ -e $manifests/etcd.yaml ] ||
			{ tail -n 15 "$work/kubeadm"; fail "this host could not become a member of etcd" "kubeadm's words are above"; }
	else
		[ "$first" = yes ] || fail "no control plane has an etcd" "the first of the list of control planes makes the cluster; did its phase succeed?"
		[ -z "$silent" ] || fail "no answer from:$silent; there may be a cluster already" "bring these hosts back, or take them out of the list of control planes"
		step init phase etcd local
	fi
fi
says 300 votes || fail "this host's member of etcd does not vote: $why" "look at journalctl -u kubelet, and at the logs below /var/log/pods"
# The same settings give the same manifests, which start nothing anew.
if changed "$config" || [ ! -e $manifests/kube-apiserver.yaml ] || [ ! -e $manifests/kube-controller-manager.yaml ] || [ ! -e $manifests/kube-scheduler.yaml ]; then
	step init phase control-plane all
fi
# The one of before may still be ready when its manifest is another already.
wait_for 300 "the API server here is ready" $encryption runs "$address" || fail "the API server here is not ready" "look at journalctl -u kubelet, and at the logs below /var/log/pods"
wait_for 120 "the API server answers at $endpoint" ready "$endpoint" ||
	fail "no API server answers at $endpoint" "does the edge have a service there, with the control planes as its backends?"

if [ "$first" = yes ] && ! kubectl --kubeconfig $kubeconfig -n kube-system get configmap kube-proxy >/dev/null 2>&1; then
	step init phase upload-config all
	# What a kubelet may ask for, and a token, which nobody needs: hosts join with a
	# certificate that is for them alone.
	step init phase bootstrap-token
	kubectl --kubeconfig $kubeconfig -n kube-system delete secrets --field-selector type=bootstrap.kubernetes.io/token ||
		fail "kubeadm's token could not be taken back" "the API server's words are above"
	step init phase addon all
fi
wait_for 120 "the node is known" kubectl --kubeconfig $kubeconfig get node "$host" || fail "the node $host does not register" "look at journalctl -u kubelet"
kubectl --kubeconfig $kubeconfig get node "$host" -o jsonpath='{.metadata.labels}' | grep -q node-role.kubernetes.io/control-plane ||
	step init phase mark-control-plane
grep -q kubelet-client-current /etc/kubernetes/kubelet.conf || step init phase kubelet-finalize enable-client-cert-rotation
