#!/bin/sh
# mdadm's monitor calls this with what happened, the array, and perhaps the
# disk. The journal gets it as an error when redundancy is at stake.
set -eu
case $1 in
Fail* | Degraded* | SparesMissing | DeviceDisappeared) level=err ;;
*) level=notice ;;
esac
logger -t halinux-disks -p "daemon.$level" "$1: $2${3:+ ($3)}"
