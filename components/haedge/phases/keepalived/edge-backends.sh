#!/bin/sh
# edge-backends ADDRESS:PORT...: fails when another edge has a backend alive
# for more sites and services than this one. Where all edges see the same,
# moving a VIP would help nobody. An edge that sees no backend at all, and none
# of the other edges either, is taken to be the one that is cut off.
set -eu
without() {
	printf 'GET /backends HTTP/1.0\r\n\r\n' | socat -t 0.5 - "$1,shut-none" 2>/dev/null | awk '
		body { for (i = 1; i <= NF; i++) { all++; if ($i == 0) none++ } }
		/^\r?$/ { body = 1 }
		END { if (!body) exit 1; print none + 0, all + 0 }'
}
counts=$(without UNIX-CONNECT:/run/haproxy/health.sock) || exit 0
here=${counts% *} all=${counts#* }
[ "$here" != 0 ] && [ $# -gt 0 ] || exit 0
heard=no
for peer; do
	there=$(without "TCP4:$peer,connect-timeout=0.5") || continue
	heard=yes
	[ "$here" -le "${there% *}" ] || exit 1
done
[ $heard = yes ] || [ "$here" -lt "$all" ]
