# What is wrong with this host before anything is changed on it: one line
# "finding<TAB>what<TAB>remedy" each. It runs by itself too, over a connection
# of the controller's that reports on all hosts at once, so it uses no function
# of lib.sh.
# shellcheck shell=sh disable=SC2154,SC1091

findings=0
finding() {
	printf 'finding\t%s\t%s\n' "$1" "$2"
	findings=$((findings + 1))
}
word_of() { case " $2 " in *" $1 "*) ;; *) return 1 ;; esac; }

[ -z "${report:-}" ] || printf 'clock\t%s\n' "$(date +%s)"

ID='' VERSION_ID='' PRETTY_NAME='an unknown system'
[ ! -r /etc/os-release ] || . /etc/os-release
if [ "$ID" != debian ] || ! word_of "$VERSION_ID" "$releases"; then
	finding "it runs $PRETTY_NAME" "install Debian ($releases)"
fi
architecture=$(dpkg --print-architecture 2>/dev/null || uname -m)
word_of "$architecture" "$architectures" || finding "its architecture is $architecture" "use one of: $architectures"
[ "$(cat /proc/1/comm)" = systemd ] || finding "its first process is $(cat /proc/1/comm), not systemd" "boot it with systemd"

have=$(awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo)
[ "$have" -ge "$memory" ] || finding "it has $have MiB of memory" "give it $memory MiB"
for folder in / /var; do
	have=$(df -Pm "$folder" | awk 'NR == 2 {print $4}')
	[ "$have" -ge "$disk" ] || finding "$folder has $have MiB free" "make room: $disk MiB are needed"
	have=$(df -Pi "$folder" | awk 'NR == 2 && $2 > 0 {print $4}')
	[ "${have:-10000}" -ge 10000 ] || finding "$folder has $have inodes free" "delete files"
	case $(findmnt -no OPTIONS -T "$folder") in ro | ro,*) finding "$folder is read-only" "look for errors of the disk in the kernel's log, then remount it" ;; esac
done

[ "$cgroup2" = no ] || [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] ||
	finding "it has no cgroup v2" "boot without systemd.unified_cgroup_hierarchy=0"

if [ "$etcd_sync_us" -gt 0 ]; then
	# The slowest of 100 writes as etcd makes them, roughly its 99th percentile.
	file=$(mktemp /var/lib/.halinux-sync.XXXXXX)
	worst=$(for _ in 1 2 3 4 5 6 7 8 9 10; do
		dd if=/dev/zero of="$file" bs=2300 count=10 oflag=dsync 2>&1 | awk -F'[ ,]+' '/copied/ {for (i = 1; i < NF; i++) if ($(i + 1) == "s") print int($i * 100000)}'
	done | sort -n | tail -n 1)
	rm -f "$file"
	[ "$worst" -le "$etcd_sync_us" ] || finding "the disk of /var/lib takes $worst us to keep a small write" "etcd needs $etcd_sync_us us: use an SSD, or one that is not shared"
fi

# A port counts as taken unless the unit behind it is one that halinux runs.
own=$(cat /var/lib/halinux/phases/*/units 2>/dev/null || :)
for need in $ports; do
	protocol=${need%/*} port=${need#*/}
	ss -Hlnp"$(printf %.1s "$protocol")" "sport = :$port" 2>/dev/null | while read -r _ _ _ address _ who; do
		case $address in 127.* | *%lo:* | '[::1]'*) continue ;; esac
		# The kernel's own servers (NFS, DRBD) have no process: on a host that has
		# been here before they are ours.
		[ -n "$who" ] || [ -z "$own" ] || continue
		pid=$(printf '%s' "$who" | sed -n 's/.*pid=\([0-9]*\).*/\1/p')
		unit=$(sed -n 's|.*/\([^/]*\.service\).*|\1|p' "/proc/${pid:-0}/cgroup" 2>/dev/null | head -n 1)
		# Pods are containerd's, whose unit is on record also where a run that was
		# killed had not come as far as the kubelet's.
		! grep -qs /kubepods "/proc/${pid:-0}/cgroup" || unit=containerd.service
		# A process may have left its unit's group (corosync does, to run in real
		# time), and is its unit's main process still.
		[ -n "$unit" ] || unit=$(for name in $own; do [ "$(systemctl show -P MainPID "$name" 2>/dev/null)" != "${pid:-none}" ] || printf '%s\n' "$name"; done | head -n 1)
		[ -n "$unit" ] && printf '%s\n' "$own" | grep -qxF "$unit" || printf '%s\t%s\n' "$address" "${unit:-$who}"
	done | sort -u | head -n 1
done >"${TMPDIR:-/tmp}/halinux-ports.$$"
while IFS=$(printf '\t') read -r address who; do
	finding "$address is taken by $who" "stop and remove it: the port is needed"
done <"${TMPDIR:-/tmp}/halinux-ports.$$"
rm -f "${TMPDIR:-/tmp}/halinux-ports.$$"

for link in $links; do
	port=${link%/*} mtu=${link##*/}
	case $port in *:*) name=$(ip -o link | grep -iF "$port" | head -n 1 | cut -d: -f2 | tr -d ' ' | cut -d@ -f1) ;; *) name=$port ;; esac
	if [ -z "$name" ] || [ ! -e "/sys/class/net/$name" ]; then
		finding "it has no port $port" "correct the plan: it has $(find /sys/class/net ! -name lo -type l -printf '%f ')"
		continue
	fi
	most=$(ip -d -o link show "$name" | sed -n 's/.* maxmtu \([0-9]*\).*/\1/p')
	[ "${most:-0}" -eq 0 ] || [ "$mtu" -le "$most" ] || finding "$name cannot carry an MTU of $mtu, at most $most" "correct the network's MTU"
done

[ -z "$links" ] || systemctl is-active -q systemd-networkd ||
	finding "systemd-networkd does not run its network, neither by itself nor for Netplan" "move it to systemd-networkd, or set network.off: true"

# A disk is ours by what was made on it, else it has to be blank.
plain() { printf '%s' "$1" | tr -d ':-'; }
ours() {
	case $2/$(blkid -p -s TYPE -o value "$1" 2>/dev/null) in
	array:*/linux_raid_member) [ "$(plain "$(blkid -p -s UUID -o value "$1")")" = "$(plain "${2#array:}")" ] ;;
	group:*/LVM2_member)
		group=$(pvs --noheadings -o vg_name "$1" 2>/dev/null | tr -d ' ')
		[ -z "$group" ] || { [ "$group" = "${2#group:}" ] && [ "$(vgs --noheadings -o vg_tags "$group" 2>/dev/null | tr -d ' ')" = halinux ]; }
		;;
	*) return 1 ;;
	esac
}
known=$(printf '%s\n' "${disks:-}" | while read -r disk owner _; do
	if [ -b "$disk" ] && ours "$disk" "$owner"; then printf '%s\n' "$owner"; fi
done)
seen=
while read -r disk owner least; do
	[ -n "$disk" ] || continue
	# A disk has many names, and the settings were compared by these alone.
	if [ -b "$disk" ]; then
		real=$(readlink -f "$disk")
		if word_of "$real" "$seen"; then
			finding "$disk is $real, which is named twice" "give each disk one place"
			continue
		fi
		seen="$seen $real"
	fi
	if [ ! -b "$disk" ]; then
		# A member that is gone is the reason for having others.
		case $owner in array:*) ! printf '%s\n' "$known" | grep -qxF "$owner" || continue ;; esac
		finding "it has no disk $disk" "plug it in, or correct the name: it has $(lsblk -dnpo NAME | paste -sd' ')"
		continue
	fi
	ours "$disk" "$owner" || {
		holds=$({
			lsblk -nrdo MOUNTPOINTS "$disk" 2>/dev/null | grep -v '^$' | sed 's/^/it is mounted at /'
			lsblk -nrpo NAME "$disk" | tail -n +2 | sort -u | sed 's/^/it is in use, or divided: /'
			wipefs -n --noheadings --output TYPE,LABEL,UUID "$disk" | awk '{gsub(/ +/, " "); print "it holds " $0}'
		} | paste -sd';' | sed 's/;/; /g')
		[ -z "$holds" ] || finding "$disk is not blank: $holds" "name another one; only where you are certain that nothing of it is needed, empty it with wipefs --all"
	}
	have=$(($(lsblk -bdno SIZE "$disk") / 1048576))
	[ "$have" -ge "$least" ] || finding "$disk has $have MiB" "$least MiB are needed for the volumes on it"
done <<END
${disks:-}
END

command -v apt-get >/dev/null || finding "it has no apt-get" "install apt"
[ -z "$(dpkg --audit 2>/dev/null)" ] || finding "dpkg has half-installed packages" "run: dpkg --configure -a"

if [ -z "${report:-}" ]; then
	[ $findings = 0 ] || fail "$findings findings, nothing was changed" "they are above"
else
	printf 'machine\t%s\n' "$(cat /etc/machine-id 2>/dev/null)"
fi
