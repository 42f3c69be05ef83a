#!/bin/sh
# drbd-unfence-peer [RESOURCE]: DRBD's after-resync-target handler. The replica
# here has caught up, so either host may be promoted again. Also called by the
# monitor where nothing had to be copied and DRBD calls no handler.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C
resource=${1:-${DRBD_RESOURCE:?}}
id=drbd-fence-by-handler-$resource-$resource-drbd
cibadmin --query --xpath "//rsc_location[@id='$id']" >/dev/null 2>&1 || exit 0
# The states are not settled yet when the handler of a resync runs.
for _ in 1 2 3 4 5 6 7 8 9 10; do
	if [ "$(drbdadm cstate "$resource")" = Connected ] && [ "$(drbdadm dstate "$resource")" = UpToDate/UpToDate ]; then
		cibadmin --delete --scope constraints --sync-call --xml-text "<rsc_location id=\"$id\"/>"
		logger -t drbd-unfence-peer -p daemon.notice "$resource: both replicas are up to date, either host may be promoted"
		exit 0
	fi
	sleep 1
done
logger -s -t drbd-unfence-peer -p daemon.warning "$resource: $(drbdadm cstate "$resource") $(drbdadm dstate "$resource"): the constraint stays"
exit 1
