packages nginx openssl
nginx -t -q -c "$stage/etc/nginx/nginx.conf" ||
	fail "nginx refuses the new configuration" "the old one stays in use; the reason is in the lines above"
place
systemd-tmpfiles --create /etc/tmpfiles.d/halinux-nginx.conf
! changed /etc/systemd/system/nginx.service.d/halinux.conf || systemctl daemon-reload
service nginx.service reload
echo 0 >/run/halinux/nginx
