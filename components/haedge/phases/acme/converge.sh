packages dehydrated
place
mkdir -p /var/lib/dehydrated/acme-challenges
if [ ! -d /var/lib/dehydrated/accounts ] || changed /etc/dehydrated/config; then
	dehydrated --register --accept-terms || fail "the ACME authority did not accept an account" "the reason is in the lines above; is acme.directory right, and reachable from here?"
fi
service halinux-acme.timer restart
# The sites serve already, each with a certificate that nobody trusts: what
# fails here (a name that does not lead to an edge yet) is tried again by the
# timer, and shown by the drift check.
systemctl start halinux-acme.service || say "no certificate yet; see journalctl -u halinux-acme, it is tried again twice a day"
