#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
for path in $paths; do
	[ -d "$path" ] || differs "the directory $path of a local volume is missing"
done
