#!/bin/sh
# shellcheck shell=sh disable=SC2154
# What was upgraded stays so.
rm -rf /usr/local/lib/halinux/next /etc/kubernetes/halinux/upgrade
