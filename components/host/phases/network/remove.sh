# The network that the host had before. A bond goes, and with it perhaps the
# connection: what follows is done by a unit of its own.
# shellcheck shell=sh disable=SC2154

[ ! -e "$here/netplan" ] || while IFS= read -r file; do give_back "$file"; done <"$here/netplan"
if [ "$manage" = yes ]; then
	cut -f4 "$here/manifest" | grep -e ^/etc/systemd/network -e ^/etc/netplan | while IFS= read -r file; do give_back "$file"; done
	cat >/run/halinux-network.sh <<-END
		for name in $bonds; do ip link del "\$name"; done
		[ -z "\$(ls /etc/netplan/*.yaml 2>/dev/null)" ] || ! command -v netplan || netplan generate
		networkctl reload
		networkctl reconfigure $interfaces
		rm -f /run/halinux-network.sh
	END
	{ [ -z "$bonds" ] && [ ! -e "$here/netplan" ]; } || systemd-run -q --collect --unit=halinux-network sh /run/halinux-network.sh
fi
