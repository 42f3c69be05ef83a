#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# Whether etcd may be put back to a snapshot. Before it happens on any control
# plane, all of them have passed this; nothing of the cluster is changed here.
place
state_=/etc/kubernetes/halinux/restores/$name
file=/var/backups/etcd/$snapshot
rc=0
/usr/local/lib/halinux/etcd-restored "$name" "$address" $peers || rc=$?
if [ $rc = 0 ]; then
	say "the restore $name was done"
else
	if [ $rc = 1 ] && [ "$discard" = no ] && [ ! -e "$state_/stopped" ]; then
		fail "etcd works, and would lose all that came after the snapshot" "take the restore out, or set its discard: true"
	fi
	if [ "$holder" = yes ]; then
		[ -e "$file" ] || fail "$file is missing" "put it there, or name another one: $(find /var/backups/etcd -name '*.db' -printf '%f ' 2>/dev/null)"
		if [ "$(head -c -32 "$file" | sha256sum | cut -d' ' -f1)" != "$(tail -c 32 "$file" | od -An -v -tx1 | tr -d ' \n')" ] || ! etcdutl snapshot status "$file"; then
			fail "$file is damaged" "name another one: $(find /var/backups/etcd -name '*.db' -printf '%f ')"
		fi
		[ "$(df --output=avail -B 1 /var/lib | tail -n 1)" -gt $((2 * $(stat -c %s "$file"))) ] || fail "there is no room in /var/lib for what is in $file" "free some"
	fi
fi
