#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
for item in $programs; do
	[ -x "${item#*=}" ] || differs "${item#*=} is missing"
done
[ -n "$(ip route show "$services" dev lo)" ] || differs "no way leads to $services"
systemctl is-enabled -q kubelet.service 2>/dev/null || differs "kubelet.service is not enabled"
systemctl is-active -q kubelet.service || differs "kubelet.service is not running"
