#!/bin/sh
# Keeps copies of one node, whose folder and address these are:
#
#   backup.sh full    copies all data, and forgets the oldest copies
#   backup.sh logs    copies the binary logs that have been written since
#
# A copy is /backup/TIME, of when it was whole; what ends in .part is none. The logs
# are in /backup/logs/TIME, in a row without gaps from the copy of that time on: one
# row is of one life of the node's volume, and a new one has to begin with a copy.
set -eu
umask 077
: "${BACKUP_HOST:?}" "${BACKUP_KEEP:?}"
data=/var/lib/mysql
time='[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]T[0-9][0-9][0-9][0-9][0-9][0-9]Z'

# folders lists the names of whole folders in one, the oldest first.
folders() { find "$1" -mindepth 1 -maxdepth 1 -type d -name "$time" | sed 's,.*/,,' | sort; }

# first_log is the log in which a copy ends, or nothing where the node writes none.
first_log() { [ ! -e "$1/mariadb_backup_binlog_info" ] || awk 'NR == 1 { print $1 }' "$1/mariadb_backup_binlog_info"; }

# finished lists the logs of the node that are written to no more.
finished() { sed -e 's,.*/,,' -e '$d' "$data/binlog.index"; }

# goes_on says whether the node's logs go on where the copies in the newest row end.
goes_on() {
	row=$(folders /backup/logs | tail -n 1)
	copy=$(folders /backup | tail -n 1)
	[ -n "$row" ] && [ -n "$copy" ] && [ "$(printf '%s\n' "$row" "$copy" | sort | tail -n 1)" = "$copy" ] || return 1
	last=$(find "/backup/logs/$row" -name 'binlog.*[0-9]' | sed 's,.*/,,' | sort | tail -n 1)
	[ -n "$last" ] && [ -e "$data/$last" ] && [ "$(cksum <"/backup/logs/$row/$last")" = "$(cksum <"$data/$last")" ]
}

# take copies the logs of the standard input to a folder, with the times until which
# they were written to.
take() {
	while IFS= read -r log; do
		cp -p "$data/$log" "$1/$log.part"
		sync "$1/$log.part"
		mv "$1/$log.part" "$1/$log"
	done
}

# Not replicated: each node has logs of its own.
flush() {
	mariadb --defaults-file=/etc/galera-backup/backup.cnf --host="$BACKUP_HOST" --execute='FLUSH LOCAL BINARY LOGS'
}

full() {
	rm -rf /backup/*.part /backup/logs/*.part
	new=/backup/new.part
	mkdir "$new"
	mariadb-backup --defaults-file=/etc/galera-backup/backup.cnf --backup --galera-info \
		--host="$BACKUP_HOST" --datadir="$data" --target-dir="$new"
	name=$(date -u +%Y%m%dT%H%M%SZ)
	mariadb-backup --prepare --target-dir="$new"
	first=$(first_log "$new")
	if [ -n "$first" ] && ! goes_on; then
		mkdir "/backup/logs/$name.part"
		flush
		finished | awk -v first="$first" '$0 >= first' | take "/backup/logs/$name.part"
		[ -e "/backup/logs/$name.part/$first" ]
		mv "/backup/logs/$name.part" "/backup/logs/$name"
	fi
	sync "$new"
	mv "$new" "/backup/$name"
}

# forget removes the oldest copies, and the logs that only they need.
forget() {
	folders /backup | sort -r | tail -n "+$((BACKUP_KEEP + 1))" | while IFS= read -r old; do rm -rf "/backup/$old"; done
	oldest=$(folders /backup | head -n 1)
	row=$(folders /backup/logs | awk -v copy="$oldest" '$0 <= copy' | tail -n 1)
	[ -n "$row" ] || return 0
	folders /backup/logs | awk -v row="$row" '$0 < row' | while IFS= read -r old; do rm -rf "/backup/logs/$old"; done
	find "/backup/logs/$row" -name 'binlog.*[0-9]' | sed 's,.*/,,' | awk -v first="$(first_log "/backup/$oldest")" '$0 < first' |
		while IFS= read -r old; do rm "/backup/logs/$row/$old"; done
}

mkdir -p /backup/logs
exec 9>/backup/.lock
case ${1-} in
full)
	flock 9
	full
	forget
	;;
logs)
	if ! flock -n 9; then
		echo 'a copy is being made, the logs come after it'
		exit 0
	fi
	if goes_on; then
		flush
		finished | awk -v last="$last" '$0 > last' | take "/backup/logs/$row"
	elif [ -n "$(find /backup -mindepth 1 -maxdepth 1 -type d -name "$time" -mmin -60)" ]; then
		echo "the node's logs do not go on where the copies end, and a copy of all data is not an hour old: see why, or start a backup" >&2
		exit 1
	else
		echo "the node's logs do not go on where the copies end: copying all data"
		full
	fi
	;;
*)
	echo 'usage: backup.sh full | logs' >&2
	exit 2
	;;
esac
