packages corosync-qnetd libnss3-tools openssl
place
nssdb=/etc/corosync/qnetd/nssdb
# A witness of other clusters has another authority, and one program has one.
if [ -e $nssdb ] && [ ! -e "$here/certificates" ]; then
	fail "$nssdb is there, and was not made here: this host is the witness of another cluster" "choose another witness"
fi
if changed /etc/corosync/halinux/ca.pem /etc/corosync/halinux/own.pem || [ ! -e $nssdb ]; then
	: >"$here/certificates"
	/usr/local/lib/halinux/certificates $nssdb coroqnetd:coroqnetd 'QNetd Cert'
fi
service corosync-qnetd.service restart
