package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// portblock is a resource of that agent in the template of the cluster's
// resources, and one of its parameters.
var (
	portblock          = regexp.MustCompile(`(?s)<primitive id="\S+-(closed|open)"[^>]* type="portblock">(.*?)</primitive>`)
	portblockParameter = regexp.MustCompile(`<nvpair [^>]*name="(action|protocol|direction|method|status_check)" value="([^"]*)"/>`)
)

// portClosed has the agent that keeps clients out of a half-open server do its
// work on a backend, as Pacemaker does around a move. The lab's virtual machines
// cannot filter packets; a backend has the firewall that storage hosts have.
func portClosed(t *testing.T, s *store) {
	template, err := os.ReadFile(filepath.Join(s.root, "components/nfsha/phases/resources/resources.xml.tmpl"))
	if err != nil {
		t.Fatal(err)
	}
	agents := map[string]string{}
	f := s.facts(t)
	// Its web server is what the edge may reach.
	name, edge, port := f.Edge.Sites[0].Backends[0].Host, f.edges[0], 80
	address := s.topology.Hosts[name].Links[0].Address
	for _, m := range portblock.FindAllStringSubmatch(string(template), -1) {
		agents[m[1]] = fmt.Sprintf("OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=try-%s OCF_RESKEY_portno=%d OCF_RESKEY_ip=%s", m[1], port, address)
		for _, p := range portblockParameter.FindAllStringSubmatch(m[2], -1) {
			agents[m[1]] += " OCF_RESKEY_" + p[1] + "=" + p[2]
		}
	}
	if len(agents) != 2 {
		t.Fatalf("the template has %d resources of the agent portblock, not 2", len(agents))
	}
	const program = "/usr/lib/ocf/resource.d/heartbeat/portblock"
	if _, err := s.try(name, "test -x "+program); err != nil {
		s.On(t, name, "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends resource-agents iptables")
		defer s.On(t, name, "DEBIAN_FRONTEND=noninteractive apt-get purge -y -q --autoremove resource-agents iptables")
	}
	defer func() {
		_, _ = s.try(name, agents["open"]+" "+program+" start")
	}()
	for _, step := range []struct {
		what, agent, action string
		answers             bool
	}{
		{"before the server starts", "closed", "start", false},
		{"when all is there", "open", "start", true},
		{"before the server stops", "open", "stop", false},
		{"when all is gone", "closed", "stop", true},
	} {
		s.On(t, name, agents[step.agent]+" "+program+" "+step.action)
		if step.action == "start" {
			s.On(t, name, agents[step.agent]+" "+program+" monitor")
		}
		s.On(t, name, "systemctl reload-or-restart halinux-firewall.service")
		out, err := s.try(edge, fmt.Sprintf("timeout 2 bash -c 'exec 3<>/dev/tcp/%s/%d'", address, port))
		if answers := err == nil; answers != step.answers {
			t.Errorf("%s (%s %s) a connection is let in: %v, and should be: %v %s", step.what, step.agent, step.action, answers, step.answers, out)
		}
	}
}
