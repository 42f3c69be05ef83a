# Corosync, the third vote, SBD and Pacemaker on this host, with what Pacemaker
# will start: nothing of it starts by itself.
# shellcheck disable=SC2086 # agents is a list of words
packages pacemaker pacemaker-cli-utils resource-agents corosync corosync-qdevice libnss3-tools openssl \
	nfs-kernel-server xfsprogs iptables ${watchdog:+sbd} $agents

# unit NAME: enabled and running; a restart would take the host out of the cluster.
unit() {
	printf '%s\n' "$1" >>"$work/units"
	reload_units
	systemctl is-enabled -q "$1" 2>/dev/null || SYSTEMCTL_SKIP_SYSV=1 systemctl enable -q --no-reload "$1"
	systemctl is-active -q "$1" || { say "$1: starting"; systemctl reset-failed "$1" 2>/dev/null || :; systemctl start "$1" || service_failed "$1" start; }
}

if [ -n "$watchdog" ]; then
	[ -z "$module" ] || modprobe "$module" || fail "the kernel has no module $module" "name another watchdog"
	wait_for 5 "$watchdog is there" test -c "$watchdog" || fail "$watchdog is not there" "load its module, or name one that is: $(find /dev -maxdepth 1 -name 'watchdog*' | tr '\n' ' ')"
fi
place
corosync -t || fail "corosync refuses its configuration" "the old one stays in use; its words are above"
nssdb=/etc/corosync/qdevice/net/nssdb
if changed /etc/corosync/halinux/ca.pem /etc/corosync/halinux/own.pem || [ ! -e $nssdb ]; then
	mkdir -p /etc/corosync/qdevice/net
	/usr/local/lib/halinux/certificates $nssdb root:root 'Cluster Cert'
fi
sysctl -q -p /etc/sysctl.d/60-halinux-storage.conf || fail "the kernel does not let fs.leases-enable be set" "its words are above"
mkdir -p "$root"
# Only NFSv4 is served: the server would start what the older versions need.
systemctl is-active -q pacemaker.service || no_service nfs-server.service
no_service rpcbind.socket rpcbind.service rpc-statd.service rpc-statd-notify.service
systemctl mask -q rpcbind.socket rpcbind.service rpc-statd.service rpc-statd-notify.service

# SBD starts and ends with corosync alone. Where the fencing was done by agents so
# far, the cluster runs without it: the other host would count on a reset that
# nobody does, and Pacemaker ends at once when it is told of such a fencing.
sbd_runs() { case $(systemctl show -P ActiveState sbd.service) in active | activating) ;; *) return 1 ;; esac; }
if [ -n "$watchdog" ]; then
	systemctl is-enabled -q sbd.service || SYSTEMCTL_SKIP_SYSV=1 systemctl enable -q sbd.service
	! systemctl is-active -q corosync.service || sbd_runs ||
		fail "the cluster runs here without SBD, which starts with it" "restart this host while the other one serves, then up again"
elif systemctl is-enabled -q sbd.service 2>/dev/null; then
	SYSTEMCTL_SKIP_SYSV=1 systemctl disable -q sbd.service
	! sbd_runs || say "SBD is not needed any more, and ends when this host is restarted"
fi
# end of SBD
if systemctl is-active -q corosync.service; then
	if changed /etc/corosync/corosync.conf; then
		say "corosync: reload"
		corosync-cfgtool -R || fail "corosync did not take the changes" "its words are above"
		systemctl restart corosync-qdevice.service || service_failed corosync-qdevice.service restart
	fi
	! changed /etc/default/sbd /etc/corosync/authkey || say "SBD and the cluster's key are read at the start of the cluster: restart this host when it does not serve"
fi
unit corosync.service
unit corosync-qdevice.service
unit pacemaker.service
unit halinux-boot-id.service
unit halinux-storage-metrics.timer

member() { [ "$(crm_node --quorum 2>/dev/null)" = 1 ] && crm_mon --output-as=xml --one-shot --include=none,nodes | grep -q "<node name=\"$host\".* online=\"true\""; }
wait_for 120 "a member of the cluster" member || {
	corosync-quorumtool -s || :
	corosync-qdevice-tool -s || :
	fail "this host is no member of a cluster with a quorum" "does the network let corosync pass, and is the witness up?"
}
