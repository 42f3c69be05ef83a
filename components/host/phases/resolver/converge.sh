# Names by systemd-resolved, from all name servers.
# shellcheck shell=sh disable=SC2154

packages systemd-resolved
dropin=$(cut -f3 "$work/index" | grep -F "/$(basename "$(networkctl status "$link" 2>/dev/null | sed -n 's/^ *Network File: //p' | head -n 1)").d/") ||
	dropin=
place /etc/systemd/resolved.conf.d/05-halinux.conf
if [ -n "$dropin" ]; then
	place "$dropin"
else
	say "the network of $link is not halinux's nor Netplan's: resolved asks one server after the other"
fi
service systemd-resolved.service restart
if [ -n "$dropin" ] && changed "$dropin"; then timeout 10 networkctl reload; fi
stub=/run/systemd/resolve/stub-resolv.conf
if [ "$(readlink -f /etc/resolv.conf)" != "$stub" ]; then
	[ -e "$here/resolv.conf" ] || [ ! -e /etc/resolv.conf ] || cp -L /etc/resolv.conf "$here/resolv.conf"
	ln -sf "../$stub" /etc/resolv.conf.halinux
	mv -fT /etc/resolv.conf.halinux /etc/resolv.conf || fail "cannot replace /etc/resolv.conf" "is it mounted from elsewhere?"
fi
