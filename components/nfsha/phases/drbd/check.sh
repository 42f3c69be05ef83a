if [ -e "/var/lib/halinux/split-brain/$resource" ]; then
	differs "split brain since $(cat "/var/lib/halinux/split-brain/$resource"): see docs/storage.md"
fi
state=$(drbdadm cstate "$resource" 2>/dev/null || echo Unconfigured)
case $state in
Connected)
	[ "$(drbdadm dstate "$resource")" = UpToDate/UpToDate ] || differs "the replicas are $(drbdadm dstate "$resource")"
	behind=$(sed -n 's/.* oos:\([0-9]*\).*/\1/p' /proc/drbd | head -n 1)
	[ "${behind:-0}" = 0 ] || differs "$behind KiB differ between the replicas: disconnect and connect to copy them"
	;;
*) differs "replication is $state" ;;
esac
