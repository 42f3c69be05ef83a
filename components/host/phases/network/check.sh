# Names, addresses and bonds as they are now.
# shellcheck shell=sh disable=SC2154

[ "$(hostname)" = "$host" ] || differs "the host calls itself $(hostname)"
[ "$manage" = yes ] || return 0
while read -r name address; do
	[ -z "$name" ] || [ -n "$(ip -o addr show dev "$name" to "${address%/*}" 2>/dev/null)" ] || differs "$name does not have the address $address"
done <<END
$addresses
END
while read -r name router; do
	[ -z "$name" ] || ip route show dev "$name" | grep -q " via $router " || ip -6 route show dev "$name" | grep -q " via $router " || differs "no route leads over $router on $name"
done <<END
$gateways
END
while read -r name member; do
	[ -n "$name" ] || continue
	case " $(cat "/sys/class/net/$name/bonding/slaves" 2>/dev/null) " in
	*" $member "*) [ "$(cat "/sys/class/net/$member/operstate")" = up ] || differs "$name: its link $member is down" ;;
	*) differs "$member is not in $name" ;;
	esac
done <<END
$members
END
