#!/bin/sh
# The functions that phases use on their host, and the four verbs that the
# controller calls: converge, check, remove and forget.
#
# On a host, a phase is a folder below $state/phases with what its last
# successful run left: the scripts, the variables, the manifest of its files
# (checksum, mode, owner, path), its packages and its units. check and remove
# work from that folder alone, so they always belong to what is on the host.
set -eu

state=/var/lib/halinux
logs=/var/log/halinux
lib=$state/lib.sh
undo_unit=/etc/systemd/system/halinux-undo.service
undo_boot=/etc/systemd/system/sysinit.target.wants/halinux-undo.service
tab=$(printf '\t')
nl='
'
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
DEBIAN_FRONTEND=noninteractive
export PATH LC_ALL DEBIAN_FRONTEND

# ---- words ---------------------------------------------------------------

# say TEXT...: a line for the log and, as long as it listens, the controller.
say() {
	printf '%s\n' "$*"
	(printf '%s\n' "$*" >&3) 2>/dev/null || :
}

# fail WHAT [REMEDY]: ends the phase with one clear error. In a script it goes
# to the log alone, whose end the controller gets anyway.
fail() {
	printf 'error: %s: %s: %s\n' "${host:-this host}" "${phase:-halinux}" "$1${2:+; $2}" >&"$(if [ "${verb:-}" = script ]; then echo 1; else echo 2; fi)"
	exit 1
}

# differs TEXT...: what check.sh calls for each difference it finds.
differs() { printf -- '- %s\n' "$*"; }

# ---- what a payload is made of --------------------------------------------
# A payload is a file of calls to these functions; the last one is "end".

phase() { phase=$1 host=$2 owner=$3 limit=$4 once=$5; }
var() {
	case $2 in
	*\'*) printf "%s='%s'\n" "$1" "$(printf '%s' "$2" | sed "s/'/'\\\\''/g")" ;;
	*) printf "%s='%s'\n" "$1" "$2" ;;
	esac >>"$work/vars"
}
file() {
	[ -d "$work/stage${1%/*}" ] || mkdir -p "$work/stage${1%/*}"
	cat >"$work/stage$1"
	printf '%s\t%s\t%s\n' "$2" "$3" "$1" >>"$work/index"
}
script() { cat >"$work/$1.sh"; }
secret() { printf '%s' "$2" | base64 -d >"$work/secrets/$1"; }
end() { complete=yes; }

# reveal FILE: puts the secrets in the place of their names, "[secret NAME]".
reveal() {
	awk -v dir="$work/secrets/" '
		function secret(name,  value, line) {
			if (name in seen) return seen[name]
			value = ""; line = ""
			while ((getline line < (dir name)) > 0) value = value (value == "" ? "" : "\n") line
			close(dir name)
			return seen[name] = value
		}
		{
			out = ""
			while ((at = match($0, /\[secret [a-z0-9.-]+\]/)) > 0) {
				name = substr($0, at + 8, RLENGTH - 9)
				out = out substr($0, 1, at - 1) secret(name)
				$0 = substr($0, at + RLENGTH)
			}
			print out $0
		}' "$1" >"$1.revealed"
	mv "$1.revealed" "$1"
}

# ---- files ----------------------------------------------------------------

# place [PATH...]: puts the staged files (all, or those named) where they
# belong: whole, with mode and owner, and only when something differs. All are
# written to the disk, at once, before the first takes its place.
place() {
	: >"$work/placing"
	while IFS=$tab read -r mode owner_ path; do
		among "$path" "$@" || continue
		prepare_file "$mode" "$owner_" "$path"
	done <"$work/index"
	[ -s "$work/placing" ] || return 0
	while IFS= read -r path; do beside; printf '%s\0' "$tmp"; done <"$work/placing" | xargs -0 sync || not_written "$(head -n 1 "$work/placing")"
	# Noted before it happens: a run that dies right after still reloads next time.
	cat "$work/placing" >>"$here/pending" || not_written "$(head -n 1 "$work/placing")"
	while IFS= read -r path; do
		beside
		mv -fT "$tmp" "$path" || not_written "$path"
		say "$path: written"
		case $path in /etc/systemd/system/*) rm -f "$work/reloaded" ;; esac
	done <"$work/placing"
}

# beside: sets tmp to where the new file of $path waits.
beside() { tmp=${path%/*}/.${path##*/}.halinux; }

# among WORD [LIST...]: whether the list holds the word; an empty one holds all.
among() {
	[ $# -gt 1 ] || return 0
	word=$1; shift
	for item; do [ "$item" != "$word" ] || return 0; done
	return 1
}

prepare_file() {
	new=$stage$3 dir=${3%/*}
	if [ -f "$3" ] && [ ! -L "$3" ] && cmp -s "$new" "$3"; then
		[ "$(stat -c '0%a %U:%G' "$3")" = "$1 $2" ] || { chown "$2" "$3"; chmod "$1" "$3"; }
		return 0
	fi
	[ -d "${dir:-/}" ] || mkdir -p "$dir" || fail "cannot make the folder $dir" "is the file system read-only or full?"
	keep_original "$3"
	beside
	printf '%s\n' "$3" >>"$work/placing"
	install -o "${2%:*}" -g "${2#*:}" -m "$1" "$new" "$tmp" || not_written "$3"
}

# not_written PATH: no file of this call of place stays behind half-way.
not_written() {
	while IFS= read -r path; do beside; rm -f "$tmp" || :; done <"$work/placing"
	fail "cannot write $1" "the old file stands; $(df -h "${1%/*}/" | awk 'NR==2 {print $4 " free of " $2 " on " $6}'), is the file system full or read-only?"
}

# keep_original PATH: remembers what stood at a path before halinux came.
keep_original() {
	kept=$state/original$1
	[ ! -e "$kept" ] && [ ! -e "$kept.absent" ] || return 0
	cut -sf4 "$state"/phases/*/manifest 2>/dev/null | grep -qxF "$1" && return 0
	[ -d "${kept%/*}" ] || mkdir -p "${kept%/*}"
	if [ ! -e "$1" ] && [ ! -L "$1" ]; then : >"$kept.absent"; return 0; fi
	cp -a "$1" "$kept"
	[ ! -f "$kept" ] || sync "$kept"
}

# give_back PATH: the original again, or nothing where nothing was.
give_back() {
	kept=$state/original$1
	if [ -e "$kept" ] || [ -L "$kept" ]; then
		mkdir -p "$(dirname "$1")"
		cp -a "$kept" "$1.halinux" && mv -fT "$1.halinux" "$1"
		rm -f "$kept"
	else
		rm -f "$1" "$kept.absent"
	fi
}

# changed [PATH...]: whether this run, or one that was cut short, changed a file.
changed() {
	[ -s "$here/pending" ] || return 1
	[ -n "${1:-}" ] || return 0
	for item; do ! grep -qxF "$item" "$here/pending" || return 0; done
	return 1
}

# ---- packages -------------------------------------------------------------

# packages NAME[=VERSION]...: installed, none started with its default
# configuration. Waits for apt's lock and retries a mirror's hiccup for
# $apt_wait seconds (default 300); a package that does not exist fails at once.
packages() {
	[ $# -gt 0 ] || return 0
	printf '%s\n' "$@" >>"$work/packages"
	missing=$(missing "$@")
	[ -n "$missing" ] || return 0
	say "installing $(printf '%s' "$missing" | tr '\n' ' ')"
	if [ ! -e /var/lib/apt/lists/lock ] || [ -n "$(find /etc/apt/sources.list /etc/apt/sources.list.d -newer /var/lib/apt/lists/lock 2>/dev/null)" ] ||
		[ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' 2>/dev/null)" ]; then
		apt_get update
	fi
	# shellcheck disable=SC2046 # a list of words
	missing $(printf '%s\n' "$missing" | sed 's/=.*//') >>"$here/installed"
	quiet_services
	# shellcheck disable=SC2086 # a list of words
	apt_get install -y --no-install-recommends --allow-downgrades $missing
	loud_services
}

# missing NAME[=VERSION]...: prints those that are not installed.
missing() {
	names=
	for item; do names="$names ${item%%=*}"; done
	# shellcheck disable=SC2086 # a list of words
	have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n${db:Status-Status} ${Package}=${Version}\n' $names 2>/dev/null || :)
	for item; do
		case $nl$have$nl in *"${nl}installed $item$nl"*) ;; *) printf '%s\n' "$item" ;; esac
	done
}

quiet_services() {
	loud_services
	[ ! -e /usr/sbin/policy-rc.d ] || return 0
	printf '#!/bin/sh\n# halinux: a package starts when it is configured\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
}
loud_services() { ! grep -qs '^# halinux:' /usr/sbin/policy-rc.d || rm -f /usr/sbin/policy-rc.d; }

# apt_get WORD...: apt-get, again while the reason may pass.
apt_get() {
	until_=$(($(date +%s) + ${apt_wait:-300})) pause=1
	while :; do
		rc=0
		apt-get -q -o DPkg::Lock::Timeout=10 -o Acquire::Retries=2 -o Acquire::http::Timeout=20 \
			-o APT::Update::Error-Mode=any -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold \
			"$@" >"$work/apt" 2>&1 || rc=$?
		cat "$work/apt"
		reason=$(grep -E '^(E|W):' "$work/apt" | head -n 1)
		# What a source answers and will answer again: apt says the same of a
		# Release file that a failing server did not give, hence the second look.
		if grep -q "doesn't have the component" "$work/apt" ||
			{ grep -q 'does not have a Release file' "$work/apt" && grep -Eq '^  (40[0-9]|410) |File not found' "$work/apt"; }; then
			fail "apt-get $1: $reason" "check the address, the suite and the components of the package source"
		fi
		[ $rc != 0 ] || return 0
		if grep -Eq 'NO_PUBKEY|is not signed|signature verification failed' "$work/apt"; then
			fail "apt-get $1: $reason" "check the key of the package source: the source is signed by another one, or by none"
		fi
		case $reason in
		*'Unable to locate package'* | *'no installation candidate'* | *'was not found'* | *'unmet dependencies'* | *'held broken'*)
			fail "apt-get $1: $reason" "check the package's name, the version, and the package source of this host" ;;
		esac
		dpkg --configure -a || :
		[ "$(date +%s)" -lt $until_ ] ||
			fail "apt-get $1 did not succeed within ${apt_wait:-300} s: ${reason:-exit $rc}" "is the package mirror up, and does another process hold apt's lock?"
		say "apt-get $1: ${reason:-exit $rc}; trying again"
		sleep $pause
		pause=$((pause < 8 ? pause * 2 : 8))
	done
}

# ---- services -------------------------------------------------------------

# service UNIT [reload|restart|start]: enabled, running, and told of changed
# files, unless it need not know of them (start).
service() {
	printf '%s\n' "$1" >>"$work/units"
	# Links for a boot by SysV's init, and telling systemd of one for the next
	# boot, take a second and serve nobody.
	if ! systemctl is-enabled -q "$1" 2>/dev/null; then
		SYSTEMCTL_SKIP_SYSV=1 systemctl enable -q --no-reload "$1"
		# It wants to know when this gave the unit a second name.
		[ "$(systemctl show -P NeedDaemonReload "$1")" = no ] || { systemctl daemon-reload; : >"$work/reloaded"; }
	fi
	reload_units
	if ! systemctl is-active -q "$1"; then
		say "$1: starting"
		systemctl reset-failed "$1" 2>/dev/null || :
		systemctl start "$1" || service_failed "$1" start
	elif [ "${2:-restart}" != start ] && changed ''; then
		say "$1: ${2:-restart}"
		systemctl "${2:-restart}" "$1" || service_failed "$1" "${2:-restart}"
	fi
	systemctl is-active -q "$1" || service_failed "$1" run
}
# reload_units: systemd reads its files again, once after they were changed.
reload_units() {
	if [ ! -e "$work/reloaded" ] && grep -q '^/etc/systemd/system/' "$here/pending" 2>/dev/null; then systemctl daemon-reload; fi
	: >"$work/reloaded"
}
service_failed() {
	journalctl -q -n 15 --no-pager -o cat -u "$1" || :
	fail "$1 did not $2" "its last words are above and in the host's journal"
}

# no_service UNIT...: stopped and disabled, where it exists.
no_service() {
	for item; do
		! systemctl is-active -q "$item" || systemctl stop "$item"
		! systemctl is-enabled -q "$item" 2>/dev/null || SYSTEMCTL_SKIP_SYSV=1 systemctl disable -q "$item"
	done
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
	until_=$(($(date +%s) + $1)) what_=$2
	shift 2
	while ! "$@" >/dev/null 2>&1; do
		[ "$(date +%s)" -lt $until_ ] || return 1
		sleep 0.2
	done
	say "$what_"
}

# ---- changes that may cut off the controller --------------------------------

# confirm SECONDS PATH... <UNDO: makes a change, and keeps it only where it
# proves harmless. The calling script defines two functions: apply makes the
# change, writing no files but the PATHs, and prove fails where it is no good.
# In between, the connection that this run came by has to work both ways as a
# new one would. Where anything fails the PATHs become what they were and the
# shell text UNDO runs: at once; SECONDS later, should this run be dead by then;
# or at the next boot (the files alone).
confirm() {
	limit_=$1 undo=$state/undo
	shift
	rm -rf "$undo.new" "$undo.done"
	mkdir -p "$undo.new/files"
	{ printf "phase='%s' host='%s' here='%s'\n" "$phase" "$host" "$here"; cat; } >"$undo.new/script"
	for item; do
		printf '%s\n' "$item" >>"$undo.new/paths"
		if [ -e "$item" ] || [ -L "$item" ]; then (cd / && cp -a --parents ".$item" "$undo.new/files"); fi # Debian 12's cp needs it relative
	done
	printf '%s\n' '# halinux: a change that was not confirmed is undone' '[Unit]' DefaultDependencies=no \
		RequiresMountsFor=/var/lib/halinux After=local-fs.target Before=network-pre.target Wants=network-pre.target \
		'[Service]' Type=oneshot "ExecStart=/bin/sh $lib undo boot" >"$undo_unit"
	# systemd learns of it at the next boot, which is when it is for.
	mkdir -p "${undo_boot%/*}"
	ln -sf "../${undo_unit##*/}" "$undo_boot"
	find "$undo.new" "$undo_unit" "${undo_boot%/*}" \( -type f -o -type d \) -exec sync "${undo_unit%/*}" {} +
	mv -T "$undo.new" "$undo"
	systemctl stop halinux-undo-timer.timer 2>/dev/null || :
	systemctl reset-failed halinux-undo-timer.service 2>/dev/null || :
	systemd-run -q --collect --unit=halinux-undo-timer --on-active="$limit_" --timer-property=AccuracySec=100ms /bin/sh "$lib" undo ||
		{ sh "$lib" undo; fail "cannot arm the timer that would undo the change" "systemd's words are above"; }
	set +e
	(set -e; apply; reached; prove)
	rc_=$?
	set -e
	if [ $rc_ = 0 ] && mv -T "$undo" "$undo.done" 2>/dev/null; then
		undo_disarm
		rm -rf "$undo.done"
		return 0
	fi
	sh "$lib" undo again
	fail "the change was undone: the host is as it was" "the reason is above"
}

# reached: fails unless the controller's connection works in both directions
# under the rules for a new one. Packets of the connection are exempted from
# connection tracking, so that no rule for established ones lets them pass; then
# what is said must be acknowledged.
reached() {
	[ -n "$connection" ] || return 0
	# shellcheck disable=SC2086 # client, port, server, port
	set -- $connection
	case $1 in *:*) ip_=ip6 ;; *) ip_=ip ;; esac
	! filters || nft -f - <<-END
		table inet halinux_probe {
			chain in {
				type filter hook prerouting priority raw
				$ip_ saddr $1 tcp sport $2 $ip_ daddr $3 tcp dport $4 notrack
			}
			chain out {
				type filter hook output priority raw
				$ip_ saddr $3 tcp sport $4 $ip_ daddr $1 tcp dport $2 notrack
			}
		}
	END
	said_=0
	until_=$(($(date +%s) + ${reach_wait:-12}))
	for word in asking asked; do
		before_=$(acked "$@")
		say "$phase: $word the controller"
		while [ "$(acked "$@")" -le "$before_" ] && [ "$(date +%s)" -lt $until_ ]; do sleep 0.1; done
		[ "$(acked "$@")" -le "$before_" ] || said_=$((said_ + 1))
	done
	! filters || nft delete table inet halinux_probe
	[ $said_ = 2 ] || fail "with this change the controller ($1, to $3 port $4) could not reach this host" "let it in, or correct the change"
}
# filters: whether this kernel can filter packets of IP at all.
filters() { nft -c add table inet halinux_probe 2>/dev/null; }
acked() {
	case $1 in *:*) set -- "[$1]" "$2" "[$3]" "$4" ;; esac
	ss -tinH "src $3 and dst $1 and sport = :$4 and dport = :$2" | awk 'match($0, /bytes_acked:[0-9]+/) {n = substr($0, RSTART + 12, RLENGTH - 12)} END {print n + 0}'
}

# undo [boot|again]: what confirm left to be undone, if there is anything.
verb_undo() {
	exec 3>/dev/null
	undo=$state/undo
	if [ -d "$undo" ]; then
		rm -rf "$undo.done"
		mv -T "$undo" "$undo.done" 2>/dev/null || exit 0
	elif [ "${1:-}" != again ] || [ ! -d "$undo.done" ]; then
		exit 0
	fi
	mkdir -p "$logs"
	{
		printf '== %s undo\n' "$(date -u +%FT%TZ)"
		! command -v nft >/dev/null || nft delete table inet halinux_probe 2>/dev/null || :
		while IFS= read -r path; do
			rm -rf "$path"
			[ ! -e "$undo.done/files$path" ] && [ ! -L "$undo.done/files$path" ] || (cd "$undo.done/files" && cp -a --parents ".$path" /) || :
		done <"$undo.done/paths"
		# shellcheck source=/dev/null
		[ "${1:-}" = boot ] || (set +e; . "$undo.done/script")
	} >>"$logs/undo.log" 2>&1
	undo_disarm
}
undo_disarm() {
	rm -f "$undo_boot" "$undo_unit"
	systemctl stop halinux-undo-timer.timer 2>/dev/null || :
}

# ---- the verbs ------------------------------------------------------------

# enter: the lock, so that runs of two controllers never interleave.
enter() {
	exec 8>/run/halinux.lock
	# A phase waits for those beside it, too, so as long as itself may take.
	flock -w "${limit:=300}" 8 || fail "another run has been at work here for $limit s" "wait for it, or end its processes: $(holders)"
	[ ! -d "$state/undo" ] || sh "$lib" undo
}

# holders: the processes of the run that has the lock.
holders() {
	mine=$(stat -c %d:%i /run/halinux.lock)
	grep -ls '^lock:' /proc/[0-9]*/fdinfo/8 | while IFS= read -r item; do
		item=${item%/fdinfo/8}
		[ "$(stat -Lc %d:%i "$item/fd/8" 2>/dev/null)" != "$mine" ] || printf '%s ' "${item#/proc/}"
	done
}

verb_converge() {
	connection=$1
	exec 3>&2
	work=$(mktemp -d /run/halinux.XXXXXXXX) || fail "no room in /run"
	trap 'rm -rf "$work"' EXIT
	stage=$work/stage complete=no
	mkdir "$stage" "$work/secrets"
	: >"$work/index"; : >"$work/vars"; : >"$work/units"; : >"$work/packages"
	cat >"$work/spec"
	# shellcheck source=/dev/null
	. "$work/spec"
	[ $complete = yes ] || fail "the connection ended before the whole phase had arrived" "run it again"
	enter
	while IFS=$tab read -r _ _ path; do
		! grep -qF '[secret ' "$stage$path" || reveal "$stage$path"
	done <"$work/index"
	here=$state/phases/$phase
	if ! { mkdir -p "$here" "$logs" && chmod 700 "$state" "$logs" && printf '%4096s' '' >"$here/.writable"; } 2>/dev/null; then
		fail "cannot write below $state" "is the file system full or read-only?"
	fi
	rm -f "$here/.writable"
	log=$logs/$phase.log
	[ ! -e "$log" ] || [ "$(stat -c %s "$log")" -lt 1000000 ] || mv -f "$log" "$log.1"
	printf "phase='%s' host='%s' here='%s' work='%s' stage='%s' connection='%s'\n" \
		"$phase" "$host" "$here" "$work" "$stage" "$connection" >>"$work/vars"
	from=0
	[ ! -e "$log" ] || from=$(wc -c <"$log")
	rc=0
	if [ "$once" = yes ] && [ -e "$here/once" ]; then
		say "done once before" >>"$log"
	else
		{
			printf '== %s converge\n' "$(date -u +%FT%TZ)"
			timeout -k 15 "$limit" sh "$lib" script converge "$work"
		} >>"$log" 2>&1 </dev/null || rc=$?
	fi
	loud_services
	if [ $rc != 0 ]; then
		tail -c "+$((from + 1))" "$log" | tail -n 25 >&2
		[ $rc != 124 ] || printf 'error: %s: %s: not finished within %s s\n' "$host" "$phase" "$limit" >&2
		printf '%s: %s: failed (%s); the whole log is on the host in %s\n' "$host" "$phase" "$rc" "$log" >&2
		exit 1
	fi
	remember
	printf '{"phase":"%s","host":"%s","changed":[%s]}\n' "$phase" "$host" "$changes"
}

# remember: what this run made becomes what check and remove know.
remember() {
	cut -f3 "$work/index" | sums | awk -F '\t' 'file {if ($3 in sum) print sum[$3] FS $0; next} {sum[$2] = $1}' - file=1 "$work/index" >"$work/manifest"
	if [ -e "$here/manifest" ]; then
		cut -f4 "$here/manifest" | while IFS= read -r path; do
			cut -f4 "$work/manifest" | grep -qxF "$path" || give_back "$path"
		done
	fi
	changes=$(awk '!seen[$0]++ {print "\"" $0 "\""}' "$here/pending" 2>/dev/null | paste -sd, -)
	[ "$once" != yes ] || : >"$here/once"
	for item in converge check remove; do [ -e "$work/$item.sh" ] || : >"$work/$item.sh"; done
	grep -v "^phase=" "$work/vars" >"$here/vars" || :
	sort -u "$work/units" >"$here/units"
	sort -u "$work/packages" >"$here/packages"
	cp "$work/manifest" "$work/check.sh" "$work/remove.sh" "$here/"
	printf '%s\n' "$owner" >"$here/owner"
	printf '%s\n' "$host" >"$here/host"
	date -u +%FT%TZ >"$here/done"
	# The run is over for the program that started it: a power cut a moment later
	# must not take back what it counts on.
	sync "$here"/* || fail "cannot write below $state" "is the file system full or read-only?"
	rm -f "$here/pending"
}

# sums <PATHS: "SUM<TAB>PATH" for each that is there.
sums() { tr '\n' '\0' | xargs -0 -r sha256sum 2>/dev/null | sed "s/^\([0-9a-f]*\)  /\1$tab/"; }

# verb_script NAME WORK: runs one script of a phase with these functions at hand.
verb_script() {
	work=$2
	# shellcheck source=/dev/null
	. "$work/vars"
	# shellcheck source=/dev/null
	. "$work/$1.sh"
}

# load PHASE: a phase as its last run left it.
load() {
	phase=$1 here=$state/phases/$1 stage=/nonexistent
	host=$(cat "$here/host")
	# shellcheck source=/dev/null
	. "$here/vars"
}

# check: one "= PHASE TIME" line for each phase here, followed by a "- TEXT"
# line for each difference. Changes nothing.
verb_check() {
	exec 3>/dev/null
	for here in "$state"/phases/*/; do
		[ -e "${here}done" ] || continue
		name=$(basename "$here")
		printf '= %s %s\n' "$name" "$(cat "${here}done")"
		if [ ! -s "${here}done" ] || [ ! -s "${here}owner" ]; then
			differs "its record in $here is empty: the disk has lost what was written"
			continue
		fi
		{
			(load "$name" && check_recorded)
			timeout -k 5 60 sh "$lib" checked "$name" || differs "its check did not end well (exit $?)"
		} 2>&1 </dev/null | sed 's/^\([^-]\)/- check: \1/'
	done
	printf 'end\n'
}

verb_checked() {
	load "$1"
	# shellcheck source=/dev/null
	. "$here/check.sh"
}

# check_recorded: the files, packages and units of the last run.
check_recorded() {
	now=$nl$(cut -f4 "$here/manifest" | sums)$nl
	while IFS=$tab read -r sum mode owner_ path; do
		if [ ! -e "$path" ]; then
			differs "$path is missing"
		else
			case $now in
			*"$nl$sum$tab$path$nl"*)
				is=$(stat -c '0%a %U:%G' "$path")
				[ "$is" = "$mode $owner_" ] || differs "$path has mode and owner $is, not $mode $owner_"
				;;
			*) differs "$path differs" ;;
			esac
		fi
	done <"$here/manifest"
	if [ -s "$here/packages" ]; then
		# shellcheck disable=SC2046 # a list of words
		for item in $(missing $(cat "$here/packages")); do differs "package $item is not installed"; done
	fi
	while IFS= read -r item; do
		[ "$(systemctl is-enabled "$item" 2>/dev/null)" != disabled ] || differs "$item is not enabled"
		[ "$(systemctl is-enabled "$item" 2>/dev/null)" != masked ] || differs "$item is masked"
		systemctl is-active -q "$item" || differs "$item is not running"
	done <"$here/units"
}

# remove PHASE OWNER: undoes a phase, unless another resource has taken it over.
verb_remove() {
	exec 3>&2
	enter
	[ -e "$state/phases/$1/owner" ] || { say "nothing to undo"; exit 0; }
	load "$1"
	if [ "$(cat "$here/owner")" != "$2" ]; then
		say "left as it is: $1 belongs to $(cat "$here/owner") now"
		exit 0
	fi
	mkdir -p "$logs"
	{
		printf '== %s remove\n' "$(date -u +%FT%TZ)"
		timeout -k 15 600 sh "$lib" removed "$1"
	} >>"$logs/$1.log" 2>&1 </dev/null || {
		tail -n 25 "$logs/$1.log" >&2
		printf '%s: %s: not removed; the whole log is on the host in %s\n' "$host" "$1" "$logs/$1.log" >&2
		exit 1
	}
	rm -rf "$here"
}

verb_removed() {
	load "$1"
	# shellcheck source=/dev/null
	. "$here/remove.sh"
	cut -f4 "$here/manifest" | while IFS= read -r path; do give_back "$path"; done
	if [ -s "$here/installed" ]; then
		# shellcheck disable=SC2046 # a list of words
		apt_wait=120 work=$here apt_get purge -y $(cat "$here/installed")
	fi
	! grep -q "$tab/etc/systemd/" "$here/manifest" || systemctl daemon-reload
}

# forget: the last component has left this host.
verb_forget() {
	rmdir "$state/phases" 2>/dev/null || [ ! -d "$state/phases" ] || exit 0
	rm -rf "$state"
}

verb=$1
shift
"verb_$verb" "$@"
# end of the library
