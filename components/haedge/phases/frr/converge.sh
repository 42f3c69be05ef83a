packages frr frr-pythontools
vtysh -C -f "$stage/etc/frr/frr.conf" ||
	fail "FRR refuses the new configuration" "the old one stays in use; the reason is in the lines above"
place
# A reload keeps the sessions. Another set of daemons needs a restart, and so
# does a bgpd that came up while its configuration was missing: a reload gives
# it all but the route maps, so that nothing is announced.
how=reload
if changed /etc/frr/daemons || ! vtysh -d bgpd -c 'show running-config' 2>/dev/null | grep -q '^router bgp'; then how=restart; fi
service frr.service $how
