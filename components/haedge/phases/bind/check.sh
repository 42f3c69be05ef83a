for zone in $zones; do
	serial=$(sed -n 's/^@ SOA .* ( \([0-9]*\) .*/\1/p' "/var/lib/bind/$zone" 2>/dev/null)
	sed "s/( SERIAL /( ${serial:-none} /" "/etc/bind/zones/$zone" 2>/dev/null | cmp -s - "/var/lib/bind/$zone" ||
		differs "the zone file /var/lib/bind/$zone differs"
done
