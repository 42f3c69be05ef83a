# The clock.
# shellcheck shell=sh disable=SC2154

packages chrony
if [ -e "$stage/etc/chrony/chrony.conf" ]; then
	chronyd -p -f "$stage/etc/chrony/chrony.conf" >/dev/null || fail "chronyd does not accept the configuration" "its words are above"
fi
place
service chrony.service restart
