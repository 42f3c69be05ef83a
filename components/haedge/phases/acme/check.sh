for site in $acme_sites; do
	certificate=/var/lib/dehydrated/certs/$site/cert.pem
	if [ ! -e "$certificate" ]; then
		differs "$site has no certificate of the ACME authority"
	else
		openssl x509 -in "$certificate" -noout -checkend 1209600 >/dev/null || differs "the ACME certificate of $site ends within two weeks"
	fi
done
