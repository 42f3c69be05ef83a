#!/bin/sh
# volumes "VERB ...": directories of one project, each with a quota of its own,
# made and removed by who may do nothing else here (the forced command of an SSH
# key):
#   create NAME MIB [MODE]   makes it, or gives it more; prints its path. It never
#                            becomes smaller: a command may come late
#   remove NAME              with all that is in it; no error where there is none
#   list                     NAME, quota and use in MiB, a line each
# Exit codes: 0; 2 what was asked for is not understood; 3 this host does not
# serve, the other one may; 4 the project has no room for it; 1 anything else.
set -euf
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C
umask 022
conf=${HALINUX_VOLUMES:-/etc/halinux/volumes}

end() {
	printf '%s\n' "$2" >&2
	exit "$1"
}
# shellcheck source=/dev/null
. "$conf"
: "${root:?}" "${project:?}" "${quota:?}"
pool=$root/$project
known=$root/.halinux/volumes

# shellcheck disable=SC2086 # words
set -- ${1:-}
verb=${1:-} name=${2:-} size=${3:-} mode=${4:-0770}
case $verb/$# in
create/3 | create/4 | remove/2 | list/1) ;;
*) end 2 'use: create NAME MIB [MODE], remove NAME, or list' ;;
esac
if [ "$verb" != list ]; then
	case $name in
	'' | [!a-zA-Z0-9]* | *[!a-zA-Z0-9._-]*) end 2 "$name is no name: use letters, digits, dots, hyphens and underscores" ;;
	esac
	[ ${#name} -le 128 ] || end 2 "$name is longer than 128"
fi
if [ "$verb" = create ]; then
	case $size in '' | 0* | *[!0-9]*) end 2 "$size is no size in MiB" ;; esac
	[ ${#size} -le 12 ] || end 2 "$size MiB are too many"
	case $mode in [0-7][0-7][0-7] | [0-7][0-7][0-7][0-7]) ;; *) end 2 "$mode is no mode: write it like 0770" ;; esac
fi
if [ "$(findmnt -no FSTYPE --mountpoint "$root")" != xfs ] || [ ! -d "$pool" ]; then
	end 3 'this host does not serve'
fi

mkdir -p "$known"
exec 9>"$root/.halinux/volumes.lock"
flock -w 60 9 || end 1 'others are at work here for more than a minute'
# What an earlier run could not end is ended.
find "$root/.halinux" -maxdepth 1 -name 'removed.*' -exec rm -rf --one-file-system {} +

# entry NAME: its number and its size
entry() { cat "$known/$1" 2>/dev/null || :; }
# promised [BUT]: the sum of all sizes, but one
promised() { find "$known" -type f ! -name "${1:-/}" -exec cat {} + | awk '{sum += $2} END {printf "%.0f", sum}'; }
# record NAME NUMBER SIZE: at once, or not at all
record() {
	printf '%s %s\n' "$2" "$3" >"$root/.halinux/volumes.new"
	mv "$root/.halinux/volumes.new" "$known/$1"
}

case $verb in
list)
	used=$(xfs_quota -x -c 'report -p -b -n -N' "$root")
	find "$known" -type f -printf '%f\n' | sort | while read -r volume; do
		number=$(entry "$volume" | cut -d' ' -f1)
		printf '%s %s %s\n' "$volume" "$(entry "$volume" | cut -d' ' -f2)" "$(printf '%s\n' "$used" | awk -v id="#$number" '$1 == id {printf "%.0f", $2 / 1024; found = 1} END {if (!found) print 0}')"
	done
	;;
create)
	had=$(entry "$name" | cut -d' ' -f2)
	[ "${had:-0}" -le "$size" ] || size=$had
	[ $(($(promised "$name") + size)) -le "$quota" ] || end 4 "$project has $quota MiB, of which $(promised "$name") are promised to others"
	# Root of a client may put anything into the pool.
	[ ! -L "$pool/$name" ] || end 1 "$name is a symbolic link"
	number=$(entry "$name" | cut -d' ' -f1)
	if [ -z "$number" ]; then
		# Above all numbers of projects, and never used again.
		number=$(cat "$root/.halinux/volumes.next" 2>/dev/null || echo 2147483648)
		echo $((number + 1)) >"$root/.halinux/volumes.next"
	fi
	# What is in there may have come before this, or from a run that was cut off.
	new=
	[ -d "$pool/$name" ] || new=yes
	record "$name" "$number" "$size"
	mkdir -p "$pool/$name"
	[ -z "$new" ] || chmod "$mode" "$pool/$name"
	if [ "$(xfs_io -r -c lsproj "$pool/$name" | sed 's/.*= //')" != "$number" ]; then
		if [ -n "$new" ]; then
			xfs_io -r -c "chproj $number" -c 'chattr +P' "$pool/$name"
		else
			xfs_quota -x -c "project -s -p $pool/$name $number" "$root" >/dev/null
		fi || end 1 "$name did not become project $number"
	fi
	xfs_quota -x -c "limit -p bhard=${size}m $number" "$root" || end 1 "the quota of $name was not set"
	sync -f "$pool"
	printf '%s\n' "$pool/$name"
	;;
remove)
	number=$(entry "$name" | cut -d' ' -f1)
	# What was not made here is not removed here.
	[ -n "$number" ] || exit 0
	[ ! -e "$pool/$name" ] || mv -T "$pool/$name" "$root/.halinux/removed.$number"
	rm -rf --one-file-system "$root/.halinux/removed.$number"
	xfs_quota -x -c "limit -p bhard=0 $number" "$root" || end 1 "the quota of $name was not taken away"
	rm -f "$known/$name"
	sync -f "$pool"
	;;
esac
