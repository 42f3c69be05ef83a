no_service corosync-qnetd.service
[ ! -e "$here/certificates" ] || rm -rf /etc/corosync/qnetd/nssdb
