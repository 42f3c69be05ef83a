#!/bin/sh
# shellcheck shell=sh disable=SC2154
# The snapshots stay: whoever removes a cluster by mistake needs them.
no_service halinux-etcd-snapshot.timer
rm -f /var/lib/prometheus/node-exporter/halinux_etcd.prom
