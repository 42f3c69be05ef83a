#!/bin/sh
# Copies all data of one node, whose folder and address these are, and forgets the
# oldest copies. A copy that has no name ending in .part is whole.
set -eu
umask 077
: "${BACKUP_HOST:?}" "${BACKUP_KEEP:?}"
rm -rf /backup/*.part
name=$(date -u +%Y%m%dT%H%M%SZ)
mkdir "/backup/$name.part"
mariadb-backup --defaults-file=/etc/galera-backup/backup.cnf --backup --galera-info \
	--host="$BACKUP_HOST" --datadir=/var/lib/mysql --target-dir="/backup/$name.part"
mariadb-backup --prepare --target-dir="/backup/$name.part"
sync "/backup/$name.part"
mv "/backup/$name.part" "/backup/$name"
find /backup -mindepth 1 -maxdepth 1 -type d -name '????????T??????Z' | sort -r | tail -n "+$((BACKUP_KEEP + 1))" |
	while IFS= read -r old; do rm -rf "$old"; done
