# The accounts that halinux made go, their homes stay.
# shellcheck shell=sh disable=SC2154

while read -r name; do
	{ [ -n "$name" ] && getent passwd "$name" >/dev/null; } || continue
	[ "$name" != "${SUDO_USER:-}" ] || { say "$name: stays, since this run came in as $name"; continue; }
	loginctl terminate-user "$name" 2>/dev/null || :
	userdel -f "$name"
done <<END
$(cat "$here/created" 2>/dev/null)
END
if [ "$harden" = yes ]; then
	give_back /etc/ssh/sshd_config.d/05-halinux.conf
	systemctl reload ssh
fi
