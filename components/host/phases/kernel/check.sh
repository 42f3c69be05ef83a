# Parameters, modules and swap as they are now.
# shellcheck shell=sh disable=SC2154

for module in $modules; do
	[ -d "/sys/module/$(printf '%s' "$module" | tr - _)" ] || grep -qs "/$module.ko" "/lib/modules/$(uname -r)/modules.builtin" ||
		differs "module $module is not loaded"
done
conf=/etc/sysctl.d/90-halinux.conf
[ ! -e "$here/sysctl" ] || grep -v '^#' "$conf" 2>/dev/null | while IFS= read -r line; do
	now=$(sysctl -n "${line%% = *}" 2>/dev/null | tr -s '\t ' ' ')
	[ "$now" = "${line#* = }" ] || differs "${line%% = *} is $now, not ${line#* = }"
done
[ "$swap_off" = no ] || [ "$(wc -l </proc/swaps)" -le 1 ] || differs "swap is on"
