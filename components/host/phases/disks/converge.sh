# Software RAID and LVM out of empty disks. All disks are looked at before any
# is touched, and one that holds something foreign ends the run.
# shellcheck disable=SC2086 # a word or none
packages lvm2 ${arrays:+mdadm}

members_of() { printf '%s' "$1" | tr , '\n'; }
real() { readlink -f "$1"; }

# content DEVICE: what is on it, in words, one line each; nothing on a blank one.
content() {
	lsblk -nrdo MOUNTPOINTS "$1" 2>/dev/null | grep -v '^$' | sed 's/^/it is mounted at /' || :
	lsblk -nrpo NAME "$1" | tail -n +2 | sort -u | sed 's/^/it is in use, or divided: /' || :
	wipefs -n --noheadings --output TYPE,LABEL,UUID "$1" | awk '{gsub(/ +/, " "); print "it holds " $0}'
}
array_of() { mdadm --examine --export "$1" 2>/dev/null | sed -n 's/^MD_UUID=//p'; }
group_of() { pvs --noheadings -o vg_name "$1" 2>/dev/null | tr -d ' '; }
# Tags tell a group that was made here from one of the same name that was not.
our_group() { [ "$(vgs --noheadings -o vg_tags "$1" 2>/dev/null | tr -d ' ')" = halinux ]; }

foreign=
# refuse DEVICE: notes what is on it, unless it is blank.
refuse() {
	what=$(content "$1" | paste -sd';' | sed 's/;/; /g')
	[ -z "$what" ] || foreign="$foreign
$1: $what"
}
exists() {
	[ -b "$1" ] || { foreign="$foreign
$1: there is no such disk"; return 1; }
}

while read -r name _ uuid disks spares; do
	[ -n "$name" ] || continue
	[ "$spares" = - ] || disks=$disks,$spares
	present=0
	for disk in $(members_of "$disks"); do
		# A member that is gone is the reason for having others.
		[ -b "$disk" ] || continue
		present=$((present + 1))
		[ "$(array_of "$disk")" = "$uuid" ] || refuse "$disk"
	done
	[ $present -gt 0 ] || foreign="$foreign
/dev/md/$name: none of its disks is there"
done <<END
$arrays
END
while read -r group devices; do
	[ -n "$group" ] || continue
	for disk in $(members_of "$devices"); do
		case $disk in /dev/md/*) [ -b "$disk" ] || continue ;; esac
		exists "$disk" || continue
		if [ "$(blkid -p -s TYPE -o value "$disk")" = LVM2_member ]; then
			owner_=$(group_of "$disk")
			# A physical volume of no group holds nothing.
			[ -z "$owner_" ] || { [ "$owner_" = "$group" ] && our_group "$group"; } || foreign="$foreign
$disk: it belongs to the volume group $owner_, which was not made here"
		else
			refuse "$disk"
		fi
	done
done <<END
$groups
END
[ -z "$foreign" ] || fail "these disks are refused, nothing was touched:$foreign" "name other disks; only where you are certain that nothing of it is needed, empty one with wipefs --all"

place
if [ -n "$arrays" ]; then
	modprobe -a md_mod raid0 raid1 raid456 2>/dev/null || :
fi
while read -r name level uuid disks spares; do
	[ -n "$name" ] || continue
	md=/dev/md/$name
	blank='' known=''
	for disk in $(members_of "$disks,$spares"); do
		[ -b "$disk" ] || continue
		if [ "$(array_of "$disk")" = "$uuid" ]; then known="$known $disk"; else blank="$blank $disk"; fi
	done
	if [ ! -b "$md" ] && [ -n "$known" ]; then
		say "$md: assembling"
		# shellcheck disable=SC2086 # a list of words
		mdadm --assemble --run "$md" --uuid="$uuid" $known || fail "the array $name cannot be assembled of$known" "see mdadm --examine of each disk"
	elif [ ! -b "$md" ]; then
		for disk in $(members_of "$disks"); do [ -b "$disk" ] || fail "$disk is missing, and the array $name is yet to be made" "plug it in, or name another"; done
		extra=
		[ "$spares" = - ] || extra=--spare-devices=$(members_of "$spares" | grep -c .)
		[ "$level" = 0 ] || extra="$extra --bitmap=internal"
		say "$md: RAID $level of $disks"
		# shellcheck disable=SC2046,SC2086 # lists of words
		mdadm --create "$md" --run --metadata=1.2 --homehost=any --name="$name" --uuid="$uuid" --level="$level" \
			--raid-devices="$(members_of "$disks" | grep -c .)" $extra $(members_of "$disks") $([ "$spares" = - ] || members_of "$spares") ||
			fail "mdadm did not make the array $name" "its words are above"
		blank='' known=$(members_of "$disks,$spares")
		! command -v update-initramfs >/dev/null || update-initramfs -u
	fi
	udevadm settle || :
	[ -b "$md" ] || fail "the array $name is there, but not its device $md" "see mdadm --detail --scan"
	mdadm --manage "$md" --remove failed >/dev/null 2>&1 || :
	mdadm --manage "$md" --remove detached >/dev/null 2>&1 || :
	# What is not in the running array, because it is new or was out, joins it.
	inside=$(mdadm --detail "$md" | sed -n 's|.* \(/dev/[^ ]*\)$|\1|p')
	for disk in $known $blank; do
		{ [ -b "$disk" ] && ! printf '%s\n' "$inside" | grep -qxF "$(real "$disk")"; } || continue
		say "$md: adding $disk"
		mdadm --manage "$md" --add "$disk" || fail "$disk did not join the array $name" "it may be smaller than the others"
	done
done <<END
$arrays
END
[ -z "$arrays" ] || service mdmonitor.service restart

while read -r group devices; do
	[ -n "$group" ] || continue
	if ! vgs "$group" >/dev/null 2>&1; then
		say "$group: new volume group on $devices"
		# shellcheck disable=SC2046 # a list of words
		vgcreate -qq --addtag halinux "$group" $(members_of "$devices") || fail "LVM did not make the group $group" "its words are above"
	fi
	vgchange -qq -ay "$group"
	for disk in $(members_of "$devices"); do
		if [ "$(group_of "$disk")" != "$group" ]; then
			say "$group: adding $disk"
			vgextend -qq "$group" "$disk" || fail "$disk did not join the group $group" "LVM's words are above"
		fi
		# Where the disk or array below has grown, so does its volume.
		beyond=$(($(blockdev --getsize64 "$disk") - $(pvs --noheadings --nosuffix --units b -o pv_size "$disk" | tr -d ' ')))
		[ $beyond -lt 16777216 ] || pvresize -qq "$disk"
	done
done <<END
$groups
END
while read -r group volume size; do
	[ -n "$group" ] || continue
	have=$(lvs --noheadings --nosuffix --units b -o lv_size "$group/$volume" 2>/dev/null | tr -d ' ')
	if [ -z "$have" ]; then
		say "$group/$volume: $size MiB"
		lvcreate -qq --yes -Wy -L "${size}m" -n "$volume" "$group" || fail "LVM did not make $group/$volume of $size MiB" "see vgs for what is free"
	elif [ $((have / 1048576)) -lt "$size" ]; then
		say "$group/$volume: growing to $size MiB"
		lvextend -qq -L "${size}m" "$group/$volume" || fail "$group/$volume did not grow to $size MiB" "see vgs for what is free"
	elif [ $((have / 1048576)) -gt "$size" ]; then
		fail "$group/$volume has $((have / 1048576)) MiB, more than $size" "volumes are never made smaller: correct the size"
	fi
done <<END
$volumes
END
