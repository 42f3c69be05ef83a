#!/bin/sh
# edge-serving ADDRESS [RIVAL:PORT...]: a request through what serves on this
# edge; whatever is not an answer of 200 in time is a failure. It fails only
# where a rival does better: when all edges are slow, as under overload, giving
# the VIPs up would leave them to nobody. (A proxy that has ended is not asked
# about here: its track file says so.)
set -eu
ask() {
	case $(printf 'GET %s HTTP/1.0\r\n\r\n' "$2" | socat -t 0.2 - "$1,shut-none" 2>/dev/null) in
	'HTTP/1.'?' 200 '*) return 0 ;;
	esac
	return 1
}
target=$1
shift
! ask "$target" /healthz || exit 0
for rival; do
	! ask "TCP4:$rival,connect-timeout=0.2" /backends || exit 1
done
exit 0
