# How a lost host is fenced: said to the whole cluster, by one of its hosts.
place
all_here() {
	for name in $hosts; do
		crm_mon --output-as=xml --one-shot --include=none,nodes | grep -q "<node name=\"$name\".* online=\"true\"" || return 1
	done
}
if [ ! -e "$here/done" ]; then
	wait_for 60 "all hosts are members" all_here || fail "not all of $hosts are members of one cluster" "see corosync-cfgtool -s on each"
fi
/usr/local/lib/halinux/cib-apply halinux-fence /etc/halinux/cib/fencing.xml ||
	fail "the cluster did not take the fencing" "the reason is above"
