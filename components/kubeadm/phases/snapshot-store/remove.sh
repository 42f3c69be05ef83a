#!/bin/sh
# shellcheck shell=sh disable=SC2154
# The copies stay: whoever removes a cluster by mistake needs them.
if id halinux-etcd >/dev/null 2>&1; then
	# systemd keeps a process for an account until 10 s after its last session.
	loginctl terminate-user halinux-etcd 2>/dev/null || :
	leaves() { why=$(userdel halinux-etcd 2>&1); }
	wait_for 60 "nothing runs as halinux-etcd" leaves || fail "the account halinux-etcd stays: $why" "look at ps -u halinux-etcd"
fi
