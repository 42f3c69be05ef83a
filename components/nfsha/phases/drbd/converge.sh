# The replica of this host, started as secondary; Pacemaker decides who is
# primary.
packages drbd-utils
modprobe drbd || fail "the kernel has no module drbd" "boot a kernel of Debian's, which has it"
[ -b "$disk" ] || fail "$disk is not there" "the phase disks makes it; see its log"
place
drbdadm dump "$resource" >/dev/null || fail "drbdadm refuses /etc/drbd.d/$resource.res" "its words are above"
# Debian's own unit would start it beside Pacemaker.
no_service drbd.service

configured() { [ "$(drbdadm cstate "$resource" 2>/dev/null || echo Unconfigured)" != Unconfigured ]; }
if ! configured; then
	# After a crash drbdadm does not read metadata before it has been applied, so
	# the signature tells a replica from other things.
	if ! wipefs -n --noheadings --output TYPE "$disk" | grep -qx drbd; then
		what=$(wipefs -n --noheadings --output TYPE,LABEL,UUID "$disk" | awk '{gsub(/ +/, " "); print}' | paste -sd';')
		[ -z "$what" ] || fail "$disk holds $what, and is no replica" "only where you are certain that nothing of it is needed, empty it with wipefs --all"
		say "$disk: new replica"
		drbdadm create-md --force "$resource" || fail "drbdadm did not make the replica's metadata" "its words are above"
	fi
fi
service halinux-drbd.service restart
service halinux-drbd-verify.timer restart
