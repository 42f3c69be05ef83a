#!/bin/sh
# Whether this host has the primary replica: corosync's heuristic for the third
# vote, and a condition of units.
grep -q ' ro:Primary/' /proc/drbd
