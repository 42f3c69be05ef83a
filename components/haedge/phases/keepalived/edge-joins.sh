#!/bin/sh
# edge-joins INTERFACE VIP,... PEER,... INSTANCE NAME STATE PRIORITY: told by
# Keepalived of each new state of the public VIPs here. An edge that joins gets
# a share of the connections that clients have made with the other edges, for
# the provider's choice of an edge changes with their number. For a minute it
# passes packets of connections that it does not know to the other edges, where
# one has them, instead of resetting what is in flight. A packet is passed on
# once, and carries a mark then: a DSCP that RFC 2474 keeps for local use. An
# edge that does not know a marked packet either resets its connection where
# there are two edges; of several, one may know it, so the others keep silent.
set -eu
interface=$1 vips=$2 peers=$3 state=$6 mark=47
systemctl stop halinux-joined.timer 2>/dev/null || :
copies=$(printf '%s\n' "$peers" | tr , '\n' | sed "s/.*/dup to & device $interface/" | tr '\n' ' ')
case $peers in *,*) unknown=drop ;; *) unknown=accept ;; esac
# In place before the VIPs are: what comes first must not be reset either.
nft -f - <<EOF
table ip halinux_join
delete table ip halinux_join
table ip halinux_join {
	chain joining {
		ip dscp set $mark $copies drop
	}
	chain prerouting {
		type filter hook prerouting priority mangle
		ip daddr { $vips } tcp flags & (syn | rst) == 0 ct state { new, invalid } ip dscp $mark $unknown
		ip daddr { $vips } tcp flags & (syn | rst) == 0 ct state { new, invalid } jump joining
	}
}
EOF
[ "$state" != MASTER ] || systemd-run -q --collect --unit=halinux-joined --on-active=60 nft flush chain ip halinux_join joining
