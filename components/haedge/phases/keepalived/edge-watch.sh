#!/bin/sh
# edge-watch VIP:INTERFACE...: looks whether another host answers for a VIP that
# is held here, which happens when the edges cannot hear each other's adverts
# but the network passes everything else. It tells the journal (priority alert),
# the node exporter, and the drift check by /run/halinux/held-twice.
#
# It also announces a VIP for the first half minute that it is held here. The one
# that held it may be cut off from this edge, and takes some seconds to find out
# that it is; until then its packets and answers tell neighbours its own hardware
# address again, and when it lets go they would keep that for up to a minute.
set -eu
metrics=/var/lib/prometheus/node-exporter
announcements=10 # one a round, of some three seconds
before='' left=''
while :; do
	twice='' now=''
	for pair; do
		vip=${pair%:*} interface=${pair#*:}
		ip -4 -o address show dev "$interface" | grep -qF " $vip/32 " || continue
		case " $left " in
		*" $vip="*) n=${left#*" $vip="} n=${n%% *} ;;
		*) n=$announcements ;;
		esac
		if [ "$n" -gt 0 ]; then
			arping -U -q -c 1 -I "$interface" "$vip" || :
			n=$((n - 1))
		fi
		now="$now $vip=$n"
		# Duplicate address detection: exit 1 when somebody else answers.
		rc=0
		arping -D -q -c 1 -w 1 -I "$interface" "$vip" || rc=$?
		[ $rc != 1 ] || twice="$twice $vip"
	done
	left=$now
	if [ "$twice" != "$before" ]; then
		if [ -n "$twice" ]; then
			logger -t halinux-edge -p daemon.alert "held by another edge too:$twice; do VRRP packets (IP protocol 112) pass between the edges?"
		else
			logger -t halinux-edge -p daemon.notice "no VIP is held twice any more"
		fi
		# Who learned the other's hardware address has to forget it. Not before:
		# two edges that both serve would take the clients from each other.
		for pair; do
			vip=${pair%:*} interface=${pair#*:}
			case " $before " in *" $vip "*) ;; *) continue ;; esac
			case " $twice " in *" $vip "*) continue ;; esac
			! ip -4 -o address show dev "$interface" | grep -qF " $vip/32 " || arping -U -q -c 2 -I "$interface" "$vip" || :
		done
		before=$twice
	fi
	# shellcheck disable=SC2086 # a list of words
	printf '%s\n' $twice >/run/halinux/held-twice || :
	# On a full disk the journal and the file above still tell.
	if [ -d "$metrics" ] && {
		printf '# HELP halinux_vip_held_twice Whether another edge answers for a VIP that is held here.\n# TYPE halinux_vip_held_twice gauge\n'
		for pair; do
			case " $twice " in *" ${pair%:*} "*) value=1 ;; *) value=0 ;; esac
			printf 'halinux_vip_held_twice{vip="%s"} %s\n' "${pair%:*}" "$value"
		done
	} >"$metrics/.halinux_edge"; then
		mv "$metrics/.halinux_edge" "$metrics/halinux_edge.prom" || :
	fi
	sleep 2
done
