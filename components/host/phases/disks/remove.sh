# Groups and arrays are put to rest, with all that is in them: what is on a disk
# stays, and a later run finds it again. What is still in use goes on.
while read -r group _; do
	[ -z "$group" ] || vgchange -an "$group" || say "the group $group is in use and stays active"
done <<END
$groups
END
while read -r name _; do
	{ [ -n "$name" ] && [ -b "/dev/md/$name" ]; } || continue
	mdadm --stop "/dev/md/$name" || say "the array $name is in use and keeps running"
done <<END
$arrays
END
[ -z "$arrays" ] || systemctl stop mdmonitor.service || :
