[ "$(sysctl -n net.ipv4.ip_nonlocal_bind)" = 1 ] || differs "net.ipv4.ip_nonlocal_bind is not 1"
