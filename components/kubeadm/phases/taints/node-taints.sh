#!/bin/sh
# node-taints FILE: gives nodes the taints that the lines of the file name (NODE
# KEY=VALUE:EFFECT), and takes away those that an earlier run gave them and that
# are not there any more; a node's annotation halinux/taints says which those were.
# Taints of anybody else stay. A control plane that is named has no other of its
# own; one that is named no longer has again what kubeadm gives control planes.
set -eu
file=$1
default='node-role.kubernetes.io/control-plane=:NoSchedule'
k() { kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout 15s "$@"; }
# Lines of: name, taints, those of an earlier run, labels
k get nodes -o jsonpath='{range .items[*]}{.metadata.name}|{range .spec.taints[*]}{.key}={.value}:{.effect} {end}|{.metadata.annotations.halinux/taints}|{.metadata.labels}{"\n"}{end}' |
	while IFS='|' read -r node is had labels; do
		want=$(awk -v node="$node" '$1 == node {print $2}' "$file" | tr '\n' ' ')
		want=${want% }
		[ -n "$want$had" ] || continue
		master=
		case $labels in *'"node-role.kubernetes.io/control-plane"'*) master=yes ;; esac
		gone=$had add=$want
		if [ -n "$master" ] && [ -n "$want" ]; then gone="$gone $default"; fi
		if [ -n "$master" ] && [ -z "$want" ]; then add=$default; fi
		set --
		for taint in $add; do
			case " $is " in *" $taint "*) ;; *) set -- "$@" "$taint" ;; esac
		done
		for taint in $gone; do
			case " $add " in *" $taint "*) continue ;; esac
			# Another value of the same key and effect takes its place.
			case " $add" in *" ${taint%%=*}="*":${taint##*:}"*) continue ;; esac
			case " $is " in *" $taint "*) set -- "$@" "${taint%%=*}:${taint##*:}-" ;; esac
		done
		[ $# = 0 ] || k taint node "$node" --overwrite "$@"
		[ "$want" = "$had" ] || k annotate node "$node" --overwrite "$([ -n "$want" ] && echo "halinux/taints=$want" || echo halinux/taints-)"
	done
cut -d' ' -f1 "$file" | sort -u | while read -r node; do
	k get node "$node" -o name >/dev/null || { echo "error: there is no node $node"; exit 1; }
done
