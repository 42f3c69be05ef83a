# Who provisions volumes comes in as a user of its own, whose keys can run one
# program.
packages sudo xfsprogs
if ! id halinux-volumes >/dev/null 2>&1; then
	useradd --system --user-group --home-dir /var/lib/halinux-volumes --no-create-home --shell /bin/sh halinux-volumes
	# No password, and yet not locked.
	usermod -p '*' halinux-volumes
fi
place
visudo -c -q -f /etc/sudoers.d/halinux-volumes || fail "sudo refuses /etc/sudoers.d/halinux-volumes" "its words are above"
