packages nginx openssl
# Until the authority has issued the first certificate of a site, the one that
# it has had so far goes on, or one that nobody trusts stands in its place.
for site in $acme_sites; do
	dir=/var/lib/dehydrated/certs/$site
	[ ! -e "$dir/fullchain.pem" ] || continue
	mkdir -p "$dir"
	chmod 700 /var/lib/dehydrated/certs "$dir"
	if [ -e "/etc/nginx/tls/$site.crt" ]; then
		cp -p "/etc/nginx/tls/$site.key" "$dir/privkey.pem"
		cp -p "/etc/nginx/tls/$site.crt" "$dir/fullchain.pem"
	else
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 365 -subj "/CN=$site waits for its certificate" \
			-keyout "$dir/privkey.pem" -out "$dir/fullchain.pem" 2>/dev/null
	fi
done
# Debian 12's NGINX knows HTTP/2 only as a word of "listen".
dpkg --compare-versions "$(nginx -v 2>&1 | sed 's|.*/||')" ge 1.25.1 ||
	sed -i 's/:443 ssl\>/& http2/; /^[[:space:]]*http2 on;$/d' "$stage/etc/nginx/nginx.conf"
nginx -t -q -c "$stage/etc/nginx/nginx.conf" ||
	fail "nginx refuses the new configuration" "the old one stays in use; the reason is in the lines above"
place
systemd-tmpfiles --create /etc/tmpfiles.d/halinux-nginx.conf
service nginx.service reload
echo 0 1<>/run/halinux/nginx
