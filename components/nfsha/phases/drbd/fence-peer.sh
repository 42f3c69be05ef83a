#!/bin/sh
# drbd-fence-peer SECONDS: DRBD's fence-peer handler (drbd.conf(5), 8.4).
#
# DRBD calls it on a primary that lost its peer, with all writes frozen, and on
# a host that shall become primary alone. Its exit code says what is certain:
#   4  the peer is there and cannot be promoted: the constraint below stands in
#      the CIB, and the peer's controller answered after it had been written, or
#      has yet to start, and gets the CIB first
#   5  the peer is out of the cluster, cleanly, and cannot come back promoted
#   7  the peer has been fenced since
#   1  none of this within SECONDS, or another's data is newer: writes stay
#      frozen, or the promotion fails
# The handler of Debian 13's drbd-utils reads the CIB's node states, whose form
# changed with Pacemaker 2.1.7, and so never sees a living peer. This one asks
# Pacemaker's own tools instead (docs/decisions/storage.md).
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C

limit=$1
resource=${DRBD_RESOURCE:?}
peer=${DRBD_PEER:-}
me=$(uname -n)
clone=$resource-drbd
id=drbd-fence-by-handler-$resource-$clone
deadline=$(($(date +%s) + limit))

tell() { logger -s -t drbd-fence-peer -p "daemon.$1" "$resource: $2"; }
end() {
	tell "$1" "$2"
	exit "$3"
}
late() { [ "$(date +%s)" -ge $deadline ]; }

# attribute NAME of an XML tag on stdin
attribute() { sed -n "s/.* $1=\"\([^\"]*\)\".*/\1/p"; }

# who_may: the host that the constraint lets be promoted; empty without one.
who_may() {
	cibadmin --query --xpath "//rsc_location[@id='$id']//expression" 2>/dev/null | attribute value | head -n 1
}

# peer_state: online, pending, offline (clean), unclean or unknown, as Pacemaker's
# scheduler sees it. Pending is a host whose Corosync is back and whose Pacemaker
# has not joined; one whose Pacemaker died is unclean. It has nothing running, and
# gets the CIB before it gets anything to do. It may have to wait for us: Pacemaker
# lets nobody in while a promotion is under way, and that waits for this handler.
peer_state() {
	line=$(crm_mon --output-as=xml --one-shot --include=none,nodes 2>/dev/null | grep "<node name=\"$peer\"" | head -n 1) || :
	case $(printf '%s' "$line" | attribute online)/$(printf '%s' "$line" | attribute unclean)/$(printf '%s' "$line" | attribute pending) in
	*/false/true) echo pending ;;
	true/false/*) echo online ;;
	false/false/*) echo offline ;;
	*/true/*) echo unclean ;;
	*) echo unknown ;;
	esac
}
quorate() { [ "$(crm_node --quorum 2>/dev/null)" = 1 ]; }
my_disk() { drbdadm dstate "$resource" 2>/dev/null | cut -d/ -f1 | head -n 1; }
# answers: a round trip to the peer's controller. Messages of the cluster keep
# their order, so what was written to the CIB before has reached the peer. It is a
# matter of milliseconds, and never comes from one that is just leaving.
answers() { crmadmin --timeout=2s --status="$peer" >/dev/null 2>&1; }

if [ -z "$peer" ]; then
	peer=$(crm_node --list 2>/dev/null | awk -v me="$me" '$2 != me {print $2}')
	[ "$(printf '%s\n' "$peer" | grep -c .)" = 1 ] || end err "the peer's name is not known" 1
fi

tell notice "asked to keep $peer from being promoted"
# Seen out of the cluster once, it cannot come back but with the constraint.
was_unclean='' was_offline=''
while :; do
	# Without quorum nothing that is written here counts.
	if quorate; then
		state=$(peer_state)
		case $state in
		offline) was_offline=yes ;;
		unclean) was_unclean=yes ;;
		esac
		case $(who_may) in
		"$me") placed=yes ;;
		'')
			placed=no
			if [ "$(my_disk)" = UpToDate ] || { [ -z "$was_offline" ] && [ "$state" != offline ] && [ "$state" != unclean ] && [ "$state" != unknown ]; }; then
				cibadmin --create --scope constraints --sync-call --timeout=10 --xml-text "
<rsc_location id=\"$id\" rsc=\"$clone\">
  <rule id=\"$id-rule\" role=\"Promoted\" score=\"-INFINITY\">
    <expression id=\"$id-expression\" attribute=\"#uname\" operation=\"ne\" value=\"$me\"/>
  </rule>
</rsc_location>" >/dev/null 2>&1 || :
				[ "$(who_may)" != "$me" ] || placed=yes
			else
				end warning "my disk is $(my_disk), and $peer is not there to be asked: whose data is newer is not known" 5
			fi
			;;
		*) end err "$(who_may) has newer data; nothing is promoted or written here" 1 ;;
		esac
		if [ $placed = yes ]; then
			[ -z "$was_offline" ] || [ -z "$was_unclean" ] || end notice "$peer has been fenced" 7
			[ -z "$was_offline" ] || end notice "$peer is out of the cluster" 5
			[ "$(peer_state)" != pending ] || ! quorate || end notice "$peer has yet to start, with the constraint in its place" 4
			! answers || ! quorate || [ "$(peer_state)" != online ] || end notice "$peer is there and cannot be promoted" 4
		fi
	fi
	! late || end err "after $limit s: quorum $(crm_node --quorum 2>/dev/null || echo unknown), $peer is $(peer_state); writes stay frozen until it is fenced" 1
	sleep 0.5
done
