#!/bin/sh
# drbd-split-brain: DRBD's split-brain handler. Both hosts have written without
# the other. Nothing is decided here; a file says so until it has been repaired.
set -eu
resource=${DRBD_RESOURCE:?}
mkdir -p /var/lib/halinux/split-brain
date -u +%FT%TZ >"/var/lib/halinux/split-brain/$resource"
logger -s -t drbd-split-brain -p daemon.crit "$resource: both hosts have data that the other lacks; replication has stopped. Decide whose changes go: see docs/storage.md, split brain"
