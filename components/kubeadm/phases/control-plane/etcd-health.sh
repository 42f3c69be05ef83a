#!/bin/sh
# etcd-health ADDRESS...: succeeds when the etcd that answers at one of the
# addresses has no learner and no member that is down: only then may the list of
# its members be changed. Else says why not.
set -eu
pki=/etc/kubernetes/pki/etcd
etcd() {
	etcdctl --cacert $pki/ca.crt --cert $pki/healthcheck-client.crt --key $pki/healthcheck-client.key --dial-timeout 2s --command-timeout 5s "$@" 2>/dev/null
}
for address; do
	# id, status, name, peer addresses, client addresses, learner
	members=$(etcd --endpoints "https://$address:2379" member list -w simple) || continue
	case $members in
	*unstarted*) echo "a member was added and has not started: $members"; exit 1 ;;
	*', true') echo "a member is still learning"; exit 1 ;;
	esac
	! printf '%s\n' "$members" | grep -q ', true$' || { echo "a member is still learning"; exit 1; }
	etcd --endpoints "https://$address:2379" endpoint health --cluster >/dev/null || { echo "not all members are healthy"; exit 1; }
	exit 0
done
echo "no etcd answers at $*"
exit 1
