no_service halinux-edge-watch.service keepalived.service
nft delete table ip halinux_hold 2>/dev/null || :
systemctl stop halinux-joined.timer 2>/dev/null || :
nft delete table ip halinux_join 2>/dev/null || :
! getent passwd keepalived_script >/dev/null || userdel keepalived_script
rm -f /run/halinux/held-twice /var/lib/prometheus/node-exporter/halinux_edge.prom
