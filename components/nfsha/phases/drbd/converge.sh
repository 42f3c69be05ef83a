# The replica of this host. Pacemaker starts it and decides who is primary; here
# it is started only as long as Pacemaker does not know it yet.
packages drbd-utils
modprobe drbd || fail "the kernel has no module drbd" "boot a kernel of Debian's, which has it"
[ -b "$disk" ] || fail "$disk is not there" "the phase disks makes it; see its log"
place
drbdadm dump "$resource" >/dev/null || fail "drbdadm refuses /etc/drbd.d/$resource.res" "its words are above"
# Debian's own unit would start it beside Pacemaker.
no_service drbd.service

configured() { [ "$(drbdadm cstate "$resource" 2>/dev/null || echo Unconfigured)" != Unconfigured ]; }
managed() { cibadmin --query --xpath "//primitive[@type='drbd']//nvpair[@value='$resource']" >/dev/null 2>&1; }

if ! configured; then
	if ! drbdadm dump-md "$resource" >/dev/null 2>&1; then
		what=$(wipefs -n --noheadings --output TYPE,LABEL,UUID "$disk" | awk '{gsub(/ +/, " "); print}' | paste -sd';')
		[ -z "$what" ] || fail "$disk holds $what, and is no replica" "only where you are certain that nothing of it is needed, empty it with wipefs --all"
		say "$disk: new replica"
		drbdadm create-md --force "$resource" || fail "drbdadm did not make the replica's metadata" "its words are above"
	fi
	managed || drbdadm up "$resource" || fail "the replica did not start" "its words are above"
else
	! changed "/etc/drbd.d/$resource.res" || drbdadm adjust "$resource" || fail "DRBD did not take the changes" "its words are above; the old settings are in use"
fi
service halinux-drbd-verify.timer restart
