# Whom resolved really asks.
# shellcheck shell=sh disable=SC2154

[ "$(readlink -f /etc/resolv.conf)" = /run/systemd/resolve/stub-resolv.conf ] || differs "/etc/resolv.conf does not lead to systemd-resolved"
for server in $servers; do
	resolvectl dns 2>/dev/null | sed -n 's/^Global://p' | grep -qwF "$server" || differs "resolved does not ask $server"
done
