package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/halinux/halinux/tests/sshkey"
)

// volumesUser comes in for the provisioner, and storageKey is where the storage
// stands in the settings.
const (
	volumesUser = "halinux-volumes"
	storageKey  = "halinux:storage"
)

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

	s.staying(t, 5, func(_ *work, primary string) {
		s.Up(t, with(50), provisioner)
		s.On(t, client, fmt.Sprintf("mkdir -p %[1]s; timeout 50 mount -t nfs4 -o %[2]s %[3]s:%[4]s %[1]s; echo kept >%[1]s/kept; sync %[1]s/kept", folder, s.options, s.vip, dir))
		if got := size(); got != "50" {
			t.Errorf("the new project has %s MiB for the client, not 50", got)
		}
		s.volumes(t, key, primary)

		s.Up(t, with(80), provisioner)
		if got := size(); got != "80" {
			t.Errorf("the project has %s MiB for the client after it grew, not 80", got)
		}
		s.On(t, client, "umount "+folder)

		s.Up(t)
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

		s.Up(t, Set([]any{extra}, storageKey, "purge"))
		s.On(t, primary, "[ ! -e "+dir+" ]")
		s.Up(t)
	})
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
