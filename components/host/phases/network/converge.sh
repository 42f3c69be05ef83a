# Names, addresses, bonds and routes, confirmed or undone.
# shellcheck shell=sh disable=SC2154,SC2086,SC2317

place /etc/hosts /etc/hostname
[ "$(hostname)" = "$host" ] || hostname "$host"
[ "$manage" = yes ] || return 0

up() { [ -n "$(ip -o addr show dev "$1" to "${2%/*}" 2>/dev/null)" ]; }
# answers INTERFACE ROUTER: whether the router says that it is there, now.
answers() {
	ip neigh del "$2" dev "$1" 2>/dev/null || :
	ip neigh replace "$2" dev "$1" use || return 1
	for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
		case $(ip neigh show "$2" dev "$1") in *REACHABLE*) return 0 ;; *FAILED*) ip neigh replace "$2" dev "$1" use ;; esac
		sleep 0.2
	done
	return 1
}
all_up() {
	while read -r name address; do
		[ -z "$name" ] || up "$name" "$address" || return 1
	done <<-END
		$addresses
	END
}
prove() {
	for name in $bonds; do
		[ -e "/sys/class/net/$name/bonding" ] || wait_for 8 "$name: is there" test -e "/sys/class/net/$name/bonding" ||
			fail "there is no $name" "does this kernel have bonding? ($(uname -r))"
	done
	while read -r name address; do
		[ -z "$name" ] || wait_for 10 "$name: $address" up "$name" "$address" || fail "$name did not get the address $address" "systemd-networkd's words are in the journal"
	done <<-END
		$addresses
	END
	while read -r name router; do
		[ -z "$name" ] || answers "$name" "$router" || fail "the router $router does not answer on $name" "correct the gateway, or the members of the bond"
	done <<-END
		$gateways
	END
	# Without an answer the bond would go down as soon as nothing else is heard.
	while read -r name target; do
		[ -z "$name" ] || answers "$name" "$target" || fail "the ARP target $target does not answer on $name" "correct the bond's arpTargets"
	done <<-END
		${arp_targets:-}
	END
	for name in $bonds; do
		tr " " "\n" <"/sys/class/net/$name/bonding/slaves" | while read -r member; do
			say "$name: $member is $(cat "/sys/class/net/$member/operstate")"
		done
	done
}
reconfigure() {
	timeout 10 networkctl reload
	all_up || wait_for 5 "addresses are up" all_up || timeout 10 networkctl reconfigure $interfaces
	# The neighbours learn the port's new hardware address from a question.
	client=${connection%% *}
	[ -z "$client" ] || case $(ip route get "$client" 2>/dev/null) in
	'' | *' via '*) ;;
	*) answers "$(ip route get "$client" | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1)" "$client" || : ;;
	esac
}

same=yes
systemctl is-active -q systemd-networkd ||
	fail "systemd-networkd does not run the network of this host, neither by itself nor for Netplan" "move it to systemd-networkd, or set network.off: true"
if [ -n "$(find /etc/netplan -name '*.yaml' 2>/dev/null | head -n 1)" ] && command -v netplan >/dev/null; then
	# What other files say of these interfaces is taken out of them.
	plan=$work/netplan
	mkdir -p "$plan/etc"
	cp -a /etc/netplan "$plan/etc/"
	rm -f "$plan/etc/netplan/90-halinux.yaml"
	for name in $interfaces; do
		id=$(printf '%s' "$name" | sed 's/\./\\./g')
		for kind in ethernets bonds; do
			! netplan get --root-dir "$plan" "$kind.$id" 2>/dev/null | grep -qv '^null$' || netplan set --root-dir "$plan" "$kind.$id=null"
		done
	done
	cp "$stage/etc/netplan/90-halinux.yaml" "$plan/etc/netplan/"
	chmod 600 "$plan"/etc/netplan/*.yaml
	netplan generate --root-dir "$plan" || fail "Netplan does not accept the configuration" "its words are above"
	diff -r "$plan/etc/netplan" /etc/netplan >/dev/null || same=no
	apply() {
		place /etc/systemd/networkd.conf.d/05-halinux.conf
		for file in /etc/netplan/*.yaml; do
			keep_original "$file"
			grep -qxF "$file" "$here/netplan" 2>/dev/null || printf '%s\n' "$file" >>"$here/netplan"
			[ -e "$plan$file" ] || rm -f "$file"
		done
		place /etc/netplan/90-halinux.yaml
		for file in "$plan"/etc/netplan/*.yaml; do
			cmp -s "$file" "${file#"$plan"}" || cp -p "$file" "${file#"$plan"}"
		done
		! changed /etc/systemd/networkd.conf.d/05-halinux.conf || systemctl restart systemd-networkd
		# Not "netplan apply": it takes ports down that need not go down.
		cp /run/systemd/network/10-netplan-*.netdev "$work/" 2>/dev/null || :
		netplan generate
		for name in $bonds; do
			cmp -s "$work/10-netplan-$name.netdev" "/run/systemd/network/10-netplan-$name.netdev" || [ ! -e "/sys/class/net/$name/bonding" ] || ip link del "$name"
		done
		reconfigure
	}
	paths=$(printf '%s\n' /etc/systemd/networkd.conf.d/05-halinux.conf /etc/netplan/90-halinux.yaml /etc/netplan/*.yaml | sort -u)
	again='netplan generate'
else
	wanted=$(cut -f3 "$work/index" | grep -e ^/etc/systemd/network)
	stale=
	for file in /etc/systemd/network/05-halinux-*; do
		[ ! -f "$file" ] || printf '%s\n' "$wanted" | grep -qxF "$file" || stale="$stale $file"
	done
	for file in $wanted; do
		cmp -s "$stage$file" "$file" || same=no
	done
	[ -z "$stale" ] || same=no
	apply() {
		# networkd leaves a bond that exists as it is.
		for file in $stale $wanted; do
			case $file in *.netdev) ;; *) continue ;; esac
			name=$(basename "${file#*05-halinux-}" .netdev)
			cmp -s "$stage$file" "$file" || [ ! -e "/sys/class/net/$name/bonding" ] || ip link del "$name"
		done
		[ -z "$stale" ] || rm -f $stale
		place $wanted
		! changed /etc/systemd/networkd.conf.d/05-halinux.conf || systemctl restart systemd-networkd
		reconfigure
	}
	paths="$wanted $stale"
	again=true
fi

if [ $same = no ] || ! all_up; then
	new_bonds=
	for name in $bonds; do [ -e "/sys/class/net/$name" ] || new_bonds="$new_bonds $name"; done
	# Addresses that were halinux's and are no longer in the plan.
	old=$(cat "$here/addresses" 2>/dev/null || :)
	confirm "$confirm" $paths <<-END
		for name in $new_bonds; do ip link del "\$name"; done
		timeout 20 $again
		timeout 10 networkctl reload
		timeout 10 networkctl reconfigure $(for name in $interfaces; do [ ! -e "/sys/class/net/$name" ] || printf '%s ' "$name"; done)
	END
	while read -r name address; do
		printf '%s\n' "$addresses" | grep -qxF "$name $address" || [ -z "$name" ] || ! up "$name" "$address" || ip addr del "$address" dev "$name"
	done <<-END
		$old
	END
	printf '%s\n' "$addresses" >"$here/addresses"
fi
