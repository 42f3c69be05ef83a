// Package providers gives the engine the resource plugins that this machine
// lacks. Users get the published plugins, since `pulumi up` downloads them;
// where nothing can be downloaded (an air-gapped site, this project's own
// tests) Attach starts a stand-in inside the calling process and says how the
// engine reaches it. A stand-in does the real work and keeps the contract of
// the plugin it stands in for, and it is used only where that plugin is absent.
package providers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"

	"github.com/halinux/halinux/tests/providers/command"
	"github.com/halinux/halinux/tests/providers/kubernetes"
)

// running is a stand-in that serves.
type running interface {
	// Port is where it listens on 127.0.0.1.
	Port() int
	Close() error
}

// standIn says which published plugin is replaced, and by what.
type standIn struct {
	plugin  string
	version semver.Version
	start   func() (running, error)
}

func standIns() []standIn {
	return []standIn{
		{
			plugin:  command.Plugin,
			version: semver.MustParse(command.Version),
			start:   func() (running, error) { return command.Start() },
		},
		{
			plugin:  kubernetes.Plugin,
			version: semver.MustParse(kubernetes.Version),
			start:   func() (running, error) { return kubernetes.Start() },
		},
	}
}

// Attached is the set of stand-ins that serve until Close.
type Attached struct {
	// Env is the environment that leads the Pulumi CLI to the stand-ins. It is
	// empty when every plugin is installed.
	Env map[string]string
	// StandIns names the plugins that are stood in for, in the order of the
	// table above; empty when every plugin is installed.
	StandIns []string

	servers []running
}

// Attach looks for each plugin where the engine looks (PATH in any version, then
// the plugin folder of PULUMI_HOME or ~/.pulumi in the SDK's) and starts a stand-in for each one that
// is missing. ctx bounds the search and the start only; Close ends the
// stand-ins. The stand-ins run in this process: its working directory and its
// SSH_AUTH_SOCK are the ones they see.
func Attach(ctx context.Context) (*Attached, error) {
	attached := &Attached{Env: map[string]string{}}
	var debug []string
	for _, s := range standIns() {
		found, err := installed(ctx, s.plugin, s.version)
		if err != nil {
			return nil, errors.Join(err, attached.Close())
		}
		if found {
			continue
		}
		server, err := s.start()
		if err != nil {
			err = fmt.Errorf("start the stand-in for plugin %s: %w", s.plugin, err)
			return nil, errors.Join(err, attached.Close())
		}
		attached.servers = append(attached.servers, server)
		attached.StandIns = append(attached.StandIns, s.plugin)
		debug = append(debug, fmt.Sprintf("%s:%d", s.plugin, server.Port()))
	}
	if len(debug) > 0 {
		attached.Env["PULUMI_DEBUG_PROVIDERS"] = strings.Join(debug, ",")
		// Else the engine tries to fetch each plugin that the state names,
		// attached or not, and waits for a network that may not be there.
		attached.Env["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] = "true"
	}
	return attached, nil
}

// Command is the stand-in for the command plugin, or nil when the published
// plugin is installed. It counts SSH connections.
func (a *Attached) Command() *command.Server {
	for _, s := range a.servers {
		if c, ok := s.(*command.Server); ok {
			return c
		}
	}
	return nil
}

// Close ends the stand-ins and every SSH connection they hold.
func (a *Attached) Close() error {
	var errs []error
	for _, s := range a.servers {
		errs = append(errs, s.Close())
	}
	a.servers = nil
	return errors.Join(errs...)
}

// installed asks the engine's own search, so that both always agree.
func installed(ctx context.Context, plugin string, version semver.Version) (bool, error) {
	quiet := diag.DefaultSink(io.Discard, io.Discard, diag.FormatOptions{Color: colors.Never})
	_, err := workspace.GetPluginInfo(ctx, quiet, workspace.PluginDescriptor{
		Name:    plugin,
		Kind:    apitype.ResourcePlugin,
		Version: &version,
	}, nil)
	var missing *workspace.MissingError
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &missing):
		return false, nil
	default:
		return false, fmt.Errorf("look for plugin %s %s: %w", plugin, version, err)
	}
}
