#!/bin/sh
# shellcheck shell=sh disable=SC2154
# What is wrong with this host as a node of the cluster, all of it, before
# anything is changed on any host.
findings=0
finding() {
	say "finding: $1; $2"
	findings=$((findings + 1))
}

have=$(awk '/^MemTotal:/ {print int($2 / 1024)}' /proc/meminfo)
[ "$have" -ge "$memory" ] || finding "it has $have MiB of memory" "give it $memory MiB"
[ "$(wc -l </proc/swaps)" -le 1 ] || finding "it swaps to $(awk 'NR > 1 {print $1}' /proc/swaps | paste -sd' ' -)" "name its role in base.kernel.swapOff: a kubelet does not start beside swap"
# A drop-in of the host's owner may say otherwise, on his own account.
[ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || grep -qsx 'failCgroupV1: false' /etc/kubernetes/kubelet.conf.d/*.conf ||
	finding "it has no cgroup v2" "boot without systemd.unified_cgroup_hierarchy=0"
if [ -e /etc/kubernetes/pki/ca.crt ] && ! printf '%s\n' "$(cat "$work/secrets/ca")" | cmp -s - /etc/kubernetes/pki/ca.crt; then
	finding "it belongs to another cluster, /etc/kubernetes/pki/ca.crt says" "take it out of that one (kubeadm reset), or out of this list"
fi
# Another version is an upgrade, which goes by an order of its own.
if [ -e /etc/kubernetes/kubelet.conf ] && runs=$(/usr/local/bin/kubelet --version 2>/dev/null); then
	case ${runs##* } in
	"$version" | "$from") ;;
	*) finding "it runs Kubernetes ${runs##* }, not $version" "set upgrade.from to the version that all nodes run" ;;
	esac
elif [ "$from" != - ] && [ "$role" = control-plane ]; then
	finding "it is no control plane yet" "add it before the upgrade from $from, or after it"
fi
case $(hostname) in
"$host") ;;
*) finding "it calls itself $(hostname)" "set its name to $host: nodes are known by it" ;;
esac
# The list that the kubelet gives to CoreDNS. One that leads back to this host
# would lead CoreDNS to itself.
names=/run/systemd/resolve/resolv.conf
[ -s "$names" ] || names=/etc/resolv.conf
awk '$1 == "nameserver" && $2 !~ /^127\./ && $2 != "::1" {found = 1} END {exit !found}' "$names" ||
	finding "$names names no server but this host" "have edge.dns, or give it name servers: pods ask them for all that is not in the cluster"

# curl may not be there yet; apt has a way of its own to fetch a file.
set -- -o Acquire::Retries=2 -o Acquire::http::Timeout=10 -o Acquire::https::Timeout=10
[ ! -s "$work/secrets/bundle-ca" ] || set -- "$@" -o "Acquire::https::CAInfo=$work/secrets/bundle-ca"
if /usr/lib/apt/apt-helper "$@" download-file "$bundle/SHA256SUMS" "$work/sums" >"$work/fetch" 2>&1; then
	if [ "$sums" != - ] && ! printf '%s  %s\n' "$sums" "$work/sums" | sha256sum -c --status; then
		finding "the bundle at $bundle is not the one that the configuration names" "correct bundle.sums, or the bundle"
	fi
	lacks=
	for path in $needs; do grep -q "  $path\$" "$work/sums" || lacks="$lacks $path"; done
	[ -z "$lacks" ] || finding "the bundle at $bundle lacks:$lacks" "make it anew with make bundle, for this version"
else
	finding "no bundle answers at $bundle: $(grep -m1 '^E:' "$work/fetch" || tail -n 1 "$work/fetch")" "start its server, or correct its address"
fi
[ $findings = 0 ] || fail "$findings findings, nothing was changed" "they are above"
