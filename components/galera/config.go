package galera

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"text/template"

	"github.com/halinux/halinux/components/galera/pod"
)

//go:embed server.cnf.tmpl
var serverTemplate string

//go:embed binlog.cnf.tmpl
var binlogTemplate string

//go:embed backup.sh
var backupScript string

//go:embed restore.sh
var restoreScript string

// config is server.cnf, with the binary logs of the node of which backups are.
func (a *GaleraDBArgs) config() (string, error) {
	text := serverTemplate
	if a.logs() {
		text += binlogTemplate
	}
	t, err := template.New("server.cnf").Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"MaxConnections": a.maxConnections(), "BufferPool": a.memory() * 6 / 10, "LogFile": max(64, a.memory()/8),
		"Library": pod.Library, "TLS": pod.TLS, "Source": a.source(),
	})
	return b.String(), err
}

// providerOptions are those of the wsrep provider that all nodes share.
func (a *GaleraDBArgs) providerOptions() string {
	return strings.Join([]string{
		fmt.Sprintf("gcache.size=%dM", a.writeSetCache()), "gcache.recover=yes",
		// All writes wait until a member that is gone has been found to be: about a second
		// more than this. Galera has 5 s; much less takes a busy node for a dead
		// one.
		"evs.suspect_timeout=PT3S",
		// How often silent members are looked for, and those that are left agree; a third
		// of a second less than with Galera's own 0.5 and 1 s.
		"evs.inactive_check_period=PT0.25S", "evs.join_retrans_period=PT0.5S",
		"socket.ssl_cert=" + pod.TLS + "/tls.crt", "socket.ssl_key=" + pod.TLS + "/tls.key", "socket.ssl_ca=" + pod.TLS + "/ca.crt",
	}, ";")
}
