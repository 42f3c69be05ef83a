#!/bin/sh
# shellcheck shell=sh disable=SC2154
why=$(/usr/local/lib/halinux/encryption-keys written "$address" "$key") || differs "$why"
