package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What crm_mon of Pacemaker 3.0.0 says of a whole cluster, shortened.
const wholeCluster = `<pacemaker-result api-version="2.38">
  <nodes>
    <node name="storage1" id="31" online="true" standby="false" pending="false" unclean="false"/>
    <node name="storage2" id="32" online="true" standby="false" pending="false" unclean="false"/>
  </nodes>
  <resources>
    <clone id="nfs-drbd">
      <resource id="nfs-replica" role="Promoted" active="true" failed="false"><node name="storage2" id="32" cached="true"/></resource>
      <resource id="nfs-replica" role="Unpromoted" active="true" failed="false"><node name="storage1" id="31" cached="true"/></resource>
    </clone>
    <group id="nfs-store">
      <resource id="nfs-filesystem" role="Started" active="true" failed="false"><node name="storage2" id="32" cached="true"/></resource>
    </group>
    <resource id="nfs-project-home" role="Started" active="true" failed="false"><node name="storage2" id="32" cached="true"/></resource>
    <group id="nfs-address">
      <resource id="nfs-vip" role="Started" active="true" failed="false"><node name="storage2" id="32" cached="true"/></resource>
    </group>
  </resources>
</pacemaker-result>`

func TestWholeCluster(t *testing.T) {
	hosts := []string{"storage1", "storage2"}
	c, err := parseCluster(wholeCluster)
	require.NoError(t, err)
	require.NoError(t, c.whole(hosts))
	require.Len(t, c.all(), 5)
	require.ErrorContains(t, c.whole(append(hosts, "storage3")), "2 hosts, not 3")
	own, err := parseCluster(strings.Replace(wholeCluster, "</pacemaker-result>", `<bans><ban id="halinux-fence-storage1-1-elsewhere"/></bans></pacemaker-result>`, 1))
	require.NoError(t, err)
	require.NoError(t, own.whole(hosts))
	ban := `<bans><ban id="drbd-fence-by-handler-nfs" resource="nfs-drbd" node="storage1"/></bans></pacemaker-result>`
	for want, text := range map[string]string{
		"storage1 is not in the cluster": strings.Replace(wholeCluster, `online="true"`, `online="false"`, 1),
		"storage1 is unclean":            strings.Replace(wholeCluster, `unclean="false"`, `unclean="true"`, 1),
		"storage1 is standby":            strings.Replace(wholeCluster, `standby="false"`, `standby="true"`, 1),
		"nfs-vip is Stopped":             strings.Replace(wholeCluster, `id="nfs-vip" role="Started" active="true"`, `id="nfs-vip" role="Stopped" active="false"`, 1),
		"nfs-filesystem":                 strings.Replace(wholeCluster, `id="nfs-filesystem" role="Started" active="true" failed="false"`, `id="nfs-filesystem" role="Started" active="true" failed="true"`, 1),
		"2 promoted":                     strings.Replace(wholeCluster, "Unpromoted", "Promoted", 1),
		"drbd-fence-by-handler-nfs":      strings.Replace(wholeCluster, "</pacemaker-result>", ban, 1),
		"the cluster has 0 hosts":        "<pacemaker-result/>",
	} {
		c, err := parseCluster(text)
		require.NoError(t, err)
		require.ErrorContains(t, c.whole(hosts), want)
	}
}

func TestParts(t *testing.T) {
	start := time.Now()
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	events := []event{
		{at(-1), "storage1", "storage1 pacemaker-controld[5]:  notice: Result of promote operation for nfs-replica on storage1: OK"},
		{at(4), "storage1", "storage1 corosync[4]:   [TOTEM ] A processor failed, forming new configuration"},
		{at(5), "storage1", "storage1 corosync[4]:   [QUORUM] Members left[1]: 32"},
		{at(29), "storage1", "storage1 pacemaker-controld[5]:  notice: Peer storage2 was terminated (reboot) by storage1 on behalf of pacemaker-controld.5: OK"},
		{at(31), "storage1", "storage1 pacemaker-controld[5]:  notice: Result of promote operation for nfs-replica on storage1: OK"},
		{at(32), "storage1", "storage1 pacemaker-controld[5]:  notice: Result of start operation for nfs-filesystem on storage1: OK"},
		{at(34), "storage1", "storage1 pacemaker-controld[5]:  notice: Result of start operation for nfs-server on storage1: OK"},
		{at(36), "storage1", "storage1 pacemaker-controld[5]:  notice: Result of start operation for nfs-vip on storage1: OK"},
		{at(38.5), "storage1", "storage1 kernel: NFSD: all clients done reclaiming, ending NFSv4 grace period (net effffff9)"},
		{at(99), "storage1", "storage1 pacemaker-controld[5]:  notice: Result of start operation for nfs-vip on storage1: OK"},
	}
	require.Equal(t, "detection 4.0 s, fencing 25.0 s, promotion 2.0 s, mount 1.0 s, server 2.0 s, address 2.0 s, grace 2.5 s, reconnection 1.5 s", partsNote(parts(events, start, at(40))))
	// What did not happen is no part.
	require.Equal(t, "reconnection 3.0 s", partsNote(parts(nil, start, at(3))))
}
