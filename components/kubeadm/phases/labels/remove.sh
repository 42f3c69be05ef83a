#!/bin/sh
# shellcheck shell=sh disable=SC2154
# Where the node leaves, its labels leave with it.
/usr/local/lib/halinux/node-labels "$host" || :
