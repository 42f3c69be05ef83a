#!/bin/sh
# ocf:halinux:project: one XFS project with a hard quota, exported by NFSv4. A
# change of quota, clients, options, mode or owner is taken over by reload-agent
# while clients go on; only another directory or number restarts it. Stopping
# takes the export away and leaves the data.
: "${OCF_FUNCTIONS_DIR=${OCF_ROOT}/lib/heartbeat}"
# shellcheck source=/dev/null
. "${OCF_FUNCTIONS_DIR}/ocf-shellfuncs"

root=${OCF_RESKEY_root:-} name=${OCF_RESKEY_name:-} number=${OCF_RESKEY_number:-} quota=${OCF_RESKEY_quota:-}
clients=${OCF_RESKEY_clients:-} options=${OCF_RESKEY_options:-} mode=${OCF_RESKEY_mode:-0770} owner=${OCF_RESKEY_owner:-root:root}
directory=$root/$name

meta_data() {
	cat <<'END'
<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="project" version="1.0">
<version>1.1</version>
<longdesc lang="en">A directory of an XFS file system with a project quota, exported by NFSv4.</longdesc>
<shortdesc lang="en">XFS project with quota and NFS export</shortdesc>
<parameters>
<parameter name="root" required="1"><longdesc lang="en">Where the file system is mounted, with prjquota.</longdesc><shortdesc lang="en">mount point</shortdesc><content type="string"/></parameter>
<parameter name="name" required="1"><longdesc lang="en">The directory below it.</longdesc><shortdesc lang="en">directory</shortdesc><content type="string"/></parameter>
<parameter name="number" unique="1" required="1"><longdesc lang="en">XFS project id, and fsid of the export.</longdesc><shortdesc lang="en">id</shortdesc><content type="integer"/></parameter>
<parameter name="quota" required="1" reloadable="1"><longdesc lang="en">Hard limit in MiB.</longdesc><shortdesc lang="en">quota</shortdesc><content type="integer"/></parameter>
<parameter name="clients" required="1" reloadable="1"><longdesc lang="en">Who may mount it, apart by spaces.</longdesc><shortdesc lang="en">clients</shortdesc><content type="string"/></parameter>
<parameter name="options" required="1" reloadable="1"><longdesc lang="en">Options of the export.</longdesc><shortdesc lang="en">options</shortdesc><content type="string"/></parameter>
<parameter name="mode" reloadable="1"><longdesc lang="en">Mode of the directory.</longdesc><shortdesc lang="en">mode</shortdesc><content type="string" default="0770"/></parameter>
<parameter name="owner" reloadable="1"><longdesc lang="en">Owner of the directory.</longdesc><shortdesc lang="en">owner</shortdesc><content type="string" default="root:root"/></parameter>
</parameters>
<actions>
<action name="start" timeout="40s"/>
<action name="stop" timeout="40s"/>
<action name="reload-agent" timeout="40s"/>
<action name="monitor" timeout="20s" interval="20s"/>
<action name="validate-all" timeout="5s"/>
<action name="meta-data" timeout="5s"/>
</actions>
</resource-agent>
END
}

mounted() { [ "$(findmnt -no FSTYPE --mountpoint "$root")" = xfs ]; }
# exported: the clients that the directory is exported to now. A path with
# blanks is no project's.
exported() { exportfs -s 2>/dev/null | awk -v d="$directory" '$1 == d {sub(/\(.*/, "", $2); print $2}'; }

validate() {
	case $name in '' | . | .. | */* | .*) ocf_exit_reason "$name is no directory of its own"; return "$OCF_ERR_CONFIGURED" ;; esac
	if ! [ "$number" -gt 0 ] || ! [ "$quota" -gt 0 ]; then
		ocf_exit_reason "number and quota are not above zero"
		return "$OCF_ERR_CONFIGURED"
	fi
	for tool in xfs_quota xfs_io exportfs; do check_binary $tool; done
}

# limit_of: the project's hard limit in KiB.
limit_of() { xfs_quota -x -c 'report -p -b -n -N' "$root" 2>/dev/null | awk -v id="#$number" '$1 == id {print $4}'; }

apply() {
	mounted || { ocf_exit_reason "$root is not mounted"; return "$OCF_ERR_GENERIC"; }
	mkdir -p "$directory" || return "$OCF_ERR_GENERIC"
	if [ "$(xfs_io -r -c lsproj "$directory" | sed 's/.*= //')" != "$number" ]; then
		if [ -n "$(ls -A "$directory")" ]; then
			# What is in there already is counted too.
			xfs_quota -x -c "project -s -p $directory $number" "$root" >/dev/null
		else
			xfs_io -r -c "chproj $number" -c 'chattr +P' "$directory"
		fi || { ocf_exit_reason "$directory does not become project $number"; return "$OCF_ERR_GENERIC"; }
	fi
	[ "$(limit_of)" = $((quota * 1024)) ] || xfs_quota -x -c "limit -p bhard=${quota}m $number" "$root" ||
		{ ocf_exit_reason "the quota of $name was not set"; return "$OCF_ERR_GENERIC"; }
	chown "$owner" "$directory" && chmod "$mode" "$directory" || return "$OCF_ERR_GENERIC"
	for client in $(exported); do
		case " $clients " in *" $client "*) ;; *) exportfs -u "$client:$directory" ;; esac
	done
	for client in $clients; do
		exportfs -o "$options,fsid=$number" "$client:$directory" || { ocf_exit_reason "$directory was not exported to $client"; return "$OCF_ERR_GENERIC"; }
	done
}

stop() {
	for client in $(exported); do
		exportfs -u "$client:$directory" || { ocf_exit_reason "$directory is still exported to $client"; return "$OCF_ERR_GENERIC"; }
	done
}

# as_wanted: exported to all clients, with its quota.
as_wanted() {
	list=$(exported)
	for client in $clients; do
		printf '%s\n' "$list" | grep -qxF "$client" || { ocf_exit_reason "$directory is not exported to $client"; return 1; }
	done
	[ "$(limit_of)" = $((quota * 1024)) ] || { ocf_exit_reason "the quota of $name is not $quota MiB"; return 1; }
}

# monitor sets right what somebody has changed. To be stopped and started for it
# would take the export away for a moment, and clients that ask in it are told
# that their files are gone (ESTALE).
monitor() {
	mounted || return "$OCF_NOT_RUNNING"
	if ocf_is_probe; then
		[ -n "$(exported)" ] || return "$OCF_NOT_RUNNING"
		return "$OCF_SUCCESS"
	fi
	as_wanted || { apply && as_wanted; } || return "$OCF_ERR_GENERIC"
}

case ${1:-} in
meta-data) meta_data ;;
start) validate && apply ;;
reload-agent) validate && apply ;;
stop) stop ;;
monitor) monitor ;;
validate-all) validate ;;
*) exit "$OCF_ERR_UNIMPLEMENTED" ;;
esac
