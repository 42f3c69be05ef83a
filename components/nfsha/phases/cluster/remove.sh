# The host leaves the cluster in order: what it serves moves or ends first.
no_service halinux-storage-metrics.timer
systemctl disable -q halinux-boot-id.service pacemaker.service corosync-qdevice.service corosync.service 2>/dev/null || :
! systemctl is-active -q pacemaker.service || systemctl stop pacemaker.service
systemctl stop corosync-qdevice.service corosync.service 2>/dev/null || :
[ -z "$watchdog" ] || systemctl disable -q sbd.service 2>/dev/null || :
systemctl unmask -q rpcbind.socket rpcbind.service rpc-statd.service rpc-statd-notify.service
sysctl -q -w fs.leases-enable=1 || :
rm -rf /etc/corosync/qdevice/net/nssdb /var/lib/pacemaker/cib /var/lib/corosync
rmdir "$root" 2>/dev/null || :
