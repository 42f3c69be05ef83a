packages keepalived socat
getent passwd keepalived_script >/dev/null ||
	useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin keepalived_script
# The checker wants the scripts in their places; nothing runs them yet.
place /usr/local/lib/halinux/edge-serving /usr/local/lib/halinux/edge-backends
keepalived -t -f "$stage/etc/keepalived/keepalived.conf" ||
	fail "keepalived refuses the new configuration" "the old one stays in use; the reason is in the lines above"
place
! changed /etc/systemd/system/keepalived.service.d/halinux.conf || systemctl daemon-reload
service keepalived.service reload
