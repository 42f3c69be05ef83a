package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/halinux/halinux/tests/report"
	"github.com/halinux/halinux/tests/sshkey"
)

// volumesUser comes in for the provisioner.
const volumesUser = "halinux-volumes"

// projectsChange adds a project, grows and removes it, and has volumes made on
// demand, while clients write to another project: none of it may disturb them.
func projectsChange(t *testing.T, s *store) {
	const extra = "extra"
	key, err := sshkey.New()
	if err != nil {
		t.Fatal(err)
	}
	_, settings := s.settings(t)
	plain := settings[storageKey].(map[string]any)["projects"].([]any)
	with := func(quota int) Change {
		return Set(append(slices.Clone(plain), map[string]any{"name": extra, "quota": quota, "clients": []any{"lan"}, "mode": "0777"}), storageKey, "projects")
	}
	provisioner := Set(map[string]any{"project": s.project, "keys": []any{key.Authorized()}}, storageKey, "provisioner")
	dir, folder := "/srv/"+s.name+"/"+extra, "/mnt/"+extra
	client := s.clients[1]
	size := func() string {
		return strings.TrimSpace(s.On(t, client, "df -m --output=size "+folder+" | tail -n 1"))
	}
	defer func() { _, _ = s.try(client, "umount -l "+folder) }()
	up := func(changes ...Change) { s.Up(t, append(changes, s.sized(t, 0)...)...) }

	s.staying(t, 5, func(_ *work, primary string) {
		up(with(50), provisioner)
		s.On(t, client, fmt.Sprintf("mkdir -p %[1]s; timeout 50 mount -t nfs4 -o %[2]s %[3]s:%[4]s %[1]s; echo kept >%[1]s/kept; sync %[1]s/kept", folder, s.options, s.vip, dir))
		if got := size(); got != "50" {
			t.Errorf("the new project has %s MiB for the client, not 50", got)
		}
		s.volumes(t, key, primary)

		up(with(80), provisioner)
		if got := size(); got != "80" {
			t.Errorf("the project has %s MiB for the client after it grew, not 80", got)
		}
		s.On(t, client, "umount "+folder)

		up()
		if _, err := s.try(client, fmt.Sprintf("timeout 20 mount -t nfs4 -o %s,retry=0 %s:%s %s", s.options, s.vip, dir, folder)); err == nil {
			t.Error("a project that was removed can still be mounted")
		}
		if out := s.On(t, primary, "cat "+dir+"/kept"); out != "kept\n" {
			t.Errorf("its data was not kept: %q", out)
		}
		for _, h := range s.hosts {
			if out, err := s.ask(key, h, "list"); err == nil {
				t.Errorf("the provisioner that was removed is let in on %s: %s", h, out)
			}
		}

		up(Set([]any{extra}, storageKey, "purge"))
		s.On(t, primary, "[ ! -e "+dir+" ]")
		up()
	})
}

// volumeGrows makes the volume larger while clients write.
func volumeGrows(t *testing.T, s *store) {
	const more = 20 // MiB
	// What a host has of the volume: LVM's, DRBD's and the file system's part.
	parts := func(host string) (sizes [3]int) {
		out := s.On(t, host, "blockdev --getsize64 /dev/"+s.volume+" /dev/drbd0; df -B1 --output=size /srv/"+s.name+" | tail -n 1")
		for i, word := range strings.Fields(out) {
			bytes, err := strconv.Atoi(word)
			if err != nil || i > 2 {
				t.Fatalf("sizes on %s: %q", host, out)
			}
			sizes[i] = bytes >> 20
		}
		return sizes
	}
	s.staying(t, 5, func(_ *work, primary string) {
		before := parts(primary)
		s.Up(t, s.sized(t, more)...)
		after := parts(primary)
		for i, part := range []string{"volume", "replica", "file system"} {
			if grown := after[i] - before[i]; grown < more-2 || grown > more+2 {
				t.Errorf("the %s has grown from %d to %d MiB, not by %d", part, before[i], after[i], more)
			}
		}
		Until(t, 2*time.Minute, "the replicas to be equal", paced(s.Whole))
	})
}

// hostReplaced gives a fresh machine the name of the host that does not serve,
// and lets it serve in the end.
func hostReplaced(t *testing.T, s *store) {
	const mib = 40
	w := s.work(t)
	primary := s.serving(t)
	fresh := s.other(primary)
	big := "/mnt/" + s.project + "/older"
	sum := s.On(t, s.clients[0], fmt.Sprintf("dd if=/dev/urandom of=%s bs=1M count=%d conv=fsync 2>/dev/null; sha256sum <%s", big, mib, big))
	s.Lab(t, "replace", fresh)
	w.Steady(t, 3*time.Minute)
	began := time.Now()
	s.Up(t, s.sized(t, 0)...)
	Until(t, 4*time.Minute, "the fresh host to be equal", paced(s.Whole))
	took := time.Since(began)
	moved := time.Now()
	s.On(t, primary, "halinux-storage move")
	w.movedTo(t, fresh, moved, time.Minute)
	w.Steady(t, 3*time.Minute)
	w.Stop(t)
	if now := s.On(t, s.clients[1], "echo 3 >/proc/sys/vm/drop_caches; sha256sum <"+big); now != sum {
		t.Errorf("what was written before the host was replaced is another file on it: %s, it was %s", now, sum)
	}
	s.On(t, s.clients[0], "rm -f "+big)
	s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "from the fresh host to two equal replicas", Unit: "s", Value: took.Seconds(), Note: fmt.Sprintf("%s, then served by it", fresh)})
}

// ask has the provisioner's program run on a host.
func (s *store) ask(key ssh.Signer, host, command string) (string, error) {
	visitor := &dialer{folder: s.ssh.folder, port: s.ssh.port, user: volumesUser, signer: key, open: map[string]*ssh.Client{}}
	defer visitor.close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return visitor.run(ctx, s.Bed.hosts[host], command, nil)
}

// volumes makes, fills, grows and removes volumes as a provisioner does.
func (s *store) volumes(t *testing.T, key ssh.Signer, primary string) {
	t.Helper()
	must := func(command string) string {
		t.Helper()
		out, err := s.ask(key, primary, command)
		if err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		return strings.TrimSpace(out)
	}
	refused := func(host, command string, code int) {
		t.Helper()
		_, err := s.ask(key, host, command)
		var exit *ssh.ExitError
		if !errors.As(err, &exit) || exit.ExitStatus() != code {
			t.Errorf("%s on %s: %v, not exit %d", command, host, err, code)
		}
	}
	if path := must("create claim-1 10"); path != "/srv/"+s.name+"/"+s.project+"/claim-1" {
		t.Errorf("the volume is %q", path)
	}
	fill := func(mib int) string {
		return s.On(t, s.clients[1], fmt.Sprintf("dd if=/dev/zero of=/mnt/%s/claim-1/f bs=1M count=%d conv=fsync 2>&1 || :", s.project, mib))
	}
	if out := fill(15); !strings.Contains(out, "No space left") && !strings.Contains(out, "quota exceeded") {
		t.Errorf("15 MiB in a volume of 10: %s", out)
	}
	must("create claim-1 20")
	if out := fill(15); !strings.Contains(out, "15 MiB") {
		t.Errorf("15 MiB in a volume that has grown to 20: %s", out)
	}
	if out := must("list"); out != "claim-1 20 15" {
		t.Errorf("list: %q", out)
	}
	refused(primary, "create claim-2 100000", 4)
	refused(primary, "create ../claim 10", 2)
	refused(primary, "sh", 2)
	refused(s.other(primary), "create claim-2 10", 3)
	must("remove claim-1")
	must("remove claim-1")
	if out := must("list"); out != "" {
		t.Errorf("list: %q", out)
	}
	s.On(t, primary, "[ ! -e /srv/"+s.name+"/"+s.project+"/claim-1 ]")
}
