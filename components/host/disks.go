package host

import (
	"crypto/sha256"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/halinux/halinux/components/problem"
)

// Disks are what a host makes of its empty disks: software RAID (md(4)), and
// LVM (lvm(8)) on disks or arrays. A disk that holds anything which did not
// come from here is refused with what was found on it, and nothing is ever
// wiped: not when it is made, and not when it is removed.
type Disks struct {
	// Arrays are joined disks, each /dev/md/<name>. Default: none.
	Arrays []Array
	// Groups are volume groups on disks or arrays.
	Groups []VolumeGroup
}

// Array is a software RAID (mdadm(8)).
type Array struct {
	Name string // a word of at most 31 letters, unique on the host
	// Level is "0", "1" or "5". Required: 0 gives up all data with one disk.
	Level string
	// Members are block devices, best by a name that stays: /dev/disk/by-id/...
	// Two or more, three or more for level 5. One that is put in the place of
	// another joins the array and is filled.
	Members []string
	// Spares take the place of a member that fails. Default: none.
	Spares []string
}

// VolumeGroup is a volume group of LVM.
type VolumeGroup struct {
	Name string // a word, unique on the host
	// Devices are block devices, or names of arrays.
	Devices []string
	Volumes []Volume // logical volumes, each /dev/<group>/<volume>
}

// Volume is a logical volume.
type Volume struct {
	Name string // a word, unique in the group
	// Size in MiB, a multiple of 4. Raising it grows the volume; it is never
	// made smaller.
	Size int
}

// Find returns a volume by its group and name, as "group/volume".
func (d Disks) Find(name string) (Volume, bool) {
	group, volume, _ := strings.Cut(name, "/")
	for _, g := range d.Groups {
		for _, v := range g.Volumes {
			if g.Name == group && v.Name == volume {
				return v, true
			}
		}
	}
	return Volume{}, false
}

// devicePath is a block device as udev names them.
var devicePath = regexp.MustCompile(`^/dev/[a-zA-Z0-9][a-zA-Z0-9/._:+-]{0,200}$`)

// members says how many an array of a level needs.
var members = map[string]int{"0": 2, "1": 2, "5": 3}

// extent is what LVM allocates at least, in MiB.
const extent = 4

// Validate reports everything that is wrong with the disks of one host.
func (d Disks) Validate() problem.List {
	var l problem.List
	used := map[string]string{}
	device := func(at, path_ string) {
		if !devicePath.MatchString(path_) || path.Clean(path_) != path_ {
			l.Add(at, fmt.Sprintf("%q is not the path of a block device", path_), "use something like /dev/disk/by-id/ata-...")
			return
		}
		if first, ok := used[path_]; ok {
			l.Add(at, fmt.Sprintf("%s is %s too", path_, first), "a disk belongs to one array or group")
		}
		used[path_] = at
	}
	for i, a := range d.Arrays {
		at := fmt.Sprintf("arrays[%d]", i)
		if !planWord.MatchString(a.Name) {
			l.Add(at+".name", fmt.Sprintf("%q is not a name for an array", a.Name), "use lower-case letters, digits and hyphens, beginning with a letter")
		}
		if j := slices.IndexFunc(d.Arrays[:i], func(o Array) bool { return o.Name == a.Name }); j >= 0 {
			l.Add(at+".name", fmt.Sprintf("%q is the name of arrays[%d] too", a.Name, j), "give each its own")
		}
		least, ok := members[a.Level]
		switch {
		case !ok:
			l.Add(at+".level", fmt.Sprintf("%q is not a level of RAID that is made here", a.Level), "use 0, 1 or 5")
		case len(a.Members) < least:
			l.Add(at+".members", fmt.Sprintf("%d of them", len(a.Members)), fmt.Sprintf("RAID %s needs %d or more", a.Level, least))
		case a.Level == "0" && len(a.Spares) > 0:
			l.Add(at+".spares", "RAID 0 cannot use one", "leave them out, or choose level 1 or 5")
		}
		for j, m := range a.Members {
			device(fmt.Sprintf("%s.members[%d]", at, j), m)
		}
		for j, m := range a.Spares {
			device(fmt.Sprintf("%s.spares[%d]", at, j), m)
		}
	}
	for i, g := range d.Groups {
		at := fmt.Sprintf("groups[%d]", i)
		if !planWord.MatchString(g.Name) {
			l.Add(at+".name", fmt.Sprintf("%q is not a name for a volume group", g.Name), "use lower-case letters, digits and hyphens, beginning with a letter")
		}
		if j := slices.IndexFunc(d.Groups[:i], func(o VolumeGroup) bool { return o.Name == g.Name }); j >= 0 {
			l.Add(at+".name", fmt.Sprintf("%q is the name of groups[%d] too", g.Name, j), "give each its own")
		}
		if len(g.Devices) == 0 {
			l.Add(at+".devices", "there is none", "name a disk or an array")
		}
		for j, name := range g.Devices {
			place := fmt.Sprintf("%s.devices[%d]", at, j)
			if strings.HasPrefix(name, "/") {
				device(place, name)
			} else if !slices.ContainsFunc(d.Arrays, func(a Array) bool { return a.Name == name }) {
				l.Add(place, fmt.Sprintf("there is no array %q", name), "use the name of one of arrays, or the path of a disk")
			} else if first, ok := used[name]; ok {
				l.Add(place, fmt.Sprintf("the array %s is %s too", name, first), "an array belongs to one group")
			} else {
				used[name] = place
			}
		}
		for j, v := range g.Volumes {
			place := fmt.Sprintf("%s.volumes[%d]", at, j)
			if !planWord.MatchString(v.Name) {
				l.Add(place+".name", fmt.Sprintf("%q is not a name for a volume", v.Name), "use lower-case letters, digits and hyphens, beginning with a letter")
			}
			if k := slices.IndexFunc(g.Volumes[:j], func(o Volume) bool { return o.Name == v.Name }); k >= 0 {
				l.Add(place+".name", fmt.Sprintf("%q is the name of volumes[%d] too", v.Name, k), "give each its own")
			}
			if v.Size < extent || v.Size%extent != 0 {
				l.Add(place+".size", fmt.Sprintf("%d MiB", v.Size), fmt.Sprintf("use a multiple of %d MiB", extent))
			}
		}
	}
	return l
}

// arrayUUID is what an array is known by: it follows from the names of host
// and array, so that a second run recognizes what the first one made, and the
// disks of another host are foreign.
func arrayUUID(host, name string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "halinux array %s %s", host, name))
	return fmt.Sprintf("%08x:%08x:%08x:%08x", sum[0:4], sum[4:8], sum[8:12], sum[12:16])
}

// needs are the disks as preflight.sh is told of them, a line each: the path, what
// it belongs to (which tells ours from foreign ones), and how many MiB it needs;
// 0 where that depends on the others.
func (d Disks) needs(host string) string {
	least := map[string]int{} // by array or single device
	for _, g := range d.Groups {
		sum := extent // LVM's own
		for _, v := range g.Volumes {
			sum += v.Size
		}
		if len(g.Devices) == 1 {
			least[g.Devices[0]] = sum
		}
	}
	var lines []string
	for _, a := range d.Arrays {
		share := least[a.Name]
		switch a.Level {
		case "0":
			share = share / max(1, len(a.Members))
		case "5":
			share = share / max(1, len(a.Members)-1)
		}
		for _, m := range slices.Concat(a.Members, a.Spares) {
			lines = append(lines, fmt.Sprintf("%s array:%s %d", m, arrayUUID(host, a.Name), share))
		}
	}
	for _, g := range d.Groups {
		for _, m := range g.Devices {
			if strings.HasPrefix(m, "/") {
				lines = append(lines, fmt.Sprintf("%s group:%s %d", m, g.Name, least[m]))
			}
		}
	}
	return strings.Join(lines, "\n")
}

// Phase makes the disks what they are to be on a host.
func (d Disks) Phase(h Host) (Phase, error) {
	var arrays, groups, volumes, lines []string
	for _, a := range d.Arrays {
		uuid := arrayUUID(h.Name, a.Name)
		arrays = append(arrays, fmt.Sprintf("%s %s %s %s %s", a.Name, a.Level, uuid, strings.Join(a.Members, ","), orDash(strings.Join(a.Spares, ","))))
		lines = append(lines, fmt.Sprintf("ARRAY /dev/md/%s metadata=1.2 UUID=%s", a.Name, uuid))
	}
	for _, g := range d.Groups {
		var devices []string
		for _, name := range g.Devices {
			if !strings.HasPrefix(name, "/") {
				name = "/dev/md/" + name
			}
			devices = append(devices, name)
		}
		groups = append(groups, g.Name+" "+strings.Join(devices, ","))
		for _, v := range g.Volumes {
			volumes = append(volumes, fmt.Sprintf("%s %s %d", g.Name, v.Name, v.Size))
		}
	}
	p := Phase{Name: "disks", Vars: map[string]string{
		"arrays": strings.Join(arrays, "\n"), "groups": strings.Join(groups, "\n"), "volumes": strings.Join(volumes, "\n"),
	}, Timeout: 15 * time.Minute}
	if len(arrays) > 0 {
		config, err := render("disks", "mdadm.conf.tmpl", lines)
		if err != nil {
			return p, err
		}
		p.Files = []File{
			{Path: "/etc/mdadm/mdadm.conf", Content: config},
			Embedded(phaseFiles, "/usr/local/lib/halinux/array-event", "phases/disks/array-event.sh").Executable(),
		}
	}
	return p, p.Scripts(phaseFiles, "phases/disks")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
