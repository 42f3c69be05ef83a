#!/bin/sh
# bundle URL SUM ITEM...: brings programs and images of a bundle to this host,
# each checked against the bundle's list of checksums, which itself has the
# checksum SUM ("-" believes the server). An item is PATH=TO, image:NAME:TAG, or
# a PATH that has to be in the list. What is there already is not fetched again.
# Prints the names of those that are new.
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
# path ITEM: where it stands in the bundle; sum_of PATH: its checksum there
path() {
	case $1 in
	image:*)
		set -- "${1##*/}"
		echo "v2/${1%:*}/manifests/${1##*:}"
		;;
	*) echo "${1%%=*}" ;;
	esac
}
sum_of() { sed -n "s|  $1\$||p" "$work/sums"; }
missing=
for item; do
	from=$(path "$item")
	grep -q "  $from\$" "$work/sums" || missing="$missing $from"
done
[ -z "$missing" ] || { echo "error: the bundle at $url lacks:$missing"; exit 1; }
digest() { ctr -n k8s.io images ls "name==$1" | awk -v image="$1" '$1 == image {print $3}'; }
for item; do
	from=$(path "$item")
	want=$(sum_of "$from")
	case $item in
	image:*)
		# A manifest holds the checksums of all that its image is made of, and
		# containerd checks those.
		image=${item#image:}
		[ "$(digest "$image")" != "sha256:$want" ] || continue
		if ! ctr -n k8s.io images pull --hosts-dir /etc/containerd/certs.d --label io.cri-containerd.image=managed "$image" >"$work/pull" 2>&1; then
			echo "error: cannot pull $image: $(tail -n 1 "$work/pull")"
			exit 1
		fi
		if [ "$(digest "$image")" != "sha256:$want" ]; then
			ctr -n k8s.io images rm "$image" >/dev/null
			echo "error: $image is not the image that the bundle's list means: its manifest has another checksum"
			exit 1
		fi
		echo "$image"
		continue
		;;
	*=*) to=${item#*=} ;;
	*) continue ;;
	esac
	! printf '%s  %s\n' "$want" "$to" | sha256sum -c --status 2>/dev/null || continue
	[ -d "${to%/*}" ] || mkdir -p "${to%/*}"
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
