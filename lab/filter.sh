#!/bin/sh
# Makes what Debian's user-mode Linux lacks of nf_tables: the families ip and
# inet, and address translation. Run inside of a root folder with a compiler.
#
# Arguments: the kernel's release, like 7.2.7. /linux has the source of the same
# series with the kernel's own configuration as .config; the modules end up below
# /modules, in the kernel's own folders.
set -eu
release=$1
cd /linux

# Which is all that modules are asked for (there are no versions of symbols). The
# archive has the series' newest source, not the one that the kernel was made of.
sed -i "s/^SUBLEVEL = .*/SUBLEVEL = ${release##*.}/; s/^EXTRAVERSION = .*/EXTRAVERSION =/" Makefile
mkdir -p Documentation
: >Documentation/Kconfig
cat >>.config <<-END
	CONFIG_NF_TABLES_INET=y
	CONFIG_NF_TABLES_IPV4=y
	CONFIG_NF_TABLES_IPV6=y
	CONFIG_NFT_NAT=m
	CONFIG_NFT_FIB_IPV4=m
END
build() { make -s ARCH=um KBUILD_MODPOST_WARN=1 "$@" 2>/tmp/log || { tail -n 20 /tmp/log >&2; exit 1; }; }
build olddefconfig
build modules_prepare
[ "$(make -s ARCH=um kernelrelease)" = "$release" ] || { echo "the source makes a kernel $(make -s ARCH=um kernelrelease), not $release" >&2; exit 1; }

# nf_tables itself, all that knows by its configuration that there are families,
# and what was not there at all. The others of Debian's fit.
set --
for name in nf_tables nf_nat nft_chain_nat nft_ct nft_fib nft_masq nft_nat nft_redir nft_reject nft_reject_inet; do
	set -- "$@" "net/netfilter/$name.ko"
done
set -- "$@" net/ipv4/netfilter/nft_fib_ipv4.ko net/ipv4/netfilter/nft_reject_ipv4.ko net/ipv6/netfilter/nft_reject_ipv6.ko
build "$@"
for module in "$@"; do
	mkdir -p "/modules/kernel/${module%/*}"
	strip -g -o "/modules/kernel/$module" "$module"
done
