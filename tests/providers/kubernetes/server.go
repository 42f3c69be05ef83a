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

	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	hostrpc "github.com/pulumi/pulumi/sdk/v3/go/pulumi/provider"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	// Plugin is the name of the published plugin.
	Plugin = "kubernetes"
	// Version is the version whose contract is kept.
	Version = "4.30.0"
)

// Server is a stand-in that serves on a port of 127.0.0.1. Each connection of an
// engine is a provider of its own, with its own configuration: what is one process
// of the published plugin.
type Server struct {
	pulumirpc.UnimplementedResourceProviderServer

	port int
	stop chan bool
	done <-chan error

	mu   sync.Mutex
	host *hostrpc.HostClient // of the engine that attached last
}

var _ pulumirpc.ResourceProviderServer = (*Server)(nil)

// Start serves on a free port of 127.0.0.1 until Close.
func Start() (*Server, error) {
	s := &Server{stop: make(chan bool)}
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: s.stop,
		Init: func(g *grpc.Server) error {
			pulumirpc.RegisterResourceProviderServer(g, s)
			return nil
		},
		Options: []grpc.ServerOption{grpc.StatsHandler(tracker{s})},
	})
	if err != nil {
		return nil, fmt.Errorf("serve the provider interface: %w", err)
	}
	s.port, s.done = handle.Port, handle.Done
	return s, nil
}

// Port is the TCP port on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// Close ends the server and what it is waiting for.
func (s *Server) Close() error {
	close(s.stop)
	return <-s.done
}

// provider is one connection of an engine, configured for one cluster.
type provider struct {
	server *Server
	ctx    context.Context // ends with the connection, or when the engine cancels
	end    context.CancelFunc

	mu       sync.Mutex
	host     *hostrpc.HostClient
	settings settings
	cluster  *cluster
	why      string // the cluster cannot be reached
}

type providerKey struct{}

// tracker ties a provider to its connection.
type tracker struct{ server *Server }

var _ stats.Handler = tracker{}

func (t tracker) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	p := &provider{server: t.server}
	p.ctx, p.end = context.WithCancel(context.Background())
	return context.WithValue(ctx, providerKey{}, p)
}

func (t tracker) HandleConn(ctx context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnEnd); ok {
		providerOf(ctx).end()
	}
}

func (tracker) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (tracker) HandleRPC(context.Context, stats.RPCStats)                       {}

func providerOf(ctx context.Context) *provider {
	p, ok := ctx.Value(providerKey{}).(*provider)
	if !ok {
		panic("kubernetes stand-in: call without a connection of an engine")
	}
	return p
}

// operation ends with the call, with the engine's Cancel, or with its connection.
func (p *provider) operation(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(p.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// say logs for a resource: while it is the latest (status), or for good.
func (p *provider) say(ctx context.Context, urn resource.URN, sev diag.Severity, status bool, text string) {
	p.mu.Lock()
	host := p.host
	p.mu.Unlock()
	if host == nil {
		// An engine that was silent for long comes back without attaching again.
		p.server.mu.Lock()
		host = p.server.host
		p.server.mu.Unlock()
	}
	if host == nil {
		return
	}
	// A line that is lost must not fail the work.
	if status {
		_ = host.LogStatus(ctx, sev, urn, text)
		return
	}
	_ = host.Log(ctx, sev, urn, text)
}

// Attach learns where the engine takes log lines.
func (s *Server) Attach(ctx context.Context, req *pulumirpc.PluginAttach) (*emptypb.Empty, error) {
	host, err := hostrpc.NewHostClient(req.GetAddress())
	if err != nil {
		return nil, fmt.Errorf("connect to the engine at %s: %w", req.GetAddress(), err)
	}
	p := providerOf(ctx)
	context.AfterFunc(p.ctx, func() { _ = host.Close() })
	p.mu.Lock()
	p.host = host
	p.mu.Unlock()
	s.mu.Lock()
	s.host = host
	s.mu.Unlock()
	return &emptypb.Empty{}, nil
}

// GetPluginInfo reports the version whose contract is kept.
func (s *Server) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: Version}, nil
}

// Cancel ends what is waited for.
func (s *Server) Cancel(ctx context.Context, _ *emptypb.Empty) (*emptypb.Empty, error) {
	providerOf(ctx).end()
	return &emptypb.Empty{}, nil
}

// resourceOf refuses what is no object of a cluster.
func resourceOf(urn string) (resource.URN, kind, error) {
	u := resource.URN(urn)
	k, err := kindOf(string(u.Type()))
	if err != nil {
		return u, kind{}, fmt.Errorf("%s: %w", u.Name(), err)
	}
	return u, k, nil
}

func unmarshal(s *structpb.Struct) (resource.PropertyMap, error) {
	return plugin.UnmarshalProperties(s, plugin.MarshalOptions{KeepUnknowns: true, KeepSecrets: true})
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
