#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# One node goes to the next version, by kubeadm's own commands. The phase
# kubernetes has put the new programs aside. Each step looks at what is there, so
# that a run which was cut short is gone on with.
place
next=/usr/local/lib/halinux/next
bin=/usr/local/bin
state_=/etc/kubernetes/halinux/upgrade
members=/usr/local/lib/halinux/etcd-members
kubeconfig=/etc/kubernetes/kubelet.conf
[ "$role" = worker ] || kubeconfig=/etc/kubernetes/admin.conf

# take PROGRAM...: the new one takes the place of the old one, which may be running.
take() {
	for item; do
		cmp -s "$next/$item" "$bin/$item" || { install -m 755 "$next/$item" "$bin/.$item.new" && mv -f "$bin/.$item.new" "$bin/$item"; }
	done
}
k() { "$next/kubectl" --kubeconfig $kubeconfig --request-timeout 15s "$@"; }
step() {
	say "kubeadm $*"
	"$next/kubeadm" "$@" >"$work/kubeadm" 2>&1 || { tail -n 25 "$work/kubeadm"; fail "kubeadm $* failed" "kubeadm's words are above; run it again when that is mended"; }
}
node() { k get node "$host" -o jsonpath="$1"; }
well() { why=$("$members" grow none "$address" $peers); }
upgraded() { [ "$(node '{.status.nodeInfo.kubeletVersion}/{.status.conditions[?(@.type=="Ready")].status}')" = "$version/True" ]; }

if [ ! -e /etc/kubernetes/kubelet.conf ]; then
	# It joins with the new ones.
	take kubeadm kubelet kubectl
else
	mkdir -p $state_
	[ "$role" = worker ] || wait_for 300 "all members of etcd are healthy" well || fail "not now: $why" "bring the other members back first"
	if [ "$(cat $state_/done 2>/dev/null)" != "$version" ]; then
		case $role in
		leader)
			# The metrics are the timer's.
			HALINUX_METRICS=/nonexistent /usr/local/lib/halinux/upgrade-snapshot "$host" "$address" /var/backups/etcd 1000 0 ||
				fail "no snapshot of etcd could be taken" "its words are above"
			# kubeadm goes by the settings that the cluster keeps, and they are the
			# first run's. The file here is that of the last run.
			step init phase upload-config kubeadm --config /etc/kubernetes/halinux/kubeadm.yaml
			# The host has been a node; what its kernel was built with is not asked again.
			step upgrade apply "$version" --yes --ignore-preflight-errors=SystemVerification
			;;
		*) step upgrade node --ignore-preflight-errors=SystemVerification ;;
		esac
		printf '%s\n' "$version" >$state_/done
	fi
	if ! upgraded; then
		# Who was out of use before stays so.
		[ -e $state_/cordoned ] || [ "$(node '{.spec.unschedulable}')" = true ] || { : >$state_/cordoned && sync $state_; }
		say "$host: its pods leave"
		if [ "$role" = worker ]; then
			/usr/local/lib/halinux/drain "$host" 480
		else
			k drain "$host" --ignore-daemonsets --delete-emptydir-data --timeout 480s
		fi || fail "not all pods have left $host" "their disruption budgets do not let them; free room elsewhere or relax the budgets, and run it again"
		take kubelet
		systemctl restart kubelet.service || service_failed kubelet.service restart
		wait_for 300 "$host runs $version" upgraded || fail "$host does not become ready with $version" "look at journalctl -u kubelet"
	fi
	take kubeadm kubelet kubectl
	if [ -e $state_/cordoned ]; then
		k uncordon "$host"
		rm -f $state_/cordoned
	fi
fi
