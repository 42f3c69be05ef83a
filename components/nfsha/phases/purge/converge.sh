# What removed projects have left is deleted, by the host that serves.
if [ "$(findmnt -no FSTYPE --mountpoint "$root")" != xfs ]; then
	say "not served here"
	return 0
fi
for name in $names; do
	if cibadmin --query --xpath "//primitive[@id='$cluster-project-$name']" >/dev/null 2>&1; then
		fail "$name is still a project" "take it out of projects first"
	fi
	[ -d "$root/$name" ] || continue
	number=$(xfs_io -r -c lsproj "$root/$name" | sed 's/.*= //')
	say "deleting $root/$name ($(du -sm "$root/$name" | cut -f1) MiB)"
	rm -rf --one-file-system "${root:?}/$name" || fail "$root/$name was not deleted" "its words are above"
	[ "${number:-0}" = 0 ] || xfs_quota -x -c "limit -p bhard=0 $number" "$root" || :
done
