# Accounts, their keys, sudo, and sshd; never at the price of the way in.
# shellcheck shell=sh disable=SC2154

# The account that the controller came in by, and its key as sshd noted it.
me=${SUDO_USER:-root}
sshd_log() { journalctl -q --no-pager -o cat -t sshd -t sshd-session --since -2h | grep -F "port $(printf '%s' "$connection" | cut -d' ' -f2) ssh2"; }
fingerprint=$(sshd_log | sed -n 's/^Accepted publickey for .*\(SHA256:[^ ]*\).*/\1/p' | tail -n 1)

keys=$stage$(getent passwd "$me" | cut -d: -f6)/.ssh/authorized_keys
if [ -e "$keys" ]; then
	if [ -n "$fingerprint" ]; then
		ssh-keygen -lf "$keys" | grep -qF " $fingerprint " ||
			fail "the keys of $me lack the one that this run came in with ($fingerprint)" "add it, or come in as another user"
	else
		old=${keys#"$stage"}
		[ ! -s "$old" ] || grep -qxF -f "$old" "$keys" ||
			fail "the keys of $me would all be replaced, and sshd's log does not tell which one this run came in with" "keep one of the present keys"
	fi
fi

[ ! -e "$stage/etc/sudoers.d/90-halinux" ] || visudo -cqf "$stage/etc/sudoers.d/90-halinux" ||
	fail "visudo does not accept the file for sudo" "its words are above"

if [ "$harden" = yes ]; then
	mkdir -p /run/sshd
	cat "$stage/etc/ssh/sshd_config.d/05-halinux.conf" /etc/ssh/sshd_config >"$work/sshd_config"
	sshd -t -f "$work/sshd_config" || fail "sshd does not accept the configuration" "its words are above"
	effective=$(sshd -T -f "$work/sshd_config" -C "user=$me,host=client,addr=$(printf '%s' "${connection:-127.0.0.1}" | cut -d' ' -f1)")
	if [ "$me" = root ] && printf '%s\n' "$effective" | grep -qx 'permitrootlogin no'; then
		fail "sshd would no longer let in root, as who this run came" "come in as another user first"
	fi
	if printf '%s\n' "$effective" | grep -q '^allowusers ' && ! printf '%s\n' "$effective" | grep -qxF "allowusers $me"; then
		fail "sshd would no longer let in $me, as who this run came" "add it to allowUsers"
	fi
fi

touch "$here/created"
while read -r name shell groups home; do
	[ -n "$name" ] || continue
	if ! getent passwd "$name" >/dev/null; then
		printf '%s\n' "$name" >>"$here/created"
		say "$name: new account"
		if getent group "$name" >/dev/null; then useradd -g "$name" -m -d "$home" -s "$shell" "$name"; else useradd -U -m -d "$home" -s "$shell" "$name"; fi
		# A home that an account of the same name left behind may have another number.
		[ "$(stat -c %U "$home")" = "$name" ] || chown -R "$name:$name" "$home"
	fi
	[ "$(getent passwd "$name" | cut -d: -f7)" = "$shell" ] || [ "$name" = root ] || usermod -s "$shell" "$name"
	[ "$groups" = - ] || for group in $(printf '%s' "$groups" | tr , ' '); do
		getent group "$group" >/dev/null || fail "$name: there is no group $group" "create it, or correct its name"
		id -nG "$name" | tr ' ' '\n' | grep -qxF "$group" || gpasswd -a "$name" "$group"
	done
	case $(getent shadow "$name" | cut -d: -f2) in
	'*' | '!*') ;;
	*) usermod -p '*' "$name" && say "$name: password locked" ;;
	esac
	[ -d "$home/.ssh" ] || install -d -m 700 -o "$name" -g "$name" "$home/.ssh"
done <<END
$users
END

# Accounts that halinux made and that are no longer declared.
while read -r name; do
	if ! printf '%s\n' "$users" | grep -q "^$name "; then
		[ "$name" != "$me" ] || fail "the account $name, as who this run came, would be deleted" "come in as another user first"
		! getent passwd "$name" >/dev/null || { say "$name: account deleted"; loginctl terminate-user "$name" 2>/dev/null || :; userdel -f "$name"; }
		sed -i "/^$name\$/d" "$here/created"
	fi
done <<END
$(cat "$here/created")
END

place
[ "$harden" = no ] || ! changed /etc/ssh/sshd_config.d/05-halinux.conf || { say "ssh: reload"; systemctl reload ssh; }
