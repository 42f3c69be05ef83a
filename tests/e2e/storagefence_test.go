package e2e

import (
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/tests/report"
)

// ---- management controllers -------------------------------------------------------

//go:embed bmc/chassis.sh
var chassis []byte

// bmc is the management controller of a host: ipmi_sim (Debian's package openipmi)
// speaks IPMI over the network, and has the lab switch the host off and on.
type bmc struct {
	host, address, user, password string
	port                          int
	dir                           string
}

// newBMC starts one. The cipher suite has to be named to who asks it: it does not
// tell which ones it has, and ipmitool waits ten seconds for that.
func newBMC(t *testing.T, sim, lab, root, host, address string, port int) *bmc {
	t.Helper()
	b := &bmc{host: host, address: address, user: "fence", password: rand.Text()[:16], port: port, dir: t.TempDir()}
	for name, text := range map[string]string{
		"chassis.sh": string(chassis),
		"power":      "1\n", "asked": "", "log": "",
		"lan.conf": fmt.Sprintf(`name "%[1]s"
set_working_mc 0x20
startlan 1
addr %[2]s %[3]d
priv_limit admin
allowed_auths_admin none md2 md5 straight
guid a123456789abcdefa123456789abcdef
endlan
chassis_control "%[4]s/chassis.sh %[4]s %[5]s %[1]s"
user 1 false "" "" user 10 none md2 md5 straight
user 2 true "%[6]s" "%[7]s" admin 10 none md2 md5 straight
`, host, address, port, b.dir, lab, b.user, b.password),
		"commands": "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nmc_enable 0x20\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600))
	}
	require.NoError(t, os.Chmod(filepath.Join(b.dir, "chassis.sh"), 0o700))
	c := exec.Command(sim, "-c", filepath.Join(b.dir, "lan.conf"), "-f", filepath.Join(b.dir, "commands"), "-s", b.dir, "-n")
	c.Dir = root
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	require.NoError(t, c.Start())
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	t.Cleanup(func() {
		_ = c.Process.Kill()
		<-ended
	})
	Until(t, 10*time.Second, "the management controller of "+host, func() error {
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("it has ended: %w", err)
		default:
		}
		listening, err := os.ReadFile("/proc/net/udp")
		if err == nil && !strings.Contains(string(listening), fmt.Sprintf(":%04X 00000000:0000", port)) {
			err = errors.New("it does not listen")
		}
		return err
	})
	return b
}

// agent is how the settings name it, and its secret ones.
func (b *bmc) agent() (plain map[string]any, secrets map[string]any) {
	return map[string]any{"host": b.host, "agent": "fence_ipmilan", "options": map[string]any{
		"ip": b.address, "ipport": fmt.Sprint(b.port), "username": b.user, "lanplus": "1", "cipher": "3",
	}}, map[string]any{"fence_ipmilan": map[string]any{"password": b.password}}
}

func (b *bmc) read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// asked is what it was told to do since the last time: "power 0", "power 1".
func (b *bmc) asked(t testing.TB) string {
	t.Helper()
	words := strings.Join(strings.Split(strings.TrimSpace(b.read(t, "asked")), "\n"), ", ")
	if err := os.WriteFile(filepath.Join(b.dir, "asked"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return words
}

// lost notes that somebody else has cut the host's power.
func (b *bmc) lost(t testing.TB) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, "power"), []byte("0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// ---- the scenario -----------------------------------------------------------------

// fencedByAgents gives the storage hosts management controllers and has the
// cluster fence by them: a host that is dead, and one that lives and is cut off.
// Then it goes back to the watchdog, which up refuses as long as a host runs
// without it.
func fencedByAgents(t *testing.T, s *store) {
	sim, err := exec.LookPath("ipmi_sim")
	if err != nil {
		t.Skip("SKIP: the controller has no ipmi_sim to be the management controllers; the Debian package openipmi has it")
	}
	var agents []any
	secrets, controllers := map[string]any{}, map[string]*bmc{}
	for i, h := range s.hosts {
		c := newBMC(t, sim, s.lab, s.root, h, s.topology.Controller.Links[0].Address.String(), 6230+i)
		plain, secret := c.agent()
		agents, secrets[h], controllers[h] = append(agents, plain), secret, c
	}
	defer s.toWatchdog(t)
	s.Up(t, append(s.sized(t, 0), Set(map[string]any{"agents": agents}, storageKey, "fencing"), Set(secrets, "halinux:secrets", "fencing"))...)
	Until(t, 2*time.Minute, "the cluster with its agents to be whole", paced(s.Whole))

	// A power cut: the management controller outlives it, and switches the host on.
	booted := map[string]string{}
	for _, h := range s.hosts {
		if booted[h], err = s.bootID(h); err != nil {
			t.Fatal(err)
		}
	}
	again := func(host string) {
		Until(t, 4*time.Minute, host+" to boot again", paced(func() error {
			now, err := s.bootID(host)
			if err == nil && now == booted[host] {
				err = errors.New("it is the boot of before")
			}
			return err
		}))
	}
	s.failover(t, 20, func(primary string) {
		s.Lab(t, "crash", primary)
		controllers[primary].lost(t)
	}, again)
	s.fencedOnce(t, controllers, "power 1")
	Until(t, 4*time.Minute, "the cluster to be whole after the power cut", paced(s.Whole))

	// Both live and do not hear each other: the witness lets one go on, and that one
	// has the other switched off and on.
	w := s.work(t)
	began := time.Now()
	s.Lab(t, "cut", s.hosts[0], s.hosts[1])
	w.oneReset(t)
	w.Steady(t, 3*time.Minute)
	s.fencedOnce(t, controllers, "power 0, power 1")
	s.Lab(t, "heal")
	r := w.Stop(t)
	t.Logf("cut off from each other %s; the longest stall was %.1f s", began.Format("15:04:05"), r.stall.For.Seconds())
	Until(t, 4*time.Minute, "the cluster to be whole after the split", paced(s.Whole))
}

// fencedOnce wants one of the hosts to have been fenced, by these words.
func (s *store) fencedOnce(t *testing.T, controllers map[string]*bmc, want string) {
	t.Helper()
	var all []string
	for _, h := range s.hosts {
		if words := controllers[h].asked(t); words != "" {
			all = append(all, h+": "+words)
		}
	}
	fenced := 0.0
	if len(all) == 1 && strings.HasSuffix(all[0], ": "+want) {
		fenced = 1
	} else {
		t.Errorf("the management controllers were asked for %q, not for %q at one of them", all, want)
	}
	s.Record(t, report.Measurement{ID: s.id, Scenario: s.scenario, Metric: "hosts fenced by their management controller", Unit: "of 1", Value: fenced, Limit: 1, AtLeast: true, Note: strings.Join(all, "; ")})
}

// toWatchdog gives the cluster the fencing of the lab's settings again. Hosts that
// have booted meanwhile run without SBD, and up says so.
func (s *store) toWatchdog(t *testing.T) {
	t.Helper()
	s.Lab(t, "heal")
	if _, err := poll(4*time.Minute, paced(s.Whole)); err != nil {
		t.Errorf("not whole before the way back to the watchdog: %v", err)
	}
	without := 0
	for _, h := range s.hosts {
		if _, err := s.try(h, "systemctl is-active -q sbd.service"); err != nil {
			without++
		}
	}
	// A run may stop at one host before it looks at the other.
	for refused := 0; refused < without; refused++ {
		r := s.Do(t, "up", s.sized(t, 0)...)
		if r.Code == 0 {
			if refused == 0 {
				t.Errorf("up let the cluster rely on the watchdog, and %d hosts run without SBD", without)
			}
			break
		}
		named := 0
		for _, h := range s.hosts {
			if strings.Contains(r.Output(), h+": cluster: the cluster runs here without SBD") {
				named++
				s.rebootWithSBD(t, h)
			}
		}
		if named == 0 {
			t.Fatalf("up does not say which host runs without SBD:\n%s", tail(r.Output()))
		}
	}
	s.Up(t, s.sized(t, 0)...)
	if out := s.On(t, s.hosts[0], "crm_attribute --type crm_config --name stonith-watchdog-timeout --query --quiet"); strings.TrimSpace(out) == "0" {
		t.Errorf("the cluster does not rely on the watchdog again: %q", out)
	}
}

// rebootWithSBD boots a host as a person would who was told to.
func (s *store) rebootWithSBD(t *testing.T, host string) {
	t.Helper()
	before, err := s.bootID(host)
	if err != nil {
		t.Fatal(err)
	}
	if s.serving(t) == host {
		s.On(t, host, "halinux-storage move")
	}
	_, _ = s.try(host, "systemctl reboot") // the connection may end before the answer
	Until(t, 4*time.Minute, host+" to be back with SBD", paced(func() error {
		now, err := s.bootID(host)
		if err == nil && now == before {
			err = errors.New("it is the boot of before")
		}
		if err == nil {
			_, err = s.try(host, "systemctl is-active -q sbd.service")
		}
		return err
	}))
	Until(t, 4*time.Minute, "the cluster to be whole with "+host, paced(s.Whole))
}

// ---- the management controller itself ----------------------------------------------

// A host's power is what ipmitool switches: it is off when the lab has switched it
// off, and a wrong password does nothing.
func TestBMC(t *testing.T) {
	sim, err := exec.LookPath("ipmi_sim")
	if err == nil {
		_, err = exec.LookPath("ipmitool")
	}
	if err != nil {
		t.Skipf("SKIP: %v; the Debian packages openipmi and ipmitool have it", err)
	}
	lab := filepath.Join(t.TempDir(), "lab")
	done := lab + ".done"
	require.NoError(t, os.WriteFile(lab, []byte("#!/bin/sh\necho \"$*\" >>"+done+"\n"), 0o700))
	b := newBMC(t, sim, lab, t.TempDir(), "storage1", "127.0.0.1", 16230)
	tool := func(password string, words ...string) (string, error) {
		c := exec.Command("ipmitool", append([]string{"-I", "lanplus", "-C", "3", "-H", b.address, "-p", fmt.Sprint(b.port), "-U", b.user, "-E"}, words...)...)
		c.Env = append(os.Environ(), "IPMI_PASSWORD="+password)
		out, err := c.CombinedOutput()
		return string(out), err
	}
	power := func(want string) {
		t.Helper()
		Until(t, 20*time.Second, "the power to be "+want, func() error {
			out, err := tool(b.password, "chassis", "power", "status")
			if err == nil && !strings.Contains(out, "Chassis Power is "+want) {
				err = errors.New(out)
			}
			return err
		})
	}
	power("on")
	_, err = tool("another", "chassis", "power", "off")
	require.Error(t, err)
	power("on")
	require.Empty(t, b.asked(t))
	for _, step := range []struct{ words, power, lab string }{
		{"off", "off", "crash storage1\n"}, {"off", "off", ""}, {"on", "on", "restart storage1\n"}, {"on", "on", ""}, {"reset", "on", "restart storage1\n"},
	} {
		_ = os.Remove(done)
		out, err := tool(b.password, "chassis", "power", step.words)
		require.NoError(t, err, out)
		power(step.power)
		did := ""
		Until(t, 10*time.Second, "the lab to "+step.lab, func() error {
			text, err := os.ReadFile(done)
			if did = string(text); step.lab != "" && did != step.lab {
				return fmt.Errorf("it did %q: %w", did, err)
			}
			return nil
		})
		require.Equal(t, step.lab, did)
	}
	require.Equal(t, "power 0, power 0, power 1, power 1, reset 1", b.asked(t))
}
