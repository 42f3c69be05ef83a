#!/bin/sh
# shellcheck shell=sh disable=SC2154
id halinux-etcd >/dev/null 2>&1 || differs "the user halinux-etcd is missing"
for name in $masters; do
	find /var/lib/halinux-etcd/snapshots -maxdepth 1 -name "etcd-$name-????????T??????Z.db" -newermt "-$((every * 5 / 2)) seconds" 2>/dev/null | grep -q . ||
		differs "no copy of a snapshot of $name is younger than $((every * 5 / 2)) s"
done
