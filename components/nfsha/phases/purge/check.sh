if [ "$(findmnt -no FSTYPE --mountpoint "$root")" = xfs ]; then
	for name in $names; do
		[ ! -d "$root/$name" ] || differs "what the removed project $name has left is still there"
	done
fi
