# The file system on the replicated volume: made once, on two new replicas, by
# the first host; grown by the one that serves.
connected() { [ "$(drbdadm cstate "$resource")" = Connected ] || drbdadm cstate "$resource" | grep -q '^Sync\|^Verify'; }
states() { drbdadm dstate "$resource" 2>/dev/null; }
managed() { cibadmin --query --xpath "//clone[@id='$resource-drbd']" >/dev/null 2>&1; }

if [ "$first" = yes ] && ! managed; then
	wait_for 60 "the replicas are connected" connected || fail "the replicas are not connected ($(drbdadm cstate "$resource"))" "is the replication network up, on both hosts?"
	case $(states) in
	Inconsistent/Inconsistent)
		# Both are new: nobody has any data.
		say "new volume: the first copy starts here"
		drbdadm primary --force "$resource" || fail "the replica did not become primary" "its words are above"
		;;
	UpToDate/*) drbdadm primary "$resource" || fail "the replica did not become primary" "its words are above" ;;
	*/UpToDate) say "the other host has the data" ;;
	*) fail "the replicas are $(states)" "see docs/storage.md" ;;
	esac
	if [ "$(drbdadm role "$resource" | cut -d/ -f1)" = Primary ]; then
		if [ -z "$(blkid -p -s TYPE -o value /dev/drbd0)" ]; then
			# Discarding all of it would put all of it into DRBD's activity log, and a
			# primary that crashes copies what is in there.
			mkfs.xfs -q -K -L "$label" /dev/drbd0 || { drbdadm secondary "$resource"; fail "mkfs.xfs failed" "its words are above"; }
			mkdir -p /run/halinux-new
			mount /dev/drbd0 /run/halinux-new
			mkdir -p /run/halinux-new/.halinux/tickle
			chmod 711 /run/halinux-new/.halinux
			umount /run/halinux-new
			rmdir /run/halinux-new
			say "new file system"
		fi
		kind=$(blkid -p -s TYPE -o value /dev/drbd0)
		drbdadm secondary "$resource"
		[ "$kind" = xfs ] || fail "the volume holds $kind, not xfs" "it was not made here: name another volume"
	fi
fi
# Where the volumes below have grown on both hosts, so does what lies on them.
if [ "$(drbdadm role "$resource" 2>/dev/null | cut -d/ -f1)" = Primary ]; then
	have=$(($(blockdev --getsize64 /dev/drbd0) / 1048576))
	# DRBD's own part is below 1 MiB for each 32 GiB, and LVM rounds up.
	if [ $((size - have)) -gt $((4 + size / 16384)) ]; then
		say "growing to $size MiB"
		drbdadm resize "$resource" || fail "the replicated volume did not grow" "its words are above; both hosts must have grown their own before"
		# It grows once the other host has answered.
		grown() { [ $(($(blockdev --getsize64 /dev/drbd0) / 1048576)) -gt "$have" ]; }
		wait_for 60 "the replicated volume has grown" grown || fail "the replicated volume is as small as before" "have both hosts grown their own, and are they connected?"
	fi
	! findmnt -n "$root" >/dev/null || xfs_growfs "$root" >/dev/null || fail "the file system did not grow" "its words are above"
fi
