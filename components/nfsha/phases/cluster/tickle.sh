#!/bin/sh
# ocf:halinux:tickle: wakes the clients of an address that has come from another
# host. A client repeats what it has sent at growing intervals (1.6, 3.2, 6.4 s,
# ...) and would find the new server only then. It is sent an acknowledgement that
# fits nothing; it answers with its own view of the connection, of which this host
# knows nothing and says so (RST), and the client connects anew at once.
# Which connections there are is kept in a file on the replicated volume.
: "${OCF_FUNCTIONS_DIR=${OCF_ROOT}/lib/heartbeat}"
# shellcheck source=/dev/null
. "${OCF_FUNCTIONS_DIR}/ocf-shellfuncs"

dir=${OCF_RESKEY_dir:-} ip=${OCF_RESKEY_ip:-} port=${OCF_RESKEY_port:-}
list=$dir/$ip
# Gone with a reboot, as the connections are.
running=${HA_RSCTMP:-/run/resource-agents}/halinux-tickle-$ip
send=${HA_BIN:-/usr/libexec/heartbeat}/tickle_tcp

meta_data() {
	cat <<'END'
<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="tickle" version="1.0">
<version>1.1</version>
<longdesc lang="en">Makes TCP clients of an address that has moved connect anew at once.</longdesc>
<shortdesc lang="en">wakes TCP clients</shortdesc>
<parameters>
<parameter name="dir" required="1"><longdesc lang="en">A folder that moves with the address.</longdesc><shortdesc lang="en">folder</shortdesc><content type="string"/></parameter>
<parameter name="ip" unique="1" required="1"><longdesc lang="en">The address.</longdesc><shortdesc lang="en">address</shortdesc><content type="string"/></parameter>
<parameter name="port" required="1"><longdesc lang="en">The server's port.</longdesc><shortdesc lang="en">port</shortdesc><content type="integer"/></parameter>
</parameters>
<actions>
<action name="start" timeout="20s"/>
<action name="stop" timeout="20s"/>
<action name="monitor" timeout="20s" interval="10s"/>
<action name="validate-all" timeout="5s"/>
<action name="meta-data" timeout="5s"/>
</actions>
</resource-agent>
END
}

validate() {
	case $dir/$ip/$port in *//* | */) ocf_exit_reason "dir, ip and port are not all given"; return "$OCF_ERR_CONFIGURED" ;; esac
	for tool in ss "$send"; do check_binary "$tool"; done
}

# save: whole or not at all, and on the disk: it is needed after a crash.
save() {
	[ -d "$dir" ] || return 0
	ss -Htn state established src "$ip" and sport = ":$port" 2>/dev/null | awk '{print $3, $4}' | sort >"$list.new" || return 0
	if ! cmp -s "$list.new" "$list"; then
		sync "$list.new" && mv "$list.new" "$list"
	fi
	return 0
}

start() {
	# What an earlier life of the address has left here would answer in the place
	# of nobody.
	ss -K -tn state all exclude listening exclude established src "$ip" and sport = ":$port" >/dev/null 2>&1 || :
	if [ -s "$list" ]; then
		# The neighbours learn in these seconds where the address is.
		(for _ in 1 2 3 4 5 6; do "$send" -n 1 <"$list"; sleep 0.5; done) >/dev/null 2>&1 </dev/null &
	fi
	: >"$running"
}

monitor() {
	[ -e "$running" ] || return "$OCF_NOT_RUNNING"
	save
}

case ${1:-} in
meta-data) meta_data ;;
start) validate && start ;;
stop)
	[ ! -e "$running" ] || save
	rm -f "$running"
	;;
monitor) monitor ;;
validate-all) validate ;;
*) exit "$OCF_ERR_UNIMPLEMENTED" ;;
esac
