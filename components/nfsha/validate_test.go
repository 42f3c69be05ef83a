package nfsha

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/tests/golden"
)

// spoiled is one mistake, and how its report begins.
var spoiled = map[string]func(*NFSHAClusterArgs){
	`name: "my store" is not a name for the cluster`: func(a *NFSHAClusterArgs) { a.Name = "my store" },
	"hosts: 1 storage host;":                         func(a *NFSHAClusterArgs) { a.Hosts = a.Hosts[:1]; delete(a.Disks, "store2") },
	"hosts: 3 storage hosts": func(a *NFSHAClusterArgs) {
		a.Hosts = append(a.Hosts, aHost("client1", "10.10.0.41"))
		a.Plan.Hosts[4].Links = append(a.Plan.Hosts[4].Links, host.Link{Network: "storage", Address: "10.11.0.41", Interface: "eth1"})
		a.Disks["client1"] = exampleDisks()
	},
	"hosts[1].name: store1 is named twice": func(a *NFSHAClusterArgs) {
		a.Plan.Hosts[1].Links[0].Address = "10.10.0.31"
		a.Hosts[1].Name = "store1"
		delete(a.Disks, "store2")
	},
	`hosts[1].name: store2 has no IPv4 address on the network "storage"`: func(a *NFSHAClusterArgs) { a.Plan.Hosts[1].Links = a.Plan.Hosts[1].Links[:1] },
	"hosts[0].name: store1 has both networks on eth0":                    func(a *NFSHAClusterArgs) { a.Plan.Hosts[0].Links[1].Interface = "eth0" },
	"network: is missing":                                      func(a *NFSHAClusterArgs) { a.Network = "" },
	`replication: the plan has no network "san"`:               func(a *NFSHAClusterArgs) { a.Replication = "san" },
	`replication: is "lan", as network is`:                     func(a *NFSHAClusterArgs) { a.Replication = "lan" },
	"witnesses: there is none, and two votes are even":         func(a *NFSHAClusterArgs) { a.Witnesses = nil },
	"witnesses[0].name: store1 is a storage host":              func(a *NFSHAClusterArgs) { a.Witnesses[0] = a.Hosts[0] },
	"witnesses[1].name: edge1 is named twice":                  func(a *NFSHAClusterArgs) { a.Witnesses[1] = a.Witnesses[0] },
	"fencing: there is none":                                   func(a *NFSHAClusterArgs) { a.Fencing = Fencing{} },
	"fencing.watchdog: agents are given too":                   func(a *NFSHAClusterArgs) { a.Fencing.Agents = exampleAgents().Fencing.Agents },
	"fencing.watchdog.timeout: 1s is outside 3s to 1m":         func(a *NFSHAClusterArgs) { a.Fencing.Watchdog.Timeout = time.Second },
	"fencing.watchdog.timeout: 5s is less than the token's 6s": func(a *NFSHAClusterArgs) { a.Token = 6 * time.Second },
	`fencing.watchdog.device: "watchdog" is not a device`:      func(a *NFSHAClusterArgs) { a.Fencing.Watchdog.Device = "watchdog" },
	"fencing.agents: none is for store1": func(a *NFSHAClusterArgs) {
		a.Fencing = exampleAgents().Fencing
		a.Fencing.Agents = a.Fencing.Agents[1:]
	},
	`fencing.agents[0].agent: "ipmi" is not a fence agent`: func(a *NFSHAClusterArgs) { a.Fencing = exampleAgents().Fencing; a.Fencing.Agents[0].Agent = "ipmi" },
	"fencing.agents[0].options: password would be shown to everybody": func(a *NFSHAClusterArgs) {
		a.Fencing = exampleAgents().Fencing
		a.Fencing.Agents[0].Options["password"] = "x"
		a.Fencing.Agents[0].Secrets = nil
	},
	"vip: 10.99.0.1 is outside of the network lan (10.10.0.0/24)":           func(a *NFSHAClusterArgs) { a.VIP = "10.99.0.1" },
	"vip: 10.10.0.41 is an address of the host client1":                     func(a *NFSHAClusterArgs) { a.VIP = "10.10.0.41" },
	"vip: 10.10.0.255 is the network's own or its broadcast address":        func(a *NFSHAClusterArgs) { a.VIP = "10.10.0.255" },
	"vip: 10.10.0.1 is the gateway":                                         func(a *NFSHAClusterArgs) { a.VIP = "10.10.0.1" },
	`volume: "nfs" is not group/volume`:                                     func(a *NFSHAClusterArgs) { a.Volume = "nfs" },
	"volume: data/nfs has 102396 MiB on store1, 102400 MiB on store2":       func(a *NFSHAClusterArgs) { a.Disks["store1"].Groups[0].Volumes[0].Size = 102396 },
	"disks.store2: is missing":                                              func(a *NFSHAClusterArgs) { delete(a.Disks, "store2") },
	"disks.store1: has no volume data/nfs":                                  func(a *NFSHAClusterArgs) { a.Disks["store1"].Groups[0].Volumes[0].Name = "other" },
	"disks.edge1: is not a storage host":                                    func(a *NFSHAClusterArgs) { a.Disks["edge1"] = exampleDisks() },
	"disks.store1.arrays[0].members: 1 of them":                             func(a *NFSHAClusterArgs) { a.Disks["store1"].Arrays[0].Members = []string{"/dev/sda"} },
	"token: 100ms is outside":                                               func(a *NFSHAClusterArgs) { a.Token = 100 * time.Millisecond },
	"lease: 1s is outside 5s to 90s":                                        func(a *NFSHAClusterArgs) { a.Lease = time.Second },
	`verify: "$(reboot)" is not a time`:                                     func(a *NFSHAClusterArgs) { a.Verify = "$(reboot)" },
	`projects[0].name: "../etc" would leave its directory`:                  func(a *NFSHAClusterArgs) { a.Projects[0].Name = "../etc" },
	`projects[0].name: ".halinux" would leave its directory, or hide in it`: func(a *NFSHAClusterArgs) { a.Projects[0].Name = ".halinux" },
	`projects[0].name: "a b" is not a name for a project`:                   func(a *NFSHAClusterArgs) { a.Projects[0].Name = "a b" },
	`projects[1].name: "home" is the name of projects[0] too`:               func(a *NFSHAClusterArgs) { a.Projects[1].Name = "home"; a.Provisioner = nil },
	"projects[2].id: 7 is that of projects[1] (kubernetes) too":             func(a *NFSHAClusterArgs) { a.Projects[2].ID = 7 },
	"projects[0].quota: 0 MiB":                                              func(a *NFSHAClusterArgs) { a.Projects[0].Quota = 0 },
	"projects[0].quota: 200000 MiB are more than the volume has (101344":    func(a *NFSHAClusterArgs) { a.Projects[0].Quota = 200000 },
	"projects: their quotas add up to 131984 MiB, the volume has 101344":    func(a *NFSHAClusterArgs) { a.Projects[0].Quota = 90000 },
	"projects[0].clients: there is none":                                    func(a *NFSHAClusterArgs) { a.Projects[0].Clients = nil },
	`projects[0].clients[0]: "lna" is neither a range`:                      func(a *NFSHAClusterArgs) { a.Projects[0].Clients[0] = "lna" },
	"projects[2].clients[0]: 0.0.0.0/0 is everybody":                        func(a *NFSHAClusterArgs) { a.Projects[2].Anywhere = false },
	`projects[1].clients[0]: "10.10.0.41/29" is not a range`:                func(a *NFSHAClusterArgs) { a.Projects[1].Clients[0] = "10.10.0.41/29" },
	`projects[0].mode: "u=rwx" is not a mode`:                               func(a *NFSHAClusterArgs) { a.Projects[0].Mode = "u=rwx" },
	"purge[0]: home is still one of projects":                               func(a *NFSHAClusterArgs) { a.Purge[0] = "home" },
	`purge[0]: ".." is not a name`:                                          func(a *NFSHAClusterArgs) { a.Purge[0] = ".." },
	"purge[1]: old stands there twice":                                      func(a *NFSHAClusterArgs) { a.Purge = append(a.Purge, "old") },
	`provisioner.project: "media" is not one of projects`:                   func(a *NFSHAClusterArgs) { a.Provisioner.Project = "media" },
	"provisioner.project: root of a client is nobody in home":               func(a *NFSHAClusterArgs) { a.Provisioner.Project = "home" },
	"provisioner.keys: there is none":                                       func(a *NFSHAClusterArgs) { a.Provisioner.Keys = nil },
	"provisioner.keys[0]: is not one public key":                            func(a *NFSHAClusterArgs) { a.Provisioner.Keys[0] = `command="sh" ` + hostKey },
	"provisioner.keys[1]: is not one public key on a line":                  func(a *NFSHAClusterArgs) { a.Provisioner.Keys = append(a.Provisioner.Keys, hostKey+"\n"+hostKey) },
	`projects[0].owner: "root" is not user:group`:                           func(a *NFSHAClusterArgs) { a.Projects[0].Owner = "root" },
	"projects[0].id: -1 is not a project id":                                func(a *NFSHAClusterArgs) { a.Projects[0].ID = -1 },
	"projects[0].id: 2147483648 is not a project id":                        func(a *NFSHAClusterArgs) { a.Projects[0].ID = 2147483648 },
	// One number is given, the other one follows from a name.
	fmt.Sprintf("projects[1].id: %d is that of projects[0] (home) too; choose another", Project{Name: "home"}.id()): func(a *NFSHAClusterArgs) { a.Projects[1].ID = a.Projects[0].id() },
	`projects[0].mode: "0070" lets not even the owner in`:                                                           func(a *NFSHAClusterArgs) { a.Projects[0].Mode = "0070" },
	"projects[1].clients[0]: ::1 is not the IPv4 address of a client":                                               func(a *NFSHAClusterArgs) { a.Projects[1].Clients[0] = "::1" },
	"projects[1].clients[0]: 0.0.0.0 is not the IPv4 address of a client":                                           func(a *NFSHAClusterArgs) { a.Projects[1].Clients[0] = "0.0.0.0" },
	"projects[1].clients[0]: 224.0.0.1 is not the IPv4 address":                                                     func(a *NFSHAClusterArgs) { a.Projects[1].Clients[0] = "224.0.0.1" },
	`projects[1].clients[0]: "2001:db8::/32" is not a range of IPv4`:                                                func(a *NFSHAClusterArgs) { a.Projects[1].Clients[0] = "2001:db8::/32" },
	"projects[1].clients[0]: 128.0.0.0/1 is much of the Internet":                                                   func(a *NFSHAClusterArgs) { a.Projects[1].Clients[0] = "128.0.0.0/1" },
	"projects[1].clients[0]: the network v6 is not one of IPv4": func(a *NFSHAClusterArgs) {
		a.Plan.Networks = append(a.Plan.Networks, host.Network{Name: "v6", CIDR: "2001:db8::/64"})
		a.Projects[1].Clients[0] = "v6"
	},
	"provisioner.project: kubernetes is read-only": func(a *NFSHAClusterArgs) { a.Projects[1].ReadOnly = true },
	`hosts[1].name: the plan has no host "store3"`: func(a *NFSHAClusterArgs) {
		a.Hosts[1].Name = "store3"
		a.Disks["store3"] = a.Disks["store2"]
		delete(a.Disks, "store2")
	},
	"hosts[1].name: the last byte of 10.10.0.31, 31, is its number in the cluster, and store1's": func(a *NFSHAClusterArgs) { a.Plan.Hosts[1].Links[0].Address = "10.10.0.31" },
	"hosts[1].name: the last byte of 10.10.0.0, 0, is its number in the cluster, and 0 is none":  func(a *NFSHAClusterArgs) { a.Plan.Hosts[1].Links[0].Address = "10.10.0.0" },
	`witnesses[1].name: the plan has no host "edge9"`:                                            func(a *NFSHAClusterArgs) { a.Witnesses[1].Name = "edge9" },
	`witnesses[1].name: edge2 has no address on the networks "lan" and "storage"`:                func(a *NFSHAClusterArgs) { a.Plan.Hosts[3].Links = nil },
	`vip: "" is not an IPv4 address`:                                                             func(a *NFSHAClusterArgs) { a.VIP = "" },
	`vip: "2001:db8::1" is not an IPv4 address`:                                                  func(a *NFSHAClusterArgs) { a.VIP = "2001:db8::1" },
	"vip: 10.10.0.0 is the network's own or its broadcast address":                               func(a *NFSHAClusterArgs) { a.VIP = "10.10.0.0" },
	"volume: data/nfs has 508 MiB": func(a *NFSHAClusterArgs) {
		for _, d := range a.Disks {
			d.Groups[0].Volumes[0].Size = 508
		}
		a.Projects, a.Provisioner = nil, nil
	},
	"threads: -1 is outside 1 to 1024":                                                  func(a *NFSHAClusterArgs) { a.Threads = -1 },
	"threads: 1025 is outside 1 to 1024":                                                func(a *NFSHAClusterArgs) { a.Threads = 1025 },
	"resyncRate: 4 is outside 5 to 4000 MiB/s":                                          func(a *NFSHAClusterArgs) { a.ResyncRate = 4 },
	"resyncRate: 4001 is outside 5 to 4000 MiB/s":                                       func(a *NFSHAClusterArgs) { a.ResyncRate = 4001 },
	"token: 499ms is outside 500ms to 30s":                                              func(a *NFSHAClusterArgs) { a.Token = 499 * time.Millisecond },
	"token: 30.001s is outside 500ms to 30s":                                            func(a *NFSHAClusterArgs) { a.Token, a.Fencing.Watchdog.Timeout = 30001*time.Millisecond, time.Minute },
	"lease: 7.5s is outside 5s to 90s, in whole seconds":                                func(a *NFSHAClusterArgs) { a.Lease = 7500 * time.Millisecond },
	"lease: 1m31s is outside 5s to 90s":                                                 func(a *NFSHAClusterArgs) { a.Lease = 91 * time.Second },
	"fencing.watchdog.timeout: 1m1s is outside 3s to 1m":                                func(a *NFSHAClusterArgs) { a.Fencing.Watchdog.Timeout = 61 * time.Second },
	"fencing.watchdog.timeout: 3.5s is outside 3s to 1m, in whole":                      func(a *NFSHAClusterArgs) { a.Fencing.Watchdog.Timeout = 3500 * time.Millisecond },
	`fencing.watchdog.module: "soft dog" is not a kernel module`:                        func(a *NFSHAClusterArgs) { a.Fencing.Watchdog.Module = "soft dog" },
	`fencing.agents[2].host: "store3" is not a storage host; use one of store1, store2`: func(a *NFSHAClusterArgs) { a.Fencing = exampleAgents().Fencing; a.Fencing.Agents[2].Host = "store3" },
	`fencing.agents[0].package: "Fence Agents" is not a package`: func(a *NFSHAClusterArgs) {
		a.Fencing = exampleAgents().Fencing
		a.Fencing.Agents[0].Package = "Fence Agents"
	},
	`fencing.agents[0].options: "IP Address" is not an option`: func(a *NFSHAClusterArgs) {
		a.Fencing = exampleAgents().Fencing
		a.Fencing.Agents[0].Options["IP Address"] = "x"
	},
	"fencing.agents[0].options: pcmk_host_list is the host's name": func(a *NFSHAClusterArgs) {
		a.Fencing = exampleAgents().Fencing
		a.Fencing.Agents[0].Options["pcmk_host_list"] = "x"
	},
	`fencing.agents[0].options.username: "a\nb" is not a value on one line`: func(a *NFSHAClusterArgs) {
		a.Fencing = exampleAgents().Fencing
		a.Fencing.Agents[0].Options["username"] = "a\nb"
	},
	`fencing.agents[0].options.username: "[secret x]" is not a value`: func(a *NFSHAClusterArgs) {
		a.Fencing = exampleAgents().Fencing
		a.Fencing.Agents[0].Options["username"] = "[secret x]"
	},
	"fencing.agents[0].options: username is a secret too": func(a *NFSHAClusterArgs) {
		a.Fencing = exampleAgents().Fencing
		a.Fencing.Agents[0].Secrets["username"] = pulumi.String("x")
	},
	`fencing.agents[0].secrets: "Pass Word" is not an option`: func(a *NFSHAClusterArgs) {
		a.Fencing = exampleAgents().Fencing
		a.Fencing.Agents[0].Secrets["Pass Word"] = pulumi.String("x")
	},
}

// The ends of each range are inside of it.
func TestValidateAcceptsTheEndsOfRanges(t *testing.T) {
	for name, change := range map[string]func(*NFSHAClusterArgs){
		"the shortest times": func(a *NFSHAClusterArgs) {
			a.Token, a.Lease, a.Fencing.Watchdog.Timeout = 500*time.Millisecond, 5*time.Second, 3*time.Second
		},
		"the longest": func(a *NFSHAClusterArgs) {
			a.Token, a.Lease, a.Fencing.Watchdog.Timeout = 30*time.Second, 90*time.Second, time.Minute
		},
		"a token as long as the watchdog": func(a *NFSHAClusterArgs) { a.Token = 5 * time.Second },
		"the least":                       func(a *NFSHAClusterArgs) { a.Threads, a.ResyncRate, a.Projects[0].Quota, a.Projects[0].ID = 1, 5, 1, 1 },
		"the most": func(a *NFSHAClusterArgs) {
			a.Threads, a.ResyncRate, a.Projects[0].ID = 1024, 4000, 2147483647
			a.Projects[0].Quota = a.capacity() - a.Projects[1].Quota - a.Projects[2].Quota
		},
		"a wide range of clients": func(a *NFSHAClusterArgs) { a.Projects[1].Clients[0] = "10.0.0.0/8" },
		"the smallest volume": func(a *NFSHAClusterArgs) {
			for _, d := range a.Disks {
				d.Groups[0].Volumes[0].Size = 512
			}
			a.Projects, a.Provisioner = nil, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := example()
			change(a)
			problems := a.Validate()
			require.NoError(t, problems.Err())
		})
	}
}

func TestValidateReportsEveryProblem(t *testing.T) {
	for want, spoil := range spoiled {
		t.Run(want, func(t *testing.T) {
			a := example()
			spoil(a)
			problems := a.Validate()
			all := problems.All()
			require.Len(t, all, 1, "%v", problems.Err())
			assert.True(t, strings.HasPrefix(all[0].String(), want), "got %s", all[0])
		})
	}
}

// What a hurried person could write, in one report.
func TestValidateReportsAll(t *testing.T) {
	a := example()
	a.Hosts = a.Hosts[:1]
	a.Witnesses = nil
	a.Fencing = Fencing{}
	a.VIP = "10.99.0.1"
	a.Disks["store1"].Groups[0].Volumes[0].Size = 51200
	a.Projects[0].Quota = 1000000
	a.Projects[1].Name = "../.."
	a.Projects[2].ID = 7
	a.Projects[2].Anywhere = false
	problems := a.Validate()
	golden.Compare(t, "testdata/terrible.golden", problems.Err().Error()+"\n")
	_, err := NewNFSHACluster(nil, "storage", a)
	require.ErrorContains(t, err, "storage: "+strings.SplitN(problems.Err().Error(), "\n", 2)[0])
}

func TestFlows(t *testing.T) {
	a := example()
	for _, f := range a.Flows() {
		problems := f.Validate(a.Plan)
		assert.NoError(t, problems.Err(), f.Name)
	}
	hosts := []string{"store1", "store2"}
	assert.Contains(t, a.Flows(), host.Flow{Name: "nfsha: drbd", To: hosts, Protocol: "tcp", Ports: []int{7788}, From: hosts})
	assert.Contains(t, a.Flows(), host.Flow{Name: "nfsha: witness", To: []string{"edge1", "edge2"}, Protocol: "tcp", Ports: []int{5403}, From: hosts})
	assert.Contains(t, a.Flows(), host.Flow{Name: "nfsha: nfs", To: hosts, Protocol: "tcp", Ports: []int{2049}, From: []string{"0.0.0.0/0", "10.10.0.40/29", "192.0.2.7", "lan"}})
}

func TestSecretsAreWords(t *testing.T) {
	a := exampleAgents()
	a.Fencing.Agents[0].Secrets["pass_word"] = pulumi.String("x")
	problems := a.Validate()
	require.NoError(t, problems.Err())
	assert.Equal(t, "fence-store1-1-pass-word", secretWord(a.agentID(0)+"-pass_word"))
}
