#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
for item in $programs; do
	[ -x "${item#*=}" ] || differs "${item#*=} is missing"
done
[ -n "$(ip route show "$services" dev lo)" ] || differs "no way leads to $services"
