#!/bin/sh
# halinux-storage VERB: the storage cluster as a person looks at it and acts on
# it, on either storage host.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL=C

usage() {
	cat >&2 <<'END'
usage: halinux-storage VERB
  status               who serves, the replicas, the votes, and what is wrong (exit 1)
  metrics              the same as numbers, for Prometheus
  move                 let the other host serve
  split-brain          what each side would lose
  split-brain discard HOST
                       end a split brain: what HOST has written alone is thrown
                       away. Run it on both hosts, first on HOST
END
	exit 2
}
fail() {
	printf 'halinux-storage: %s\n' "$1" >&2
	[ -z "${2:-}" ] || printf '  %s\n' "$2" >&2
	exit 1
}

# shellcheck source=/dev/null
. "${HALINUX_STORAGE:-/etc/halinux/storage}"
: "${name:?}" "${root:?}" "${vip:?}" "${hosts:?}"
me=$(uname -n)
mark=${HALINUX_STATE:-/var/lib/halinux}/split-brain/$name
id=drbd-fence-by-handler-$name-$name-drbd

# attribute NAME of an XML tag on stdin
attribute() { sed -n "s/.* $1=\"\([^\"]*\)\".*/\1/p"; }
nodes() { crm_mon --output-as=xml --one-shot --include=none,nodes 2>/dev/null | grep '<node name=' || :; }
resources() { crm_mon --output-as=xml --one-shot --inactive --include=none,resources 2>/dev/null || :; }
# at RESOURCE ROLE: the host that has a resource in a role
at() {
	resources | awk -v id="id=\"$1\"" -v role="role=\"$2\"" '
		/<resource / {here = index($0, id) && index($0, role)}
		here && /<node name=/ {sub(/.*<node name="/, ""); sub(/".*/, ""); print; exit}'
}
connection() { drbdadm cstate "$name" 2>/dev/null || echo Unconfigured; }
disks() { drbdadm dstate "$name" 2>/dev/null || echo Unknown; }
role() { drbdadm role "$name" 2>/dev/null || echo Unknown; }
may_serve() { cibadmin --query --xpath "//rsc_location[@id='$id']//expression" 2>/dev/null | attribute value | head -n 1; }
other() {
	for host in $hosts; do [ "$host" = "$me" ] || printf '%s\n' "$host"; done
}
# behind: what is on one side and not on the other, in MiB
behind() { sed -n 's/.* oos:\([0-9]*\).*/\1/p' "${HALINUX_PROC:-/proc}/drbd" | head -n 1 | awk '{printf "%.1f", $1 / 1024}'; }

# projects: NAME, MiB used, and the quota in MiB of each, where they are mounted
projects() {
	findmnt -n "$root" >/dev/null 2>&1 || return 0
	used=$(xfs_quota -x -c 'report -p -b -n -N' "$root")
	resources | sed -n "s/.*<resource id=\"$name-project-\([^\"]*\)\".*/\1/p" | while read -r project; do
		number=$(crm_resource --resource "$name-project-$project" --get-parameter number 2>/dev/null)
		printf '%s\n' "$used" | awk -v id="#$number" -v p="$project" '$1 == id {printf "%s %d %d\n", p, $2 / 1024, $4 / 1024}'
	done
}
witness_votes() { corosync-quorumtool -s 2>/dev/null | grep -Eq '^ *0 +[1-9][0-9]* +Qdevice$'; }
failures() { crm_mon --output-as=xml --one-shot --include=none,failures 2>/dev/null | sed -n 's/.*<failure .*op_key="\([^"]*\)".*node="\([^"]*\)".*exitstatus="\([^"]*\)".*/\1 on \2: \3/p'; }

# gauge NAME HELP VALUE [LABELS]
gauge() { printf '# HELP halinux_storage_%s %s\n# TYPE halinux_storage_%s gauge\nhalinux_storage_%s%s %s\n' "$1" "$2" "$1" "$1" "${4:-}" "$3"; }
# truth COMMAND...: 1 or 0
truth() { if "$@" >/dev/null 2>&1; then echo 1; else echo 0; fi; }
metrics() {
	gauge serves 'Whether this host runs the NFS server.' "$(truth [ "$(at "$name-server" Started)" = "$me" ])"
	gauge address 'Whether this host has the VIP.' "$(truth [ "$(at "$name-vip" Started)" = "$me" ])"
	gauge quorate 'Whether this host is part of a quorum.' "$(truth [ "$(crm_node --quorum 2>/dev/null)" = 1 ])"
	gauge witness 'Whether the witness votes.' "$(truth witness_votes)"
	gauge members 'Members of the cluster, of two.' "$(nodes | grep -c 'online="true".* unclean="false"' || :)"
	gauge connected 'Whether the replicas are connected, and neither is being filled.' "$(truth sh -c "case $(connection) in Connected | Verify?) ;; *) exit 1 ;; esac")"
	gauge replica_up_to_date 'Whether the replica of this host is up to date.' "$(truth [ "$(disks | cut -d/ -f1)" = UpToDate ])"
	gauge peer_up_to_date 'Whether the other replica is up to date, as seen from here.' "$(truth [ "$(disks | cut -d/ -f2)" = UpToDate ])"
	gauge behind_mebibytes 'What is to be copied to the other replica.' "$(behind)"
	gauge fenced_off 'Whether one host alone may serve until the other has caught up.' "$(truth [ -n "$(may_serve)" ])"
	gauge split_brain 'Whether both hosts have written without the other.' "$(truth [ -e "$mark" ])"
	gauge failures 'Operations of the cluster that have failed.' "$(failures | grep -c . || :)"
	all=$(projects)
	[ -n "$all" ] || return 0
	printf '# HELP halinux_storage_project_used_mebibytes What a project holds.\n# TYPE halinux_storage_project_used_mebibytes gauge\n'
	printf '%s\n' "$all" | awk '{printf "halinux_storage_project_used_mebibytes{project=\"%s\"} %d\n", $1, $2}'
	printf '# HELP halinux_storage_project_quota_mebibytes What a project may hold.\n# TYPE halinux_storage_project_quota_mebibytes gauge\n'
	printf '%s\n' "$all" | awk '{printf "halinux_storage_project_quota_mebibytes{project=\"%s\"} %d\n", $1, $3}'
}

wrong=''
bad() {
	wrong=yes
	printf '  ! %s\n' "$1"
}

status() {
	server=$(at "$name-server" Started)
	holder=$(at "$name-vip" Started)
	printf '%-12s %s\n' 'serves' "${server:-nobody}" 'VIP' "$vip on ${holder:-no host}" 'replication' "$(connection)" \
		'replicas' "$(disks) (here/there, here is $me)" 'roles' "$(role)"
	[ -n "$server" ] || bad "nobody serves"
	[ "$server" = "$holder" ] || bad "the VIP is not where the server is"
	for host in $hosts; do
		line=$(nodes | grep "name=\"$host\"" || :)
		case $(printf '%s' "$line" | attribute online)/$(printf '%s' "$line" | attribute unclean)/$(printf '%s' "$line" | attribute standby)/$(printf '%s' "$line" | attribute pending) in
		true/false/*/true) printf '%-12s starting\n' "$host" && bad "$host has not joined the cluster yet" ;;
		true/false/false/*) printf '%-12s member\n' "$host" ;;
		true/false/true/*) printf '%-12s member, in standby\n' "$host" && bad "$host is in standby: crm_standby -N $host -D ends it" ;;
		*/true/*) printf '%-12s lost, to be fenced\n' "$host" && bad "$host is lost and has not been fenced" ;;
		false/*) printf '%-12s not a member\n' "$host" && bad "$host is not a member of the cluster" ;;
		*) printf '%-12s unknown\n' "$host" && bad "the cluster does not run here" ;;
		esac
	done
	[ "$(crm_node --quorum 2>/dev/null)" = 1 ] || bad "no quorum here: this host serves nothing"
	witness_votes || bad "the witness does not vote"
	! corosync-cfgtool -s 2>/dev/null | grep -q disconnected || bad "a link between the hosts is down: corosync-cfgtool -s"
	case $(connection) in
	Connected | Verify?) [ "$(disks)" = UpToDate/UpToDate ] || bad "the replicas are $(disks)" ;;
	Sync* | PausedSync*) bad "one replica is being filled: $(behind) MiB to go" ;;
	*) bad "there is no replication: $(connection)" ;;
	esac
	[ -z "$(may_serve)" ] || bad "only $(may_serve) may serve until the other replica has caught up"
	[ ! -e "$mark" ] || bad "split brain since $(cat "$mark"): halinux-storage split-brain"
	failed=$(failures)
	[ -z "$failed" ] || printf '%s\n' "$failed" | while read -r line; do printf '  ! failed: %s\n' "$line"; done
	[ -z "$failed" ] || wrong=yes
	projects | while read -r project used quota; do
		printf '%-12s %s MiB of %s\n' "$project" "$used" "$quota"
	done
	[ -z "$wrong" ] || exit 1
	echo 'all is well'
}

move() {
	from=$(at "$name-replica" Promoted)
	[ -n "$from" ] || fail "nobody serves, so nothing can be moved" "see halinux-storage status"
	for host in $hosts; do [ "$host" = "$from" ] || to=$host; done
	[ "$(connection)/$(disks)" = Connected/UpToDate/UpToDate ] ||
		fail "$to cannot serve: replication is $(connection), the replicas are $(disks)" "wait until both are up to date"
	[ -z "$(may_serve)" ] || fail "only $(may_serve) may serve" "see halinux-storage status"
	echo "moving from $from to $to"
	crm_resource --ban --resource "$name-drbd" --promoted --node "$from" >/dev/null
	# However this ends, either host may serve again afterwards.
	trap 'crm_resource --clear --resource "$name-drbd" >/dev/null 2>&1 || :' EXIT
	trap 'exit 130' INT TERM
	deadline=$(($(date +%s) + 120))
	until [ "$(at "$name-vip" Started)" = "$to" ]; do
		[ "$(date +%s)" -lt $deadline ] || fail "$to does not serve after 120 s" "see crm_mon -1"
		sleep 0.5
	done
	echo "$to serves"
}

split_brain() {
	if [ $# -eq 0 ]; then
		if [ -e "$mark" ]; then
			printf 'split brain since %s\n' "$(cat "$mark")"
		else
			echo 'no split brain has been seen here'
		fi
		printf '%s is %s, its replica %s; replication is %s\n' "$me" "$(role | cut -d/ -f1)" "$(disks | cut -d/ -f1)" "$(connection)"
		printf '%s MiB here have been changed, or are to be copied, since the two were alike: run this on %s too, and compare\n' "$(behind)" "$(other)"
		echo 'then, on the host whose changes go first: halinux-storage split-brain discard HOST'
		return
	fi
	if [ "$1" != discard ] || [ $# != 2 ]; then usage; fi
	case " $hosts " in *" $2 "*) ;; *) fail "$2 is not a storage host" "they are $hosts" ;; esac
	[ -e "$mark" ] || fail "no split brain has been seen here" "see halinux-storage status"
	case $(connection) in
	StandAlone | WFConnection) ;;
	Unconfigured)
		# In standby, which is how it came to serve no longer, its replica is stopped.
		[ "$2" = "$me" ] || fail "the replica is stopped here" "see halinux-storage status"
		drbdadm up "$name" || fail "the replica did not start" "its words are above"
		;;
	*) fail "replication is $(connection), which is no split brain" "see halinux-storage status" ;;
	esac
	if [ "$2" = "$me" ]; then
		case $(role) in
		Primary/*) fail "$me serves, and its changes cannot be thrown away" "first let the other serve: crm_standby -N $me -v on; or throw away those of $(other)" ;;
		esac
		echo "throwing away the $(behind) MiB that have been changed here alone"
		drbdadm disconnect "$name" 2>/dev/null || :
		drbdadm -- --discard-my-data connect "$name" || fail "DRBD did not take it" "its words are above"
		rm -f "$mark"
		echo "now the same on $(other): halinux-storage split-brain discard $me"
	else
		[ "$(connection)" = WFConnection ] || drbdadm connect "$name" || fail "DRBD did not take it" "its words are above"
		deadline=$(($(date +%s) + 60))
		while :; do
			case $(connection) in Connected | Sync*) break ;; esac
			[ "$(date +%s)" -lt $deadline ] || fail "$2 does not connect" "has halinux-storage split-brain discard $2 been run there?"
			sleep 0.5
		done
		rm -f "$mark"
		echo "what $2 had alone is gone; it is being filled from here ($(connection))"
	fi
}

verb=${1:-}
[ $# -eq 0 ] || shift
case $verb in
status) status ;;
metrics) metrics ;;
move) move ;;
split-brain) split_brain "$@" ;;
*) usage ;;
esac
