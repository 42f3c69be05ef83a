#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# Directories for local volumes. One that is there is taken as it is: a file system
# may be mounted there.
for path in $paths; do
	[ "$(readlink -m "$path")" = "$path" ] || fail "$path has a symbolic link in it" "name the directory that it leads to"
	[ -d "$path" ] && continue
	[ ! -e "$path" ] || fail "$path is no directory" "take another path"
	# fsGroup of a pod gives it to the pod's group.
	(umask 022 && mkdir -p "$path")
done
