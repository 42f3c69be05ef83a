# Package sources that came back, and packages that no longer fit the pins.
# shellcheck shell=sh disable=SC2154

while read -r name version; do
	have=$(dpkg-query -W -f '${db:Status-Status} ${Version}' "${name:-/}" 2>/dev/null) || continue
	# shellcheck disable=SC2254 # a pattern
	case $have in
	"installed "$version) ;;
	'installed '*) differs "package $name has the version ${have#* }, pinned to $version" ;;
	esac
done <<END
${pins:-}
END
if [ "$own_sources" = yes ]; then
	for item in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
		case $item in */halinux-*) continue ;; esac
		# unattended-upgrades makes an empty sources.list where there is none (python-apt).
		[ ! -s "$item" ] || differs "$item is a package source that was put aside"
	done
fi
