[ "$(crm_node --quorum 2>/dev/null)" = 1 ] || differs "the cluster has no quorum here"
corosync-cfgtool -s 2>/dev/null | grep -q 'disconnected' && differs "a link to $peer is down"
corosync-quorumtool -s 2>/dev/null | grep -q ' Qdevice$' && ! corosync-quorumtool -s 2>/dev/null | grep -q '[^N]V,.* Qdevice' &&
	differs "the witness does not vote"
crm_mon --output-as=xml --one-shot --include=none,failures 2>/dev/null | sed -n 's/.*<failure .*op_key="\([^"]*\)".*node="\([^"]*\)".*exitstatus="\([^"]*\)".*/\1 on \2: \3/p' | while read -r line; do
	differs "failed: $line"
done
