#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
# What is stored stays; an empty directory goes.
for path in $paths; do
	rmdir "$path" 2>/dev/null || :
done
