#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
for item in $programs; do
	[ -x "${item#*=}" ] || differs "${item#*=} is missing"
done
while IFS=' =' read -r name value; do
	case $name in net.*)
		is=$(sysctl -n "$name" 2>/dev/null) || is=none
		[ "$is" = "$value" ] || differs "$name is $is, not $value" ;;
	esac
done </etc/sysctl.d/80-halinux-kubernetes.conf
