[ -e /etc/corosync/qnetd/nssdb ] || differs "/etc/corosync/qnetd/nssdb is missing"
