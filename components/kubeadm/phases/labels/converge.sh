#!/bin/sh
# shellcheck shell=sh disable=SC2154,SC2086
place
set_() { /usr/local/lib/halinux/node-labels "$host" $labels; }
wait_for 60 "the node has its labels" set_ || { set_ || :; fail "the labels of $host could not be set" "the API server's words are above"; }
