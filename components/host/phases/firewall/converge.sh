# The packet filter, confirmed or undone.
# shellcheck shell=sh disable=SC2154,SC2317

packages nftables
printf 'table inet halinux_try\ndelete table inet halinux_try\n' | nft -c -f - ||
	fail "this kernel ($(uname -r)) has no tables of the family inet" "boot one of Debian's, or name the host in firewall.except"
rules=/etc/halinux/firewall.nft
nft -c -f "$stage$rules" || fail "nft does not accept the rules" "its words are above; the old rules stand"

listing() { nft -s list table inet halinux 2>/dev/null | sha256sum; }
apply() {
	place "$rules"
	nft -f "$rules"
}
prove() { :; }

if ! cmp -s "$stage$rules" "$rules" || [ "$(listing)" != "$(cat "$here/listing" 2>/dev/null)" ]; then
	{
		printf 'table inet halinux\ndelete table inet halinux\n'
		nft -s list table inet halinux 2>/dev/null || :
	} >"$here/before.nft"
	confirm "$confirm" "$rules" <<-'END'
		nft -f "$here/before.nft"
	END
	listing >"$here/listing"
	say "firewall: new rules"
fi
place
service halinux-firewall.service reload
