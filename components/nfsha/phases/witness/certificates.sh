#!/bin/sh
# certificates DIRECTORY OWNER NICKNAME: makes the certificate database (NSS) of
# corosync-qnetd or corosync-qdevice out of /etc/corosync/halinux. Both programs
# know their certificates by these nicknames, and keys without a password.
set -eu
directory=$1 owner=$2 nickname=$3
source=/etc/corosync/halinux
new=$directory.new
rm -rf "$new"
mkdir -p "$new"
chmod 770 "$new"
certutil -N -d "$new" --empty-password
certutil -A -d "$new" -n 'QNet CA' -t CT,c,c -i "$source/ca.pem"
openssl pkcs12 -export -in "$source/own.pem" -name "$nickname" -passout pass: -out "$new/own.p12"
pk12util -d "$new" -i "$new/own.p12" -W '' -K ''
rm -f "$new/own.p12"
chown -R "$owner" "$new"
rm -rf "$directory"
mv -T "$new" "$directory"
