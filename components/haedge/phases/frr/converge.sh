packages frr frr-pythontools
vtysh -C -f "$stage/etc/frr/frr.conf" ||
	fail "FRR refuses the new configuration" "the old one stays in use; the reason is in the lines above"
place
# A reload keeps the sessions; only another set of daemons needs a restart.
if changed /etc/frr/daemons; then service frr.service restart; else service frr.service reload; fi
