#!/bin/sh
# shellcheck shell=sh disable=SC2154
# Copies of etcd's snapshots. Control planes come in as an account whose key can run
# one program.
home=/var/lib/halinux-etcd
if ! id halinux-etcd >/dev/null 2>&1; then
	useradd --system --user-group --home-dir $home --no-create-home --shell /bin/sh halinux-etcd
	# No password, and yet not locked.
	usermod -p '*' halinux-etcd
fi
allowed=$(sshd -T -C user=halinux-etcd,host=client,addr=127.0.0.1 | sed -n 's/^allowusers //p')
[ -z "$allowed" ] || printf '%s\n' "$allowed" | grep -qxF halinux-etcd ||
	fail "sshd lets nobody in as halinux-etcd" "add it to base.sshd.allowUsers"
[ -d $home ] || install -d -m 755 $home
install -d -m 700 -o halinux-etcd -g halinux-etcd $home/snapshots
place
