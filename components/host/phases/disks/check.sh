while read -r name _ _ _ _; do
	[ -n "$name" ] || continue
	rc=0
	mdadm --detail --test "/dev/md/$name" >/dev/null 2>&1 || rc=$?
	case $rc in
	0) ;;
	1) differs "the array $name lacks a disk: $(sed -n "/^$(basename "$(readlink -f "/dev/md/$name")") /{n;s/.*\(\[[0-9]*\/[0-9]*\]\).*/\1/p}" /proc/mdstat)" ;;
	2) differs "the array $name has lost too many disks" ;;
	*) differs "the array $name does not run" ;;
	esac
done <<END
$arrays
END
while read -r group volume size; do
	[ -n "$group" ] || continue
	have=$(lvs --noheadings --nosuffix --units b -o lv_size "$group/$volume" 2>/dev/null | tr -d ' ')
	if [ -z "$have" ]; then
		differs "the volume $group/$volume is missing"
	elif [ $((have / 1048576)) != "$size" ]; then
		differs "the volume $group/$volume has $((have / 1048576)) MiB, not $size"
	fi
done <<END
$volumes
END
