#!/bin/sh
# etcd-members VERB SELF PEER...: what a control plane asks etcd about its members.
# SELF and PEER are addresses. Each verb succeeds when it is so, else says why not.
#   grow   etcd may take this host in: all other members vote and are healthy.
#          What a run that was cut short left of this host does not count.
#   votes  this host's member votes; one that still learns is promoted as soon as
#          it has caught up
#   anew   this host has nothing of etcd any more, and so its member of before, if
#          there is one, is taken off the list: kubeadm would start it again under
#          the same number, without what it had promised to the others
#   leave  this host is no member any more; succeeds when nobody could be told.
#          etcd refuses when those that stay would not be a majority
#   expel  the member that is called SELF is no member any more; refused while it
#          answers
set -eu
verb=$1 self=$2
shift 2
pki=/etc/kubernetes/pki/etcd
etcd() {
	etcdctl --cacert $pki/ca.crt --cert $pki/healthcheck-client.crt --key $pki/healthcheck-client.key \
		--dial-timeout 3s --command-timeout 10s "$@" 2>/dev/null
}
# Lines of: id, status, name, address for peers, address for clients, learner
members=
for address; do
	if members=$(etcd --endpoints "https://$address:2379" member list -w simple); then break; fi
	members=
done
own=$(printf '%s\n' "$members" | awk -F ', ' -v me="https://$self:2380" '$4 == me')
others=$(printf '%s\n' "$members" | awk -F ', ' -v me="https://$self:2380" '$4 != me')
gone() { etcd --endpoints "https://$address:2379" member remove "${1%%,*}" >/dev/null || { echo "it could not be removed: $1"; exit 1; }; }
case $verb in
grow)
	[ -n "$members" ] || { echo "no etcd answers at $*"; exit 1; }
	! printf '%s\n' "$others" | grep -q ', unstarted, ' || { echo "a member was added and has not started: $others"; exit 1; }
	! printf '%s\n' "$others" | grep -q ', true$' || { echo "a member is still learning: $others"; exit 1; }
	etcd --endpoints "$(printf '%s\n' "$others" | awk -F ', ' '{print $5}' | paste -sd, -)" endpoint health >/dev/null ||
		{ echo "not all members are healthy"; exit 1; }
	;;
votes)
	case $own in
	'') echo "it is no member"; exit 1 ;;
	*', unstarted, '*) echo "it has not started"; exit 1 ;;
	*', true')
		etcd --endpoints "https://$address:2379" member promote "${own%%,*}" >/dev/null || { echo "it is still learning"; exit 1; }
		;;
	esac
	;;
anew | leave)
	[ -z "$own" ] || [ -z "$others" ] || gone "$own"
	;;
expel)
	[ -n "$members" ] || { echo "no etcd answers at $*"; exit 1; }
	one=$(printf '%s\n' "$members" | awk -F ', ' -v name="$self" '$3 == name')
	[ -n "$one" ] || exit 0
	! etcd --endpoints "$(printf '%s\n' "$one" | awk -F ', ' '{print $5}')" endpoint health >/dev/null || { echo "$self answers, and is not gone"; exit 1; }
	gone "$one"
	;;
esac
