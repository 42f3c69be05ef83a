#!/bin/sh
# etcd-snapshot NAME ADDRESS FOLDER KEEP SECONDS [TARGET]: takes a snapshot of etcd
# from the member on this control plane, sees that it is whole, keeps the newest so
# many of its own in the folder, and copies it to the target, an address, where
# there is one. SECONDS is how often it is called, for who watches its age.
#
# A member that has lost its majority would hand out what it knew then, so it has
# to be healthy: that asks for a read which the majority agrees to.
set -eu
umask 077
name=$1 address=$2 folder=$3 keep=$4 every=$5 target=${6:-}
pki=/etc/kubernetes/pki/etcd
metrics=${HALINUX_METRICS:-/var/lib/prometheus/node-exporter}

etcd() {
	etcdctl --endpoints "https://$address:2379" --cacert $pki/ca.crt --cert $pki/healthcheck-client.crt --key $pki/healthcheck-client.key \
		--dial-timeout 5s "$@"
}
end() {
	echo "error: $1"
	exit 1
}
own() { find "$folder" -maxdepth 1 -name "etcd-$name-????????T??????Z.db" -printf '%f\n' | sort -r; }
# sound FILE: etcdutl looks at its structure, and leaves the checksum at its end to
# who restores it.
sound() {
	[ "$(head -c -32 "$1" | sha256sum | cut -d' ' -f1)" = "$(tail -c 32 "$1" | od -An -v -tx1 | tr -d ' \n')" ] &&
		etcdutl snapshot status "$1" >/dev/null
}
# when FILE: its time in seconds, or 0
when() { stat -c %Y "$1" 2>/dev/null || echo 0; }
# Also after a failure: who watches sees the age of the newest grow.
tell() {
	[ -d "$metrics" ] || return 0
	newest=$(own | head -n 1)
	{
		printf '# HELP halinux_etcd_snapshot_time_seconds When this control plane took its newest snapshot of etcd.\n# TYPE halinux_etcd_snapshot_time_seconds gauge\n'
		printf 'halinux_etcd_snapshot_time_seconds %s\n' "$(when "$folder/$newest")"
		printf '# HELP halinux_etcd_snapshot_size_bytes Its size.\n# TYPE halinux_etcd_snapshot_size_bytes gauge\n'
		printf 'halinux_etcd_snapshot_size_bytes %s\n' "$(stat -c %s "$folder/${newest:-/}" 2>/dev/null || echo 0)"
		printf '# HELP halinux_etcd_snapshot_interval_seconds How often one is taken.\n# TYPE halinux_etcd_snapshot_interval_seconds gauge\n'
		printf 'halinux_etcd_snapshot_interval_seconds %s\n' "$every"
		if [ -n "$target" ]; then
			printf '# HELP halinux_etcd_snapshot_copied_time_seconds When the newest one that was copied was taken.\n# TYPE halinux_etcd_snapshot_copied_time_seconds gauge\n'
			printf 'halinux_etcd_snapshot_copied_time_seconds %s\n' "$(when "$folder/.copied")"
		fi
	} >"$metrics/.halinux_etcd" || return 0
	chmod 644 "$metrics/.halinux_etcd"
	mv "$metrics/.halinux_etcd" "$metrics/halinux_etcd.prom"
}

mkdir -p "$folder"
chmod 700 "$folder"
exec 9>"$folder/.lock"
flock -n 9 || end "another one is being taken"
trap 'rm -f "$folder"/.new*; tell' EXIT

ends=$(($(date +%s) + 60))
until etcd --command-timeout 10s endpoint health >/dev/null 2>&1; do
	[ "$(date +%s)" -lt "$ends" ] || end "etcd is not healthy on this control plane; look at journalctl -u kubelet, and at the logs below /var/log/pods"
	sleep 1
done
# A full disk would be the end of etcd itself.
size=$(etcd --command-timeout 10s endpoint status -w json 2>/dev/null | sed -n 's/.*"dbSize":\([0-9]*\).*/\1/p')
free=$(df --output=avail -B 1 "$folder" | tail -n 1)
[ "$free" -gt $((2 * ${size:-0})) ] || end "no room for a snapshot of $size bytes in $folder: $free are free, and twice as much is asked for; free some, or keep fewer"

rm -f "$folder"/.new*
etcd --command-timeout 10m snapshot save "$folder/.new" >/dev/null 2>&1 || end "etcd did not hand out a snapshot"
sound "$folder/.new" || end "the snapshot is damaged"
file=etcd-$name-$(date -u +%Y%m%dT%H%M%SZ).db
mv "$folder/.new" "$folder/$file"
sync "$folder"
echo "$file: $(stat -c %s "$folder/$file") bytes"
own | tail -n "+$((keep + 1))" | while IFS= read -r old; do rm -f "$folder/$old"; done

[ -n "$target" ] || exit 0
ssh -i /etc/kubernetes/halinux/snapshots.key -o IdentitiesOnly=yes -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=10 \
	-o StrictHostKeyChecking=yes -o UserKnownHostsFile=/etc/kubernetes/halinux/snapshots.hosts \
	"halinux-etcd@$target" "put $file" <"$folder/$file" || end "$target did not take a copy; $file is here alone"
touch -r "$folder/$file" "$folder/.copied"
echo "$file: copied to $target"
