#!/bin/sh
# etcd-snapshot-store FOLDER KEEP "put FILE": takes a snapshot of etcd from a control
# plane, by stdin, and keeps the newest so many of each. It is the forced command of
# the control planes' key, which can do nothing else here: neither read, nor remove,
# nor write over what is there.
set -euf
umask 077
folder=$1 keep=$2
# shellcheck disable=SC2086 # words
set -- ${3:-}
end() {
	echo "error: $1" >&2
	exit 1
}
case $#/${1:-} in
2/put) ;;
*) end "use: put FILE" ;;
esac
file=$2
printf '%s\n' "$file" | grep -Eqx 'etcd-[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?-[0-9]{8}T[0-9]{6}Z\.db' || end "$file is not the name of a snapshot"
of=${file%-*}
[ ! -e "$folder/$file" ] || { cat >/dev/null; exit 0; }
exec 9>"$folder/.lock"
flock -w 300 9 || end "others write here for more than five minutes"
find "$folder" -maxdepth 1 -name '.new.*' -delete
new=$(mktemp "$folder/.new.XXXXXX")
trap 'rm -f "$new"' EXIT
# etcd's content is 8 GiB at most, its own limit for what it recommends.
head -c 8589934593 >"$new" || end "there is no room for it"
[ "$(stat -c %s "$new")" -le 8589934592 ] || end "it is greater than 8 GiB"
[ "$(head -c -32 "$new" | sha256sum | cut -d' ' -f1)" = "$(tail -c 32 "$new" | od -An -v -tx1 | tr -d ' \n')" ] || end "it did not arrive whole"
sync "$new"
mv "$new" "$folder/$file"
sync "$folder"
find "$folder" -maxdepth 1 -name "$of-????????T??????Z.db" -printf '%f\n' | sort -r | tail -n "+$((keep + 1))" | while IFS= read -r old; do rm -f "$folder/$old"; done
