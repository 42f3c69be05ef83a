packages keepalived socat nftables iputils-arping
getent passwd keepalived_script >/dev/null ||
	useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin keepalived_script
# The checker wants the scripts in their places; nothing runs them yet.
place /usr/local/lib/halinux/edge-serving /usr/local/lib/halinux/edge-backends /usr/local/lib/halinux/edge-joins
# Debian 12's Keepalived counts the pauses of its scripts in whole seconds, and
# its checker ends itself by SIGTERM where there are scripts.
dpkg --compare-versions "$(dpkg-query -W -f '${Version}' keepalived)" ge 1:2.2.8 ||
	sed -i 's/^\tinterval 0\..*/\tinterval 1/; s/^\ttimeout 0\..*/\ttimeout 1/; s/^\tfall 4$/\tfall 2/' "$stage/etc/keepalived/keepalived.conf"
(trap '' TERM && keepalived -t -f "$stage/etc/keepalived/keepalived.conf") ||
	fail "keepalived refuses the new configuration" "the old one stays in use; the reason is in the lines above"

# quiet: no connection to a VIP got anything from its client in the last 2 s.
# Older ones are of clients that went without a word, or idle.
quiet() {
	! ss -Htin state syn-recv state established state fin-wait-1 state close-wait state last-ack state closing "( $vip_filter )" |
		awk '/^[ \t]/ { ms = 0; if (match($0, /lastrcv:[0-9]+/)) ms = substr($0, RSTART + 8, RLENGTH - 8); if (ms < 2000) found = 1 }
			END { exit !found }'
}
# still: no new connection was tried here for a moment.
still() {
	nft reset counter ip halinux_hold held >/dev/null
	sleep 0.3
	nft list counter ip halinux_hold held | grep -q 'packets 0 '
}
vip_gone() { ! ip -4 -o address show | grep -qF " $vip/32 "; }
release() { nft delete table ip halinux_hold 2>/dev/null || :; }

# drain: every VIP leaves this edge, and what is being served ends first. New
# connections wait for the moment that this takes: their first packet is
# dropped, and the client's next one finds the VIP elsewhere. An answer in
# flight would be lost with the address, a late first packet is not.
drain() {
	# Should this run be cut short, nobody waits for long.
	systemd-run -q --on-active=20 --collect --unit="halinux-release-$$" nft delete table ip halinux_hold
	nft -f - <<-EOF || fail "the kernel does not take the rule that holds new connections"
		table ip halinux_hold {
			counter held { }
			chain prerouting {
				type filter hook prerouting priority -310
				ip daddr { $vip_set } tcp flags & (syn | ack) == syn counter name held drop
			}
		}
	EOF
	# A reload ends connections that are idle, and others after their next answer.
	for item in haproxy nginx; do
		! systemctl is-active -q $item.service || systemctl reload $item.service &
	done
	wait
	wait_for 2 "nothing is being served any more" quiet || say "some connections will be cut: they took longer than 2 s"
	if [ -n "$asn" ] && systemctl is-active -q frr.service; then
		vtysh -c 'configure terminal' -c "router bgp $asn" -c 'bgp graceful-shutdown' || say "FRR did not take the graceful shutdown"
	fi
	place /etc/keepalived/maintenance
	for vip in $lan_vips; do
		wait_for 3 "$vip has left" vip_gone || { release; fail "the VIP $vip did not leave this edge" "see journalctl -u keepalived"; }
	done
	# What came between here and the provider's change of mind would be cut by it.
	[ -z "$asn" ] || wait_for 2 "the provider has turned to the other edges" still || :
	release
	# The provider's own network follows; its last packets are still served.
	[ -z "$asn" ] || wait_for 10 "the provider sends nothing any more" quiet || say "the provider still sends connections here; withdrawing all the same"
}

release
if [ "$(cat /etc/keepalived/maintenance 2>/dev/null)" = 0 ] && [ "$(cat "$stage/etc/keepalived/maintenance")" = 1 ] &&
	systemctl is-active -q keepalived.service; then
	drain
fi
place
service keepalived.service reload
[ -z "$watched" ] || service halinux-edge-watch.service restart
