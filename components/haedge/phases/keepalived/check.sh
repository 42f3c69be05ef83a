getent passwd keepalived_script >/dev/null || differs "user keepalived_script is missing"
while read -r vip; do
	[ -z "$vip" ] || differs "the VIP $vip is held by another edge too"
done </run/halinux/held-twice 2>/dev/null || :
