no_service named.service
for zone in $zones; do rm -f "/var/lib/bind/$zone"; done
rm -rf /etc/bind/zones
