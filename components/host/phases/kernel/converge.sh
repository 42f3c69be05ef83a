# Modules, parameters, limits and swap.
# shellcheck shell=sh disable=SC2154

for module in $modules; do
	[ -d "/sys/module/$(printf '%s' "$module" | tr - _)" ] || modprobe "$module" ||
		grep -qs "/$module.ko" "/lib/modules/$(uname -r)/modules.builtin" ||
		fail "the kernel has no module $module" "take it out of kernel.modules, or install a kernel that has it: this is $(uname -r)"
done

place
conf=/etc/sysctl.d/90-halinux.conf
# A parameter that is no longer declared becomes what it was.
while IFS= read -r line; do
	[ -n "$line" ] || continue
	! sed 's/ = .*//' "$stage$conf" 2>/dev/null | grep -qxF "${line%% = *}" || continue
	sysctl -qw "${line%% = *}=${line#* = }" || say "${line%% = *} cannot be set back to ${line#* = }"
	grep -vxF "$line" "$here/sysctl" >"$work/sysctl" || :
	cp "$work/sysctl" "$here/sysctl"
done <<END
$(cat "$here/sysctl" 2>/dev/null)
END
if [ -e "$stage$conf" ]; then
	touch "$here/sysctl"
	grep -v '^#' "$conf" | while IFS= read -r line; do
		name=${line%% = *} value=${line#* = }
		now=$(sysctl -n "$name" 2>/dev/null) || fail "there is no kernel parameter $name" "is its name right, and the module that brings it loaded?"
		[ "$(printf '%s' "$now" | tr -s '\t ' ' ')" != "$value" ] || continue
		sed 's/ = .*//' "$here/sysctl" | grep -qxF "$name" || printf '%s = %s\n' "$name" "$now" >>"$here/sysctl"
		sysctl -qw "$name=$value" ||
			fail "the kernel does not take $name = $value" "is the value right, and may this host set it? (a container may not set everything)"
		now=$(sysctl -n "$name" | tr -s '\t ' ' ')
		[ "$now" = "$value" ] || fail "$name is $now after being set to $value" "write the value as the kernel shows it"
		say "$name = $value"
	done
fi

if [ "$swap_off" = yes ]; then
	if [ "$(wc -l </proc/swaps)" -gt 1 ]; then
		! systemd-detect-virt -cq || fail "swap is on, and it is not this container's to turn off" "turn it off on the machine below"
		swapoff -a || fail "swapoff did not succeed" "is there memory enough for what is swapped out?"
		say "swap: off"
	fi
	systemctl list-units --type=swap --all --plain --no-legend | awk '{print $1}' | while IFS= read -r unit; do
		grep -qxF "$unit" "$here/swap" 2>/dev/null || printf '%s\n' "$unit" >>"$here/swap"
		systemctl mask -q "$unit"
	done
fi
