#!/bin/sh
# shellcheck shell=sh disable=SC2154
# Two that were missed are a fault, one may have met an election.
find /var/backups/etcd -maxdepth 1 -name "etcd-$host-*.db" -newermt "-$((every * 5 / 2)) seconds" 2>/dev/null | grep -q . ||
	differs "no snapshot of etcd is younger than $((every * 5 / 2)) s"
! systemctl is-failed -q halinux-etcd-snapshot.service || differs "the last snapshot of etcd failed: $(journalctl -q -n 1 --no-pager -o cat -u halinux-etcd-snapshot.service SYSLOG_IDENTIFIER=etcd-snapshot)"
