# No packet filter, as before. Other tables stay.
# shellcheck shell=sh

no_service halinux-firewall.service
! command -v nft >/dev/null || nft delete table inet halinux 2>/dev/null || :
