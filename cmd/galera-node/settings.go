package main

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/halinux/halinux/components/galera/pod"
)

// settings are what the pod says of the node.
type settings struct {
	pod, namespace, ip string
	cluster, record    string
	peers              []string // host names, by ordinal
	ordinal            int
	options            string
	backups            []string // CronJobs

	data, socket, config, tls, schema string

	interval time.Duration // between two looks at the others
	patience time.Duration // without a primary component, before the server is given up
	rest     time.Duration // after a start that failed; doubled up to a minute
}

// settingsOf reads the environment.
func settingsOf(env func(string) string) (settings, error) {
	s := settings{
		pod: env(pod.EnvName), namespace: env(pod.EnvNamespace), ip: env(pod.EnvIP),
		cluster: env(pod.EnvCluster), record: env(pod.EnvRecord), options: env(pod.EnvOptions),
		peers: strings.Split(env(pod.EnvPeers), ","),
		data:  pod.Data, socket: pod.Socket, config: pod.Config, tls: pod.TLS, schema: pod.SchemaFolder,
		interval: time.Second, patience: 30 * time.Second, rest: time.Second,
	}
	if names := env(pod.EnvBackups); names != "" {
		s.backups = strings.Split(names, ",")
	}
	for name, value := range map[string]string{pod.EnvName: s.pod, pod.EnvNamespace: s.namespace, pod.EnvCluster: s.cluster, pod.EnvRecord: s.record} {
		if value == "" {
			return s, fmt.Errorf("%s is not set", name)
		}
	}
	if net.ParseIP(s.ip) == nil {
		return s, fmt.Errorf("%s: %q is not an address", pod.EnvIP, s.ip)
	}
	var err error
	if s.ordinal, err = strconv.Atoi(s.pod[strings.LastIndex(s.pod, "-")+1:]); err != nil {
		return s, fmt.Errorf("%s: %q does not end with a number, as pods of a StatefulSet do", pod.EnvName, s.pod)
	}
	if slices.Contains(s.peers, "") || s.ordinal >= len(s.peers) {
		return s, fmt.Errorf("%s: %q has no name for node %d", pod.EnvPeers, env(pod.EnvPeers), s.ordinal)
	}
	return s, nil
}

// podOf is the name of another node's pod.
func (s settings) podOf(ordinal int) string {
	return s.pod[:strings.LastIndex(s.pod, "-")+1] + strconv.Itoa(ordinal)
}
