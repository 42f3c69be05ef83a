package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// gather prints everything about a host that helps to understand a failure,
// but no private key and no password of a fence agent.
const gather = `
part() { printf '\n==== %s\n' "$*"; timeout 10 "$@" 2>&1 || echo "(exit $?)"; }
part uptime
part systemctl --failed --no-pager
part ip -br address
part ip route show table all
part ip neigh
part ss -tulpn
part nft list ruleset
part cat /proc/net/bonding/*
part ps -eo pid,ppid,stat,etimes,args
for c in 'show bgp summary' 'show bfd peers' 'show ip route' 'show running-config'; do
	! command -v vtysh >/dev/null || part vtysh -c "$c"
done
for s in /run/haproxy/*.sock; do
	[ ! -S "$s" ] || part python3 -c '
import socket, sys
for command in ("show info", "show stat", "show servers state"):
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall((command + "\n").encode())
    while True:
        data = s.recv(65536)
        if not data: break
        sys.stdout.write(data.decode(errors="replace"))
' "$s"
done
[ ! -e /proc/drbd ] || part cat /proc/drbd
[ ! -e /proc/mdstat ] || part cat /proc/mdstat
[ ! -e /proc/fs/nfsd/threads ] || part sh -c 'grep . /proc/fs/nfsd/threads /proc/fs/nfsd/nfsv4*time /proc/fs/nfsd/clients/*/info'
! command -v dmsetup >/dev/null || part dmsetup table
if command -v crm_mon >/dev/null; then
	part crm_mon --one-shot --inactive --show-detail --failcounts
	part corosync-quorumtool -s
	part corosync-cfgtool -s
	part cibadmin --query --scope constraints
fi
part grep -s ' nfs4 ' /proc/mounts
if [ -e /etc/kubernetes/admin.conf ]; then
	for what in 'nodes -o wide' 'pods -A -o wide' 'events -A --sort-by .lastTimestamp'; do
		part kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout 5s get $what
	done
fi
! command -v ctr >/dev/null || part ctr -n k8s.io containers ls
part journalctl --no-pager -o short-precise -n 1500
for f in $(find /etc/haproxy /etc/keepalived /etc/nginx /etc/bind /etc/frr /etc/systemd/network /etc/corosync /etc/nfs.conf.d /etc/halinux /var/log/halinux -type f ! -name '*key*' ! -name '*.pem' ! -name fencing.xml -size -200k 2>/dev/null); do
	grep -qs 'PRIVATE KEY' "$f" || part tail -n 400 "$f"
done
`

// Bundle keeps what is known of every host, for who looks into a failure.
func (b *Bed) Bundle(t testing.TB) {
	parent := os.Getenv("HALINUX_BUNDLES")
	if parent == "" {
		parent = filepath.Join(os.TempDir(), "halinux-bundles")
	}
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("/ #:", r) {
			return '-'
		}
		return r
	}, t.Name())
	dir := filepath.Join(parent, name+"-"+time.Now().UTC().Format("20060102T150405"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Logf("no bundle: %v", err)
		return
	}
	var wg sync.WaitGroup
	for host, address := range b.hosts {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			text, err := b.ssh.run(ctx, address, gather, nil)
			if err != nil {
				text += fmt.Sprintf("\n==== %v\n", err)
			}
			if err := os.WriteFile(filepath.Join(dir, host+".txt"), []byte(text), 0o600); err != nil {
				t.Logf("bundle of %s: %v", host, err)
			}
		})
	}
	wg.Wait()
	t.Logf("what is known of every host is in %s", dir)
}
