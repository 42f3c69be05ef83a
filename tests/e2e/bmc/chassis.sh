#!/bin/sh
# What ipmi_sim calls for the power of a host of the lab, as
#   chassis.sh FOLDER LAB HOST get|set WHAT [VALUE] ...
# It answers at once and switches in the background, as a management controller
# does; the power that it tells of is what has been done. What was asked for
# stands in FOLDER/asked.
set -eu
dir=$1 lab=$2 host=$3 verb=$4
shift 4

# One at a time, in the order in which they came; the lock is not for what the
# lab starts, which stays.
later() { flock -o "$dir/lock" "$0" "$dir" "$lab" "$host" "$1" >>"$dir/log" 2>&1 </dev/null & }
case $verb in
off) "$lab" crash "$host" && echo 0 >"$dir/power" ;;
on) echo 1 >"$dir/power" && "$lab" restart "$host" ;;
esac

while [ $# -gt 0 ]; do
	case $verb/$1 in
	get/power) echo "power:$(cat "$dir/power")" ;;
	get/boot) echo boot:default ;;
	set/power)
		echo "power $2" >>"$dir/asked"
		case $2$(cat "$dir/power") in 01) later off ;; 10) later on ;; esac
		shift
		;;
	set/reset)
		echo "reset $2" >>"$dir/asked"
		[ "$2" = 0 ] || later on
		shift
		;;
	set/boot) shift ;;
	*)
		echo "nobody knows how to $verb $1"
		exit 1
		;;
	esac
	shift
done
