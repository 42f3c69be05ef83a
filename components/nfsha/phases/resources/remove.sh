# The server stops; the data stays.
if systemctl is-active -q pacemaker.service; then
	printf '<configuration/>\n' >/run/halinux-empty.xml
	/usr/local/lib/halinux/cib-apply "$cluster-" /run/halinux-empty.xml || fail "the cluster did not let go of its resources" "the reason is above"
	rm -f /run/halinux-empty.xml
	crm_resource --wait --timeout=240s || :
fi
