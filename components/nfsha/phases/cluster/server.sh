#!/bin/sh
# ocf:halinux:server: the kernel's NFSv4 server with its daemons, by their own
# systemd units. What the server remembers of its clients (nfsdcld(8)) is on the
# replicated volume; nothing else of it is, so nothing else holds the volume.
: "${OCF_FUNCTIONS_DIR=${OCF_ROOT}/lib/heartbeat}"
# shellcheck source=/dev/null
. "${OCF_FUNCTIONS_DIR}/ocf-shellfuncs"

state=${OCF_RESKEY_state:-} replica=${OCF_RESKEY_replica:-}
proc=${HALINUX_PROC:-/proc}
# In the order in which they stop; nfs-server starts the others with it.
units='nfs-server.service nfs-mountd.service nfs-idmapd.service nfsdcld.service fsidd.service'

meta_data() {
	cat <<'END'
<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="server" version="1.0">
<version>1.1</version>
<longdesc lang="en">The kernel's NFSv4 server with rpc.mountd, rpc.idmapd and nfsdcld.</longdesc>
<shortdesc lang="en">NFSv4 server</shortdesc>
<parameters>
<parameter name="state" unique="1" required="1"><longdesc lang="en">The folder in which nfsdcld keeps its database (nfs.conf(5), storagedir).</longdesc><shortdesc lang="en">state</shortdesc><content type="string"/></parameter>
<parameter name="replica" unique="1" required="1"><longdesc lang="en">The DRBD resource that it serves from.</longdesc><shortdesc lang="en">replica</shortdesc><content type="string"/></parameter>
</parameters>
<actions>
<action name="start" timeout="60s"/>
<action name="stop" timeout="60s"/>
<action name="monitor" timeout="20s" interval="10s"/>
<action name="validate-all" timeout="5s"/>
<action name="meta-data" timeout="5s"/>
</actions>
</resource-agent>
END
}

threads() { cat "$proc/fs/nfsd/threads" 2>/dev/null || echo 0; }
# frozen: DRBD holds all writes until the other host's fate is certain. Threads
# that wait for it are no fault of the server's.
frozen() { grep -q '^ *[0-9]*: .* s[^ ]*$' "$proc/drbd"; }
# answers: a call without an effect, at the server's own port; rpcbind is not asked.
answers() { timeout 5 rpcinfo -a 127.0.0.1.8.1 -T tcp 100003 4 >/dev/null 2>&1; }

validate() {
	case $state in /*) ;; *) ocf_exit_reason "state is not a folder"; return "$OCF_ERR_CONFIGURED" ;; esac
	for tool in systemctl exportfs rpcinfo; do check_binary $tool; done
}

start() {
	mkdir -p "$state" || return "$OCF_ERR_GENERIC"
	# It may run with the database of an earlier life.
	if ! systemctl restart nfsdcld.service || ! systemctl start nfs-server.service; then
		ocf_exit_reason "systemd did not start the server: see journalctl -u nfs-server -u nfsdcld"
		return "$OCF_ERR_GENERIC"
	fi
	[ "$(threads)" -gt 0 ] || { ocf_exit_reason "the server has no threads: see journalctl -u nfs-server"; return "$OCF_ERR_GENERIC"; }
}

stop() {
	# A host that shuts down has told them all to stop once Pacemaker has ended,
	# which waits for this.
	for unit in $units; do
		systemctl stop --job-mode=ignore-dependencies "$unit" || { ocf_exit_reason "systemd did not stop $unit"; return "$OCF_ERR_GENERIC"; }
	done
	[ "$(threads)" = 0 ] || { ocf_exit_reason "$(threads) threads of the server are left"; return "$OCF_ERR_GENERIC"; }
}

# unfence: takes the constraint of DRBD's handler away where both replicas are
# alike and nothing had to be copied.
unfence() {
	! grep -q '^ *[0-9]*: cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate ' "$proc/drbd" ||
		/usr/local/lib/halinux/drbd-unfence-peer "$replica" >/dev/null 2>&1 || :
}

monitor() {
	[ "$(threads)" -gt 0 ] || return "$OCF_NOT_RUNNING"
	for unit in nfs-mountd.service nfsdcld.service; do
		systemctl is-active -q $unit || { ocf_exit_reason "$unit is $(systemctl is-active $unit)"; return "$OCF_ERR_GENERIC"; }
	done
	answers || frozen || answers || { ocf_exit_reason "the server has $(threads) threads and does not answer"; return "$OCF_ERR_GENERIC"; }
	unfence
}

case ${1:-} in
meta-data) meta_data ;;
start) validate && start ;;
stop) stop ;;
monitor) monitor ;;
validate-all) validate ;;
*) exit "$OCF_ERR_UNIMPLEMENTED" ;;
esac
