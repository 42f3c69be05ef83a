no_service halinux-drbd-verify.timer halinux-drbd.service
# The data and DRBD's metadata stay on the disk.
[ "$(drbdadm role "$resource" 2>/dev/null | cut -d/ -f1)" != Primary ] || drbdadm secondary "$resource"
drbdadm down "$resource" 2>/dev/null || :
rm -f "/var/lib/halinux/split-brain/$resource"
