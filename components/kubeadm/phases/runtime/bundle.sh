#!/bin/sh
# bundle SUM PATH TO...: brings programs of a bundle to this host, each checked
# against the bundle's list of checksums, which itself has the checksum SUM ("-"
# believes the server). One that is there already is not fetched again. Prints
# the names of those that are new.
set -eu
url=$1 sum=$2
shift 2
ca=/etc/halinux/bundle-ca.pem
get() {
	# shellcheck disable=SC2046 # none, or two words
	curl -fsS --retry 5 --retry-connrefused --retry-max-time 60 --connect-timeout 5 $([ ! -s $ca ] || echo --cacert $ca) -o "$2" "$url/$1"
}
work=$(mktemp -d /run/halinux-bundle.XXXXXXXX)
trap 'rm -rf "$work"' EXIT
get SHA256SUMS "$work/sums" || { echo "error: no bundle answers at $url"; exit 1; }
if [ "$sum" != - ] && ! printf '%s  %s\n' "$sum" "$work/sums" | sha256sum -c --status; then
	echo "error: the bundle at $url is not the one that the configuration names: its SHA256SUMS has another checksum"
	exit 1
fi
missing=
for item; do
	from=${item%%=*}
	case $item in *=*) ;; *) from=$item ;; esac
	grep -q "  $from\$" "$work/sums" || missing="$missing $from"
done
[ -z "$missing" ] || { echo "error: the bundle at $url lacks:$missing"; exit 1; }
for item; do
	case $item in *=*) from=${item%%=*} to=${item#*=} ;; *) continue ;; esac
	want=$(sed -n "s|  $from\$||p" "$work/sums")
	! printf '%s  %s\n' "$want" "$to" | sha256sum -c --status 2>/dev/null || continue
	get "$from" "$to.halinux"
	if ! printf '%s  %s\n' "$want" "$to.halinux" | sha256sum -c --status; then
		rm -f "$to.halinux"
		echo "error: $url/$from is damaged: it has another checksum than the bundle's list says"
		exit 1
	fi
	chmod 755 "$to.halinux"
	sync "$to.halinux"
	mv -f "$to.halinux" "$to"
	echo "${to##*/}"
done
