#!/bin/sh
# Fills the empty folder of a node with what the database was at a time: a copy, and
# the binary logs from its end until RESTORE_TO (as 2026-11-22T14:30:00Z; default: to
# their end). RESTORE_FROM names the copy; default: the last one before that time.
set -eu
umask 077
data=/var/lib/mysql
fail() {
	echo "$*" >&2
	exit 1
}

to=${RESTORE_TO-}
if [ -n "$to" ]; then
	at=$(date -u -d "$to" +%Y%m%dT%H%M%SZ) || fail "RESTORE_TO: $to is not a time; write it like 2026-11-22T14:30:00Z"
	until=$(date -u -d "$to" '+%Y-%m-%d %H:%M:%S')
else
	at=99999999T999999Z
fi
folders() { find "$1" -mindepth 1 -maxdepth 1 -type d -name '????????T??????Z' | sed 's,.*/,,' | sort | awk -v at="$2" '$0 <= at' | tail -n 1; }
copy=${RESTORE_FROM:-$(folders /backup "$at")}
[ -n "$copy" ] || fail "there is no copy of before $to; there are: $(cd /backup && echo *Z)"
[ -d "/backup/$copy" ] || fail "there is no copy $copy; there are: $(cd /backup && echo *Z)"
[ "$(printf '%s\n' "$copy" "$at" | sort | tail -n 1)" = "$at" ] || fail "the copy $copy is of after $to; choose an earlier one"
for there in "$data"/* "$data"/.[!.]*; do
	case $there in
	*/lost+found | */'*' | */'.[!.]*') ;;
	*) fail "$data is not empty: $there. Keep what it has elsewhere, and empty it" ;;
	esac
done

echo "the copy $copy"
mariadb-backup --no-defaults --copy-back --target-dir="/backup/$copy" --datadir="$data"
# Of the copy's log, which is among the copied ones: not this node's.
rm -f "$data"/binlog.*
if [ ! -e "/backup/$copy/mariadb_backup_binlog_info" ]; then
	[ -z "$to" ] || fail "there are no binary logs: the folder has the copy $copy and nothing of after it"
	exit 0
fi
read -r first position _ <"/backup/$copy/mariadb_backup_binlog_info"
row=$(folders /backup/logs "$copy")
[ -e "/backup/logs/$row/$first" ] || fail "the log $first, in which the copy $copy ends, is missing; the folder has the copy and nothing of after it"
cd "/backup/logs/$row"
set --
for log in binlog.*[0-9]; do
	if [ "$(printf '%s\n' "$log" "$first" | sort | head -n 1)" = "$first" ]; then set -- "$@" "$log"; fi
done
# A log was written to until the time of its file.
if [ -n "$to" ] && [ "$(date -u -d "$to" +%s)" -gt "$(date -u -r "$log" +%s)" ]; then
	fail "the logs that go on from the copy $copy end at $(date -u -r "$log" +%Y-%m-%dT%H:%M:%SZ), before $to: copy newer ones, or choose an earlier time. The folder has the copy and nothing of after it"
fi
echo "the logs $first to $log${to:+, until $to}"

# A server that is in no cluster, and that nobody else reaches.
run=$(mktemp -d)
mariadbd --no-defaults --datadir="$data" --socket="$run/s" --pid-file="$run/pid" --skip-networking --skip-log-bin --wsrep-on=OFF \
	--max-allowed-packet=1G --skip-slave-start --event-scheduler=OFF &
server=$!
trap 'kill "$server" 2>/dev/null || :' EXIT
until mariadb --no-defaults --socket="$run/s" --user=mysql --execute='SELECT 1' >/dev/null 2>&1; do
	kill -0 "$server" || fail 'the server that is to replay the logs has ended'
	sleep 1
done
{
	TZ=UTC mariadb-binlog --no-defaults --start-position="$position" ${until:+--stop-datetime="$until"} "$@" || echo >"$run/failed"
} | mariadb --no-defaults --socket="$run/s" --user=mysql --binary-mode --max-allowed-packet=1G || fail 'the logs were replayed in part: the folder is of no use'
[ ! -e "$run/failed" ] || fail 'the logs were read in part: the folder is of no use'
mariadb-admin --no-defaults --socket="$run/s" --user=mysql shutdown
wait "$server"
trap - EXIT
echo 'done'
