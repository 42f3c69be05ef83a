package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/golden"
)

// exampleDisks uses everything that a host can do with disks.
func exampleDisks() Disks {
	return Disks{
		Arrays: []Array{
			{Name: "pair", Level: "1", Members: []string{"/dev/disk/by-id/a", "/dev/disk/by-id/b"}, Spares: []string{"/dev/disk/by-id/c"}},
			{Name: "three", Level: "5", Members: []string{"/dev/sdd", "/dev/sde", "/dev/sdf"}},
		},
		Groups: []VolumeGroup{
			{Name: "data", Devices: []string{"pair", "/dev/sdg"}, Volumes: []Volume{{Name: "nfs", Size: 1024}, {Name: "spare", Size: 4}}},
			{Name: "backup", Devices: []string{"three"}, Volumes: []Volume{{Name: "all", Size: 40000}}},
		},
	}
}

func TestDisksPlan(t *testing.T) {
	d := exampleDisks()
	problems := d.Validate()
	require.NoError(t, problems.Err())
	p, err := d.Phase(aHost("store1", "10.10.0.31"))
	require.NoError(t, err)
	require.NoError(t, p.validate())
	golden.Compare(t, "testdata/disks-store1.golden", shown(p))

	other, err := d.Phase(aHost("store2", "10.10.0.32"))
	require.NoError(t, err)
	assert.NotEqual(t, p.Vars["arrays"], other.Vars["arrays"], "a host does not take another's disks for its own")

	plain, err := Disks{Groups: []VolumeGroup{{Name: "data", Devices: []string{"/dev/sdb"}}}}.Phase(aHost("store1", "10.10.0.31"))
	require.NoError(t, err)
	assert.Empty(t, plain.Files, "mdadm is left alone where there is no array")

	_, ok := d.Find("data/nfs")
	assert.True(t, ok)
	_, ok = d.Find("backup/nfs")
	assert.False(t, ok)
}

func TestDisksReportsEveryProblem(t *testing.T) {
	for want, spoil := range map[string]func(*Disks){
		`arrays[0].name: "Pair" is not a name`:                             func(d *Disks) { d.Arrays[0].Name = "Pair"; d.Groups[0].Devices[0] = "/dev/sdh" },
		`arrays[1].name: "pair" is the name of arrays[0] too`:              func(d *Disks) { d.Arrays[1].Name = "pair"; d.Groups = d.Groups[:1] },
		`arrays[0].level: "" is not a level`:                               func(d *Disks) { d.Arrays[0].Level = "" },
		"arrays[1].members: 2 of them":                                     func(d *Disks) { d.Arrays[1].Members = d.Arrays[1].Members[:2] },
		"arrays[0].spares: RAID 0 cannot use one":                          func(d *Disks) { d.Arrays[0].Level = "0" },
		`arrays[0].members[1]: "sdb" is not the path of a block device`:    func(d *Disks) { d.Arrays[0].Members[1] = "sdb" },
		`arrays[0].members[1]: "/dev/../etc" is not the path`:              func(d *Disks) { d.Arrays[0].Members[1] = "/dev/../etc" },
		"arrays[1].members[0]: /dev/disk/by-id/b is arrays[0].members[1]":  func(d *Disks) { d.Arrays[1].Members[0] = "/dev/disk/by-id/b" },
		"groups[0].devices[1]: /dev/sdd is arrays[1].members[0] too":       func(d *Disks) { d.Groups[0].Devices[1] = "/dev/sdd" },
		`groups[1].devices[0]: there is no array "tree"`:                   func(d *Disks) { d.Groups[1].Devices[0] = "tree" },
		"groups[1].devices[0]: the array pair is groups[0].devices[0] too": func(d *Disks) { d.Groups[1].Devices[0] = "pair" },
		"groups[1].devices: there is none":                                 func(d *Disks) { d.Groups[1].Devices = nil },
		`groups[1].name: "data" is the name of groups[0] too`:              func(d *Disks) { d.Groups[1].Name = "data" },
		`groups[0].volumes[1].name: "nfs" is the name of volumes[0] too`:   func(d *Disks) { d.Groups[0].Volumes[1].Name = "nfs" },
		`groups[1].name: "Back Up" is not a name for a volume group`:       func(d *Disks) { d.Groups[1].Name = "Back Up" },
		`groups[1].volumes[0].name: "../x" is not a name for a volume`:     func(d *Disks) { d.Groups[1].Volumes[0].Name = "../x" },
		"groups[0].volumes[1].size: 0 MiB":                                 func(d *Disks) { d.Groups[0].Volumes[1].Size = 0 },
		"groups[0].volumes[0].size: 1023 MiB":                              func(d *Disks) { d.Groups[0].Volumes[0].Size = 1023 },
	} {
		t.Run(want, func(t *testing.T) {
			d := exampleDisks()
			spoil(&d)
			problems := d.Validate()
			all := problems.All()
			require.Len(t, all, 1, "%v", problems.Err())
			assert.True(t, strings.HasPrefix(all[0].String(), want), "got %s", all[0])
		})
	}
}

// The preflight looks at real block devices: loop devices of this machine.
func TestPreflightLooksAtDisks(t *testing.T) {
	loop := func() string {
		file := filepath.Join(t.TempDir(), "disk")
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		require.NoError(t, os.Truncate(file, 20<<20))
		out, err := exec.Command("losetup", "-f", "--show", file).Output()
		if err != nil {
			t.Skipf("SKIP: no loop devices here: %v", err)
		}
		device := strings.TrimSpace(string(out))
		t.Cleanup(func() { _ = exec.Command("losetup", "-d", device).Run() })
		return device
	}
	blank, full := loop(), loop()
	out, err := exec.Command("mkfs.ext4", "-q", "-L", "photos", full).CombinedOutput()
	require.NoError(t, err, string(out))
	d := Disks{
		Arrays: []Array{{Name: "pair", Level: "1", Members: []string{blank, full}}},
		Groups: []VolumeGroup{{Name: "data", Devices: []string{"pair"}, Volumes: []Volume{{Name: "nfs", Size: 16}}}, {Name: "more", Devices: []string{"/dev/no-such-disk"}}},
	}
	found := look(t, "", "", map[string]string{"disks": d.needs("store1")})
	assert.Contains(t, found, "finding\t"+full+" is not blank: it holds ext4 photos")
	assert.Contains(t, found, "finding\tit has no disk /dev/no-such-disk\tplug it in, or correct the name: it has ")
	assert.NotContains(t, found, "finding\t"+blank)

	d.Groups[0].Volumes[0].Size = 40
	found = look(t, "", "mount "+full+" /mnt", map[string]string{"disks": d.needs("store1")})
	assert.Contains(t, found, full+" is not blank: it is mounted at /mnt; it holds ext4 photos")
	assert.Contains(t, found, "finding\t"+blank+" has 20 MiB\t44 MiB are needed for the volumes on it")

	// One disk by two of its names, and a disk that something else is made of.
	link := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.Symlink(blank, link))
	d.Groups[0].Volumes[0].Size = 4
	d.Arrays[0].Members = []string{blank, link}
	found = look(t, "", "", map[string]string{"disks": d.needs("store1")})
	assert.Contains(t, found, "finding\t"+link+" is "+blank+", which is named twice\tgive each disk one place\n")
	assert.NotContains(t, found, "finding\t"+blank)

	// What lies on a disk is a line more of lsblk's; it is in the place of lsblk
	// here, since not every kernel divides a loop device.
	d.Arrays[0].Members = []string{blank, full}
	found = look(t, "", "mount -t tmpfs -o mode=755 tmpfs /usr/local/sbin; printf '%s\\n' '#!/bin/sh' '/usr/bin/lsblk \"$@\"' '[ $1 != -nrpo ] || [ $3 != "+blank+" ] || echo "+blank+"p1' >/usr/local/sbin/lsblk; chmod +x /usr/local/sbin/lsblk",
		map[string]string{"disks": d.needs("store1")})
	assert.Contains(t, found, "finding\t"+blank+" is not blank: it is in use, or divided: "+blank+"p1\tname another one")
}

func TestDiskNeeds(t *testing.T) {
	assert.Equal(t, strings.Join([]string{
		"/dev/disk/by-id/a array:" + arrayUUID("store1", "pair") + " 0",
		"/dev/disk/by-id/b array:" + arrayUUID("store1", "pair") + " 0",
		"/dev/disk/by-id/c array:" + arrayUUID("store1", "pair") + " 0",
		"/dev/sdd array:" + arrayUUID("store1", "three") + " 20002",
		"/dev/sde array:" + arrayUUID("store1", "three") + " 20002",
		"/dev/sdf array:" + arrayUUID("store1", "three") + " 20002",
		"/dev/sdg group:data 0",
	}, "\n"), exampleDisks().needs("store1"))
}

// What is on a disk is told by the functions of converge.sh, on files in the
// place of disks.
func TestForeignDisksAreNamed(t *testing.T) {
	need(t, "wipefs")
	need(t, "mkfs.ext4")
	script, err := phaseFiles.ReadFile("phases/disks/converge.sh")
	require.NoError(t, err)
	_, functions, ok := strings.Cut(string(script), "# content DEVICE")
	require.True(t, ok)
	functions, _, ok = strings.Cut(functions, "array_of()")
	require.True(t, ok)
	content := func(path string) string {
		out, err := exec.Command("sh", "-euc", "# "+functions+"\ncontent \"$1\"", "sh", path).CombinedOutput()
		require.NoError(t, err, string(out))
		return string(out)
	}
	disk := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(disk, make([]byte, 8<<20), 0o600))
	assert.Empty(t, strings.ReplaceAll(content(disk), "lsblk: "+disk+": not a block device\n", ""), "a blank disk")
	out, err := exec.Command("mkfs.ext4", "-q", "-L", "photos", disk).CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Contains(t, content(disk), "it holds ext4 photos")
}
