no_service haproxy.service
sysctl -q -w net.ipv4.ip_nonlocal_bind=0 || :
rm -rf /run/halinux/haproxy /run/halinux/servers /etc/haproxy/ca
