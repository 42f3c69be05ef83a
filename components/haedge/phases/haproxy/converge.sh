packages haproxy socat
# Checked with the authorities' certificates where they are staged.
sed "s|/etc/haproxy/ca/|$stage&|g" "$stage/etc/haproxy/haproxy.cfg" >"$work/haproxy.cfg"
haproxy -c -f "$work/haproxy.cfg" ||
	fail "haproxy refuses the new configuration" "the old one stays in use; the reason is in the lines above"
place
systemd-tmpfiles --create /etc/tmpfiles.d/halinux-haproxy.conf
sysctl -q -p /etc/sysctl.d/60-halinux-edge.conf ||
	fail "the kernel does not let net.ipv4.ip_nonlocal_bind be set" "a container needs a /proc/sys/net of its own that can be written"
service haproxy.service reload
# A service that was running before it had our drop-in has not said so.
echo 0 1<>/run/halinux/haproxy
