[ "$(crm_node --quorum 2>/dev/null)" = 1 ] || differs "the cluster has no quorum here"
# One late answer takes a link down for a moment, as on a busy host.
linked() { ! corosync-cfgtool -s | grep -q disconnected; }
n=0
until linked 2>/dev/null || [ $n = 10 ]; do n=$((n + 1)); sleep 0.5; done
[ $n -lt 10 ] || differs "a link to $peer is down"
# Its line ends with "(votes 1)" when it gives none.
corosync-quorumtool -s 2>/dev/null | grep -Eq '^ *0 +[1-9][0-9]* +Qdevice$' || differs "the witness does not vote"
[ -z "$watchdog" ] || case $(systemctl show -P ActiveState sbd.service) in active | activating) ;; *) differs "SBD does not run: nobody would reset this host" ;; esac
crm_mon --output-as=xml --one-shot --include=none,failures 2>/dev/null | sed -n 's/.*<failure .*op_key="\([^"]*\)".*node="\([^"]*\)".*exitstatus="\([^"]*\)".*/\1 on \2: \3/p' | while read -r line; do
	differs "failed: $line"
done
[ "$(sysctl -n fs.leases-enable)" = 0 ] || differs "fs.leases-enable is not 0: clients may lose locks in a failover"
