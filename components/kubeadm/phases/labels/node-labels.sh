#!/bin/sh
# node-labels NODE [KEY=VALUE]...: gives this node these labels, and takes away
# those that an earlier run gave it and that are not among them; the node's
# annotation halinux/labels says which those were. Any other label stays. It asks
# as the node itself, which may change its own labels but for those that the
# admission plugin NodeRestriction keeps for the cluster.
set -eu
node=$1
shift
k() { kubectl --kubeconfig /etc/kubernetes/kubelet.conf --request-timeout 15s "$@"; }
had=$(k get node "$node" -o jsonpath='{.metadata.annotations.halinux/labels}')
labels='' keys=''
for pair; do
	labels="$labels,\"${pair%%=*}\":\"${pair#*=}\""
	keys="$keys ${pair%%=*}"
done
keys=${keys# }
for key in $had; do
	case " $keys " in
	*" $key "*) ;;
	*) labels="$labels,\"$key\":null" ;;
	esac
done
note=null
[ -z "$keys" ] || note="\"$keys\""
k patch node "$node" --type merge -p "{\"metadata\":{\"labels\":{${labels#,}},\"annotations\":{\"halinux/labels\":$note}}}"
