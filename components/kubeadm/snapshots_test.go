package kubeadm

import (
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
)

// etcdOfSnapshots hands out what the file "content" holds; a mark of the name of
// what fails makes it fail.
const etcdOfSnapshots = `
case "$*" in
*'endpoint health'*) [ ! -e "$DIR/sick" ] ;;
*'endpoint status'*) echo '[{"Endpoint":"x","Status":{"dbSize":'"$(cat "$DIR/size" 2>/dev/null || echo 20480)"',"leader":1}}]' ;;
*'snapshot save'*) for last; do :; done; cp "$DIR/content" "$last" ;;
*) exit 8 ;;
esac
`

// aSnapshot is a content and its checksum, as etcd ends a snapshot.
func aSnapshot(content string) string {
	sum := sha256.Sum256([]byte(content))
	return content + string(sum[:])
}

func TestSnapshot(t *testing.T) {
	now := time.Now().Add(-time.Second)
	try := func(content string, marks ...string) (hostScript, string, string, error) {
		t.Helper()
		s := scriptOf(t, "phases/snapshots/etcd-snapshot.sh", map[string]string{
			"etcdctl": etcdOfSnapshots, "etcdutl": `[ ! -e "$DIR/damaged" ]`, "sleep": ":",
			// A minute's patience takes two looks here.
			"date": `case $1 in +%s) echo x >>"$DIR/looks"; [ "$(wc -l <"$DIR/looks")" -lt 3 ] && exec /bin/date +%s || echo 9999999999 ;; *) exec /bin/date "$@" ;; esac`,
		})
		folder, metrics := filepath.Join(s.dir, "folder"), filepath.Join(s.dir, "metrics")
		for _, d := range []string{folder, metrics} {
			require.NoError(t, os.Mkdir(d, 0o755))
		}
		t.Setenv("HALINUX_METRICS", metrics)
		for _, old := range []string{"etcd-master1-20200101T000000Z.db", "etcd-master1-20200102T000000Z.db", "etcd-master2-20200101T000000Z.db", ".new"} {
			require.NoError(t, os.WriteFile(filepath.Join(folder, old), nil, 0o600))
			require.NoError(t, os.Chtimes(filepath.Join(folder, old), now.Add(-time.Hour), now.Add(-time.Hour)))
		}
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "content"), []byte(content), 0o644))
		for _, m := range marks {
			name, text, _ := strings.Cut(m, "=")
			require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600))
		}
		out, err := s.run("master1", "10.0.0.1", folder, "2", "3600")
		return s, folder, out, err
	}
	names := func(folder string) []string {
		t.Helper()
		entries, err := os.ReadDir(folder)
		require.NoError(t, err)
		var all []string
		for _, e := range entries {
			if e.Name() != ".lock" {
				all = append(all, e.Name())
			}
		}
		return all
	}
	s, folder, out, err := try(aSnapshot("all of it\n"))
	require.NoError(t, err, out)
	all := names(folder)
	require.Len(t, all, 3, "two of its own are kept, and those of others: %v", all)
	assert.Equal(t, "etcd-master1-20200102T000000Z.db", all[0], "the oldest one goes")
	assert.Equal(t, "etcd-master2-20200101T000000Z.db", all[2])
	taken := filepath.Join(folder, all[1])
	assert.Regexp(t, regexp.MustCompile(`^etcd-master1-20[0-9]{6}T[0-9]{6}Z\.db$`), all[1])
	info, err := os.Stat(taken)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode(), "whatever mode it came with")
	info, err = os.Stat(folder)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	assert.Contains(t, s.file("metrics/halinux_etcd.prom"), "halinux_etcd_snapshot_interval_seconds 3600\n")
	age := regexp.MustCompile(`(?m)^halinux_etcd_snapshot_time_seconds (\d+)$`).FindStringSubmatch(s.file("metrics/halinux_etcd.prom"))
	require.NotNil(t, age, s.file("metrics/halinux_etcd.prom"))
	seconds, err := time.ParseDuration(age[1] + "s")
	require.NoError(t, err)
	assert.WithinDuration(t, now, time.Unix(int64(seconds.Seconds()), 0), time.Hour/2, "the newest one's")

	for name, c := range map[string]struct{ content, mark, says string }{
		"etcd is ill":                      {aSnapshot("x"), "sick", "etcd is not healthy"},
		"its checksum is wrong":            {"x" + aSnapshot("x"), "", "the snapshot is damaged"},
		"its structure is":                 {aSnapshot("x"), "damaged", "the snapshot is damaged"},
		"it would fill the disk":           {aSnapshot("x"), "size=999999999999999", "no room for a snapshot"},
		"the member does not know its own": {"", "", "the snapshot is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			s, folder, out, err := try(c.content, strings.Fields(c.mark)...)
			require.Error(t, err)
			assert.Contains(t, out, "error: "+c.says)
			assert.Len(t, names(folder), 3, "nothing is left of it, and nothing older is given up for it: %v", names(folder))
			assert.Contains(t, s.file("metrics/halinux_etcd.prom"), "halinux_etcd_snapshot_time_seconds", "who watches sees the age grow")
		})
	}
}

// TestAlertsAskForWhatIsWritten keeps the rules and the script together.
func TestAlertsAskForWhatIsWritten(t *testing.T) {
	alerts, err := os.ReadFile("alerts.yaml")
	require.NoError(t, err)
	script, err := phases.ReadFile("phases/snapshots/etcd-snapshot.sh")
	require.NoError(t, err)
	asked := regexp.MustCompile(`halinux_etcd_snapshot_[a-z_]+`).FindAllString(string(alerts), -1)
	require.NotEmpty(t, asked)
	for _, name := range asked {
		assert.Contains(t, string(script), "printf '"+name+" ")
	}
}

func TestSnapshotStore(t *testing.T) {
	s := scriptOf(t, "phases/snapshot-store/etcd-snapshot-store.sh", nil)
	require.NoError(t, os.Mkdir(filepath.Join(s.dir, "store"), 0o700))
	bring := func(what, content string) (string, error) {
		t.Helper()
		cmd := exec.Command("sh", s.path, filepath.Join(s.dir, "store"), "2", what)
		cmd.Stdin = strings.NewReader(content)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	there := func() []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(s.dir, "store", "etcd-*"))
		require.NoError(t, err)
		for i, f := range found {
			found[i] = filepath.Base(f)
		}
		left, err := filepath.Glob(filepath.Join(s.dir, "store", ".new*"))
		require.NoError(t, err)
		assert.Empty(t, left)
		return found
	}
	for _, day := range []string{"01", "02", "03"} {
		out, err := bring("put etcd-master1-202601"+day+"T000000Z.db", aSnapshot(day))
		require.NoError(t, err, out)
	}
	out, err := bring("put etcd-master1-b-20260101T000000Z.db", aSnapshot("b"))
	require.NoError(t, err, out)
	out, err = bring("put etcd-master1-20260104T000000Z.db", aSnapshot("04"))
	require.NoError(t, err, out)
	kept := []string{"etcd-master1-20260103T000000Z.db", "etcd-master1-20260104T000000Z.db", "etcd-master1-b-20260101T000000Z.db"}
	assert.Equal(t, kept, there(), "two of each, by the whole of its name")
	info, err := os.Stat(filepath.Join(s.dir, "store", kept[0]))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())

	out, err = bring("put "+kept[0], aSnapshot("another"))
	require.NoError(t, err, out)
	assert.Equal(t, aSnapshot("03"), s.file("store/"+kept[0]), "nothing is written over")
	for what, content := range map[string]string{
		"put etcd-master1-20260109T000000Z.db":         "cut off",
		"put ../etcd-master1-20260109T000000Z.db":      aSnapshot("x"),
		"put etcd-master1-20260109T000000Z.db; reboot": aSnapshot("x"),
		"put etcd-$(id)-20260109T000000Z.db":           aSnapshot("x"),
		"get etcd-master1-20260102T000000Z.db":         "",
		"":                                             "",
	} {
		out, err := bring(what, content)
		require.Error(t, err, what)
		assert.Contains(t, out, "error: ", what)
		assert.Equal(t, kept, there(), what)
	}
}

func TestStoreKey(t *testing.T) {
	private, err := storeKey()
	require.NoError(t, err)
	public, err := storePublicKey(private)
	require.NoError(t, err)
	key, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(public))
	require.NoError(t, err)
	assert.Empty(t, rest, "one line")
	assert.Equal(t, ssh.KeyAlgoED25519, key.Type())
	_, err = storePublicKey("x")
	require.ErrorContains(t, err, "restore the state")
}

func TestGraphOfCopies(t *testing.T) {
	a := exampleOther()
	a.Restore = nil
	resources := run(t, a, nil)
	for _, h := range []string{"master1", "master2", "master3"} {
		r := resources["kubernetes-"+h+"-snapshots"].RegisterRPC.GetDependencies()
		assert.Contains(t, strings.Join(r, " ")+" ", "::kubernetes-spare1-snapshot-store ", "it is there when they bring copies")
		assert.Contains(t, strings.Join(r, " ")+" ", "::kubernetes-master3-control-plane ", "not while one becomes a member")
	}
	assert.True(t, resources["kubernetes-snapshots-key"].Inputs["input"].ContainsSecrets())
	flow := a.Flows()
	found := false
	for _, f := range flow {
		problems := f.Validate(a.Plan)
		require.NoError(t, problems.Err(), f.Name)
		found = found || f.Name == "kubeadm: snapshots"
	}
	assert.True(t, found, "its firewall lets them in")
}
