# The rules as the kernel has them.
# shellcheck shell=sh disable=SC2154

[ "$(nft -s list table inet halinux 2>/dev/null | sha256sum)" = "$(cat "$here/listing")" ] ||
	differs "the kernel has other rules in the table inet halinux"
