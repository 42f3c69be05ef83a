# Fences the other host for real, and waits until it is back. Only as long as
# nothing is served: after that, a test would be an outage.
if cibadmin --query --xpath "//clone[@id='$resource-drbd']" >/dev/null 2>&1; then
	say "the cluster serves already: $peer is not fenced for a test"
	return 0
fi
boot_of() { attrd_updater --name halinux-boot-id --query --node "$peer" 2>/dev/null | sed -n 's/.*value="\([^"]*\)".*/\1/p'; }
told() { [ -n "$(boot_of)" ]; }
wait_for 60 "$peer has said which boot it is" told || fail "$peer has not said which boot it is" "see journalctl -u halinux-boot-id on $peer"
before=$(boot_of)
say "fencing $peer"
stonith_admin --reboot "$peer" --tolerance 0s --timeout "$fence_seconds" ||
	fail "$peer could not be fenced" "nothing has been placed on it yet; see stonith_admin --history $peer, and the fencing in the configuration"
back() { after=$(boot_of); [ -n "$after" ] && [ "$after" != "$before" ]; }
wait_for 600 "$peer has been fenced and is back" back ||
	fail "$peer was fenced and is not back after 10 minutes" "see its console: a host has to boot and rejoin by itself"
