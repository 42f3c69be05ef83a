# The host's own package sources again.
# shellcheck shell=sh disable=SC2154

[ ! -d "$here/aside" ] || (cd "$here/aside" && find . -type f -exec cp -a --parents {} / \;)
