# Package sources, pins, base packages and unattended security updates.
# shellcheck shell=sh disable=SC2154

apt-get indextargets -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$stage/etc/apt/sources.list.d" >/dev/null ||
	fail "apt does not accept the package sources" "its words are above"
[ ! -e "$stage/etc/apt/preferences.d/halinux" ] || apt-cache policy -o Dir::Etc::preferences="$stage/etc/apt/preferences.d/halinux" >/dev/null ||
	fail "apt does not accept the pins" "its words are above"
[ ! -e "$stage/etc/apt/apt.conf.d/52halinux-updates" ] || apt-config -c "$stage/etc/apt/apt.conf.d/52halinux-updates" dump >/dev/null ||
	fail "apt does not accept the settings for updates" "its words are above"

# The given sources replace all others, which wait for remove.sh in $here/aside.
if [ "$own_sources" = yes ]; then
	for item in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
		case $item in */halinux-*) continue ;; esac
		[ -s "$item" ] || continue
		mkdir -p "$here/aside$(dirname "$item")"
		say "$item: put aside"
		mv -f "$item" "$here/aside$item"
	done
fi
place
# The lists are fetched although nothing may have to be installed: a source that
# does not answer, or is signed by another key, shows now.
changed_sources=$(grep -E '^/etc/apt/(sources|keyrings|preferences)' "$here/pending" 2>/dev/null || :)
[ -z "$changed_sources" ] || apt_get update
# To apt a pin is a wish: what no source has is ignored, and what is installed stays.
while read -r name version; do
	candidate=$(apt-cache policy "${name:-/}" | sed -n 's/^  Candidate: //p')
	case $candidate in '' | '(none)') continue ;; esac
	# shellcheck disable=SC2254 # a pattern
	case $candidate in
	$version) ;;
	*) fail "no package source has $name in the version $version, only in $candidate" "correct the pin, or add a source" ;;
	esac
	[ -z "$(missing "$name=$candidate")" ] || [ -n "$(missing "$name")" ] || {
		say "$name: to the version $candidate"
		apt_get install -y --no-install-recommends --allow-downgrades "$name=$candidate"
	}
done <<END
${pins:-}
END
# shellcheck disable=SC2086 # a list of words
packages $install
if [ "$updates" = yes ]; then
	service apt-daily.timer start
	service apt-daily-upgrade.timer
	# Keeps a shutdown waiting while packages are being replaced.
	service unattended-upgrades.service start
fi
