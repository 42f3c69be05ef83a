packages corosync-qnetd libnss3-tools openssl
place
nssdb=/etc/corosync/qnetd/nssdb
# The package makes an authority of its own. Where it has signed for somebody,
# this host is the witness of another cluster, and the program knows only one.
signed=$(find $nssdb -name 'cluster-*.crt' 2>/dev/null | head -n 1)
if [ -n "$signed" ] && [ ! -e "$here/certificates" ]; then
	fail "this host is the witness of another cluster ($signed)" "choose another witness"
fi
if changed /etc/corosync/halinux/ca.pem /etc/corosync/halinux/own.pem || [ ! -e "$here/certificates" ] || [ ! -e $nssdb ]; then
	: >"$here/certificates"
	/usr/local/lib/halinux/certificates $nssdb coroqnetd:coroqnetd 'QNetd Cert'
fi
service corosync-qnetd.service restart
