package host

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// defaultConfirm is within which time a change of network or firewall has to
// prove that it does not cut off the controller.
const defaultConfirm = 30 * time.Second

func confirmSeconds(d time.Duration) string {
	if d == 0 {
		d = defaultConfirm
	}
	return fmt.Sprint(int(d.Seconds()))
}

// firewallPhase makes the rules of one host from all flows. They live in the
// table "inet halinux", which is replaced as a whole; other tables are not
// touched.
func (a *BaseArgs) firewallPhase(h Host) (*Phase, error) {
	if a.Firewall.Off || slices.Contains(a.Firewall.Except, h.Name) {
		return nil, nil
	}
	var rules []string
	ssh := Flow{Name: "ssh", To: []string{h.Name}, Protocol: "tcp", Ports: []int{h.SSH.port()}, From: a.Firewall.SSH}
	for _, f := range append([]Flow{ssh}, slices.Concat(a.Firewall.Flows, a.Firewall.Extra)...) {
		if !slices.Contains(f.To, h.Name) {
			continue
		}
		lines, err := f.rules(a.Plan)
		if err != nil {
			return nil, err
		}
		rules = append(rules, lines...)
	}
	forward := "drop"
	if slices.Contains(a.Firewall.Forward, h.Name) {
		forward = "accept"
	}
	text, err := render("firewall", "firewall.nft.tmpl", map[string]any{
		"Rules": strings.Join(rules, "\n\t\t"), "Forward": forward,
	})
	if err != nil {
		return nil, err
	}
	unit, err := render("firewall", "halinux-firewall.service", nil)
	if err != nil {
		return nil, err
	}
	return &Phase{
		Name: "firewall",
		Files: []File{
			{Path: "/etc/halinux/firewall.nft", Content: text, Mode: 0o600},
			{Path: "/etc/systemd/system/halinux-firewall.service", Content: unit},
		},
		Vars: map[string]string{"confirm": confirmSeconds(a.Firewall.Confirm)},
	}, nil
}
