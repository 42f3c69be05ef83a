package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// arraysMade has RAID 5 with a spare, RAID 0 and a volume group made of loop
// devices on the host that does not serve: refused while one of them holds
// something, then made, found again, healed by the spare and by a new disk, and
// grown. What the volume holds stays.
func arraysMade(t *testing.T, s *store) {
	const mib = 40
	host := s.other(s.serving(t))
	_, settings := s.settings(t)
	own := settings[storageKey].(map[string]any)["disks"].(map[string]any)[host].(map[string]any)
	defer func() {
		s.On(t, host, `vgchange -qq -an extra || :; vgremove -qq -f extra || :
for array in five zero; do [ ! -b /dev/md/$array ] || mdadm --stop /dev/md/$array; done
for file in /var/lib/halinux-loops/*; do losetup -j "$file" | cut -d: -f1 | xargs -r losetup -d; done
rm -rf /var/lib/halinux-loops`)
	}()
	disk := strings.Fields(s.On(t, host, `mkdir /var/lib/halinux-loops
for i in 0 1 2 3 4 5 6; do truncate -s 64M /var/lib/halinux-loops/$i; losetup --find --show /var/lib/halinux-loops/$i; done`))
	if len(disk) != 7 {
		t.Fatalf("loop devices: %q", disk)
	}
	// with first as the first disk of the RAID 5, and a volume of a size.
	with := func(first string, size int) []Change {
		arrays := append(append([]any{}, own["arrays"].([]any)...),
			map[string]any{"name": "five", "level": "5", "members": []any{first, disk[1], disk[2]}, "spares": []any{disk[3]}},
			map[string]any{"name": "zero", "level": "0", "members": []any{disk[4], disk[5]}})
		groups := append(append([]any{}, own["groups"].([]any)...), map[string]any{"name": "extra", "devices": []any{"five", "zero"},
			"volumes": []any{map[string]any{"name": "scratch", "size": size}}})
		return append([]Change{Set(map[string]any{"arrays": arrays, "groups": groups}, storageKey, "disks", host)}, s.sized(t, 0)...)
	}
	whole := func(member string) {
		t.Helper()
		Until(t, 2*time.Minute, "a whole RAID 5 with "+member, paced(func() error {
			out, err := s.try(host, "mdadm --detail /dev/md/five")
			if err == nil && (!strings.Contains(out, "State : clean \n") && !strings.Contains(out, "State : active \n") || !strings.Contains(out, "active sync   "+member)) {
				err = fmt.Errorf("%s", out)
			}
			return err
		}))
	}

	s.On(t, host, "mkfs.ext4 -q -L photos "+disk[0])
	if r := s.Do(t, "up", with(disk[0], 60)...); r.Code == 0 || !strings.Contains(r.Output(), disk[0]) || !strings.Contains(r.Output(), "photos") {
		t.Errorf("a disk that holds ext4 was not refused:\n%s", tail(r.Output()))
	}
	if out := s.On(t, host, "blkid -p -s LABEL -o value "+disk[0]); strings.TrimSpace(out) != "photos" {
		t.Errorf("the disk that was refused holds %q", out)
	}
	s.On(t, host, "wipefs -q -a "+disk[0])

	s.Up(t, with(disk[0], 60)...)
	s.Unchanged(t, with(disk[0], 60)...)
	whole(disk[0])
	if out := s.On(t, host, "mdadm --detail /dev/md/zero"); !strings.Contains(out, "Raid Level : raid0") {
		t.Errorf("no RAID 0:\n%s", out)
	}
	sum := fmt.Sprintf("head -c %dM /dev/extra/scratch | sha256sum", mib)
	before := s.On(t, host, fmt.Sprintf("dd if=/dev/urandom of=/dev/extra/scratch bs=1M count=%d conv=fsync 2>/dev/null; %s", mib, sum))

	s.On(t, host, "mdadm /dev/md/five --fail "+disk[0])
	whole(disk[3]) // the spare
	s.Up(t, with(disk[6], 60)...)
	s.On(t, host, "mdadm /dev/md/five --fail "+disk[3])
	whole(disk[6]) // the new disk
	s.Up(t, with(disk[6], 100)...)
	if out := strings.TrimSpace(s.On(t, host, "lvs --noheadings --nosuffix --units m -o lv_size extra/scratch")); out != "100.00" {
		t.Errorf("the volume has %s MiB, not 100", out)
	}
	if after := s.On(t, host, "echo 3 >/proc/sys/vm/drop_caches; "+sum); after != before {
		t.Errorf("the volume holds something else: %s, it was %s", after, before)
	}
	// What is no longer asked for is let be.
	s.Up(t, s.sized(t, 0)...)
	whole(disk[6])
}
