# Accounts and what sshd really does.
# shellcheck shell=sh disable=SC2154

while read -r name shell groups _; do
	[ -n "$name" ] || continue
	getent passwd "$name" >/dev/null || { differs "account $name is missing"; continue; }
	[ "$name" = root ] || [ "$(getent passwd "$name" | cut -d: -f7)" = "$shell" ] || differs "account $name has another shell than $shell"
	[ "$groups" = - ] || for group in $(printf '%s' "$groups" | tr , ' '); do
		id -nG "$name" | tr ' ' '\n' | grep -qxF "$group" || differs "account $name is not in the group $group"
	done
	case $(getent shadow "$name" | cut -d: -f2) in
	'*' | '!'*) ;;
	*) differs "account $name has a password" ;;
	esac
done <<END
$users
END
if [ "$harden" = yes ]; then
	mkdir -p /run/sshd
	sshd -T 2>/dev/null | grep -qx 'passwordauthentication no' || differs "sshd accepts passwords"
fi
