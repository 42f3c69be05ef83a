// Package kubernetes stands in for the published resource plugin `kubernetes`
// v4.30.0: it serves the engine's provider interface for any kind of object and
// its Patch, by server-side apply, with the same rules for names, namespaces,
// differences, replacements, waiting and clusters that do not answer
// (docs/decisions/kubernetes-stand-in.md lists them). Charts, YAML files,
// kustomizations and functions, which halinux does not use, are refused by name.
package kubernetes

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/halinux/halinux/tests/providers/engine"
)

const (
	// Plugin is the name of the published plugin.
	Plugin = "kubernetes"
	// Version is the version whose contract is kept.
	Version = "4.30.0"
)

// Server is a stand-in that serves on a port of 127.0.0.1.
type Server struct{ engine.Server }

var _ pulumirpc.ResourceProviderServer = (*Server)(nil)

// Start serves on a free port of 127.0.0.1 until Close.
func Start() (*Server, error) {
	s := &Server{}
	return s, s.Serve(s, Version, func(c *engine.Connection) { c.Value = &provider{Connection: c} })
}

// provider is one connection of an engine, configured for one cluster.
type provider struct {
	*engine.Connection

	mu       sync.Mutex
	settings settings
	cluster  *cluster
	why      string // the cluster cannot be reached
}

func providerOf(ctx context.Context) *provider { return engine.Of(ctx).Value.(*provider) }

// resourceOf refuses what is no object of a cluster.
func resourceOf(urn string) (resource.URN, kind, error) {
	u := resource.URN(urn)
	k, err := kindOf(string(u.Type()))
	if err != nil {
		return u, kind{}, fmt.Errorf("%s: %w", u.Name(), err)
	}
	return u, k, nil
}

// read is what a call says of an object, or of the provider.
func read(of, what string, s *structpb.Struct) (resource.PropertyMap, error) {
	return engine.Properties(of, what, s, plugin.MarshalOptions{KeepUnknowns: true, KeepSecrets: true})
}

func marshal(m resource.PropertyMap) (*structpb.Struct, error) {
	return plugin.MarshalProperties(m, plugin.MarshalOptions{KeepUnknowns: true, KeepSecrets: true})
}

// idOf is namespace/name, or the name of what has no namespace.
func idOf(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

func splitID(id string) (namespace, name string) {
	if ns, n, ok := strings.Cut(id, "/"); ok {
		return ns, n
	}
	return "", id
}
