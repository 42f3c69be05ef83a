#!/bin/sh
# etcd-members VERB SELF PEER...: what a control plane asks etcd about its members.
# SELF and PEER are addresses. Each verb succeeds when it is so, else says why not.
#   grow   etcd may take this host in: all other members vote and are healthy.
#          What a run that was cut short left of this host does not count.
#   votes  this host's member votes; one that still learns is promoted as soon as
#          it has caught up
#   leave  this host is no member any more; succeeds when nobody could be told
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
leave)
	[ -z "$own" ] || [ -z "$others" ] || etcd --endpoints "https://$address:2379" member remove "${own%%,*}" >/dev/null ||
		{ echo "it could not be removed: $own"; exit 1; }
	;;
esac
