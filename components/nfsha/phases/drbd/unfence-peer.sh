#!/bin/sh
# drbd-unfence-peer [RESOURCE]: both replicas are alike again, so either host may
# be promoted. DRBD's unfence-peer handler (drbd.conf(5), 8.4), which runs where
# a replica was copied from; also called by the server's monitor, since DRBD calls
# nobody where nothing had to be copied.
# Never on a secondary of a primary: it may take the link for whole for seconds
# after the primary has seen it break, and would take away what the primary's
# fence-peer handler has just relied on.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C
resource=${1:-${DRBD_RESOURCE:?}}
id=drbd-fence-by-handler-$resource-$resource-drbd

tell() { logger -s -t drbd-unfence-peer -p "daemon.$1" "$resource: $2"; }
alike() { [ "$(drbdadm cstate "$resource")" = Connected ] && [ "$(drbdadm dstate "$resource")" = UpToDate/UpToDate ]; }

constraint=$(cibadmin --query --xpath "//rsc_location[@id='$id']" 2>/dev/null) || exit 0
[ "$(drbdadm role "$resource")" != Secondary/Primary ] || exit 0
# The states are not settled yet when the handler of a resync runs.
for _ in 1 2 3 4 5 6 7 8 9 10; do
	if alike; then
		cibadmin --delete --scope constraints --sync-call --xml-text "<rsc_location id=\"$id\"/>"
		# A link that broke in between has found the constraint in its place, and
		# the writes go on because of it.
		if alike; then
			tell notice "both replicas are up to date, either host may be promoted"
			exit 0
		fi
		cibadmin --create --scope constraints --sync-call --xml-text "$constraint"
	fi
	sleep 1
done
tell warning "$(drbdadm cstate "$resource") $(drbdadm dstate "$resource"): the constraint stays"
exit 1
