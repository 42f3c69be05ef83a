#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# The control plane's pods end, and what etcd held is put aside. On the control
# plane that has the snapshot, etcd's folder is then made from it: a cluster of one
# member, with a token of its own, that no member of the old one takes for its own.
# The phase control-plane starts it, and the others become members of it.
state_=/etc/kubernetes/halinux/restores/$name
manifests=/etc/kubernetes/manifests
ended() { [ -z "$(ss -ltnH 'sport = :2379 or sport = :6443')" ]; }
server_ended() { [ -z "$(ss -ltnH 'sport = :6443')" ]; }
if ! /usr/local/lib/halinux/etcd-restored "$name" "$address" $peers; then
	mkdir -p "$state_"
	if [ ! -e "$state_/stopped" ]; then
		for item in kube-apiserver kube-controller-manager kube-scheduler; do rm -f "$manifests/$item.yaml"; done
		# It is the kubelet that ends them; an API server whose etcd has gone before it
		# does not end by itself.
		ended || systemctl is-active -q kubelet.service || systemctl start kubelet.service || :
		wait_for 40 "the API server has ended" server_ended || :
		rm -f "$manifests/etcd.yaml"
		wait_for 90 "the pods of the control plane have ended" ended || fail "etcd or the API server still listens" "end it: ss -ltnp, journalctl -u kubelet"
		if [ -e /var/lib/etcd/member ]; then
			mv -T /var/lib/etcd "/var/lib/etcd.before-$name"
			say "what etcd held is in /var/lib/etcd.before-$name, until the restore is taken out of the configuration"
		fi
		sync /var/lib
		: >"$state_/stopped"
	fi
	if [ "$holder" = yes ] && [ ! -e "$state_/filled" ]; then
		rm -rf /var/lib/etcd.restoring /var/lib/etcd
		# Clients have seen revisions that the snapshot lacks; they must not meet
		# the same numbers again with another content.
		etcdutl snapshot restore "/var/backups/etcd/$snapshot" --data-dir /var/lib/etcd.restoring --name "$host" \
			--initial-cluster "$host=https://$address:2380" --initial-advertise-peer-urls "https://$address:2380" \
			--initial-cluster-token "halinux-$name" --bump-revision 1000000000 --mark-compacted ||
			fail "$snapshot could not be restored" "etcdutl's words are above"
		chmod 700 /var/lib/etcd.restoring
		sync -f /var/lib/etcd.restoring
		mv -T /var/lib/etcd.restoring /var/lib/etcd
		sync /var/lib
		: >"$state_/filled"
	fi
	sync "$state_"
fi
