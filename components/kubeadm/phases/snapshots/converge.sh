#!/bin/sh
# shellcheck shell=sh disable=SC2154
# Snapshots of etcd by a timer; and one at once, which shows that they can be had.
[ -z "$target" ] || packages openssh-client
place
service halinux-etcd-snapshot.timer
fresh() { find /var/backups/etcd -maxdepth 1 -name "etcd-$host-*.db" -newermt "-$every seconds" 2>/dev/null | grep -q .; }
if changed '' || ! fresh; then
	systemctl start halinux-etcd-snapshot.service || service_failed halinux-etcd-snapshot.service succeed
	say "$(journalctl -q -n 2 --no-pager -o cat -u halinux-etcd-snapshot.service SYSLOG_IDENTIFIER=etcd-snapshot | tr '\n' ' ')"
fi
