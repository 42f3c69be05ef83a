packages bind9 bind9-utils

# serial FILE: the one in a zone file, or 0.
serial() { [ ! -e "$1" ] || sed -n 's/^@ SOA .* ( \([0-9]*\) .*/\1/p' "$1"; }

# with_serial TEMPLATE SERIAL
with_serial() { sed "s/( SERIAL /( $2 /" "$1"; }

for zone in $zones; do
	with_serial "$stage/etc/bind/zones/$zone" 1 >"$work/zone"
	named-checkzone -q -i local "$zone" "$work/zone" || {
		named-checkzone -i local "$zone" "$work/zone" || :
		fail "BIND refuses the zone $zone" "the old one stays in use; the reason is in the lines above"
	}
done
# The key file is checked where it is staged, everything else where it will be.
sed "s|\"/etc/bind/transfer.key\"|\"$stage/etc/bind/transfer.key\"|" "$stage/etc/bind/named.conf" >"$work/named.conf"
named-checkconf "$work/named.conf" ||
	fail "BIND refuses the new configuration" "the old one stays in use; the reason is in the lines above"
place

# A serial must grow whenever a zone changes, on a host that was replaced too:
# so it is the time of the change, or one more than the last where that is later.
zones_changed=
for zone in $zones; do
	last=$(serial "/var/lib/bind/$zone")
	if [ -n "$last" ] && with_serial "/etc/bind/zones/$zone" "$last" | cmp -s - "/var/lib/bind/$zone"; then continue; fi
	now=$(date +%s)
	[ "$now" -gt "${last:-0}" ] || now=$((last + 1))
	with_serial "/etc/bind/zones/$zone" "$now" >"/var/lib/bind/$zone.new"
	chown bind:bind "/var/lib/bind/$zone.new"
	mv -f "/var/lib/bind/$zone.new" "/var/lib/bind/$zone"
	say "$zone: serial $now"
	zones_changed=yes
done
[ -z "$zones_changed" ] || ! systemctl is-active -q named.service || changed '' || rndc reload >/dev/null
service named.service reload
