# A private certificate lives 90 days; the program makes a new one each 30 days.
for site in $private_sites; do
	openssl x509 -in "/etc/nginx/tls/$site.crt" -noout -checkend 2592000 >/dev/null 2>&1 ||
		differs "the certificate of $site ends within 30 days"
done
