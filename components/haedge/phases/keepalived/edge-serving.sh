#!/bin/sh
# edge-serving ADDRESS: a request through what serves on this edge; whatever is
# not an answer of 200 in time is a failure.
set -eu
answer=$(printf 'GET /healthz HTTP/1.0\r\n\r\n' | socat -t 0.4 - "$1,shut-none" 2>/dev/null) || exit 1
case $answer in
'HTTP/1.'?' 200 '*) exit 0 ;;
esac
exit 1
