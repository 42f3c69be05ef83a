# Package sources that came back, and packages that no longer fit the pins.
# shellcheck shell=sh disable=SC2154

if [ "$own_sources" = yes ]; then
	for item in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
		case $item in */halinux-*) continue ;; esac
		[ ! -e "$item" ] || differs "$item is a package source that was put aside"
	done
fi
