# The parameters as they were, and swap again. Modules stay loaded.
# shellcheck shell=sh disable=SC2154

[ ! -e "$here/sysctl" ] || while IFS= read -r line; do
	sysctl -qw "${line%% = *}=${line#* = }" || say "${line%% = *} cannot be set back to ${line#* = }"
done <"$here/sysctl"
[ ! -s "$here/swap" ] || { xargs systemctl unmask -q <"$here/swap"; swapon -a || :; }
