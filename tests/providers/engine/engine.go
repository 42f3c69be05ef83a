// Package engine is what every stand-in is towards an engine: it serves the
// provider interface on a port of its own, keeps apart what belongs to different
// connections, and brings log lines to the engine. What a plugin does with
// resources is the stand-in's own matter.
package engine

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

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

// Server serves a stand-in, which embeds it, on a port of 127.0.0.1. It may serve
// several engines at once: what a published plugin keeps per process is kept per
// [Connection].
type Server struct {
	pulumirpc.UnimplementedResourceProviderServer

	version   string
	connected func(*Connection)

	port int
	stop chan bool
	done <-chan error

	mu          sync.Mutex
	connections map[*Connection]struct{}
	host        *hostrpc.HostClient // of the engine that attached last
}

// Serve serves a provider on a free port until Close. The version is what it says
// of itself; connected is called for each connection before its first call.
func (s *Server) Serve(provider pulumirpc.ResourceProviderServer, version string, connected func(*Connection)) error {
	s.version, s.connected = version, connected
	s.stop, s.connections = make(chan bool), map[*Connection]struct{}{}
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: s.stop,
		Init: func(g *grpc.Server) error {
			pulumirpc.RegisterResourceProviderServer(g, provider)
			return nil
		},
		Options: []grpc.ServerOption{grpc.StatsHandler(tracker{s})},
	})
	if err != nil {
		return fmt.Errorf("serve the provider interface: %w", err)
	}
	s.port, s.done = handle.Port, handle.Done
	return nil
}

// Port is the TCP port on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// Close ends everything that is done for any engine, and then the server.
func (s *Server) Close() error {
	s.mu.Lock()
	for c := range s.connections {
		c.end()
	}
	s.mu.Unlock()
	close(s.stop)
	return <-s.done
}

// Attach learns where the engine takes log lines.
func (s *Server) Attach(ctx context.Context, req *pulumirpc.PluginAttach) (*emptypb.Empty, error) {
	host, err := hostrpc.NewHostClient(req.GetAddress())
	if err != nil {
		return nil, fmt.Errorf("connect to the engine at %s: %w", req.GetAddress(), err)
	}
	c := Of(ctx)
	c.Keep(host)
	c.mu.Lock()
	c.host = host
	c.mu.Unlock()
	s.mu.Lock()
	s.host = host
	s.mu.Unlock()
	return &emptypb.Empty{}, nil
}

// GetPluginInfo reports the version whose contract is kept.
func (s *Server) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: s.version}, nil
}

// Cancel ends the connection's operations that are under way, see
// [Connection.Operation].
func (s *Server) Cancel(ctx context.Context, _ *emptypb.Empty) (*emptypb.Empty, error) {
	Of(ctx).cancel()
	return &emptypb.Empty{}, nil
}

// Connection is one connection of an engine: the life of one process of a
// published plugin.
type Connection struct {
	// Value is the stand-in's own: what a process of the plugin keeps.
	Value any

	server *Server
	ctx    context.Context
	end    context.CancelFunc
	ops    context.Context
	cancel context.CancelFunc // of the operations, by the engine's Cancel

	mu     sync.Mutex
	host   *hostrpc.HostClient
	opened []io.Closer
}

func (s *Server) connect() *Connection {
	c := &Connection{server: s}
	c.ctx, c.end = context.WithCancel(context.Background())
	c.ops, c.cancel = context.WithCancel(c.ctx)
	context.AfterFunc(c.ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, o := range c.opened {
			_ = o.Close()
		}
		c.opened = nil
		s.mu.Lock()
		delete(s.connections, c)
		s.mu.Unlock()
	})
	s.mu.Lock()
	s.connections[c] = struct{}{}
	s.mu.Unlock()
	s.connected(c)
	return c
}

// Keep closes what was opened when the connection ends, at once if it has ended.
func (c *Connection) Keep(opened io.Closer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		_ = opened.Close()
		return
	}
	c.opened = append(c.opened, opened)
}

// Operation derives the context of one call: it ends with the call, with the
// connection, by the engine's Cancel, or with the resource's custom timeout
// (seconds, 0 for none).
func (c *Connection) Operation(ctx context.Context, timeout float64) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.ops, cancel)
	if timeout > 0 {
		var expire context.CancelFunc
		ctx, expire = context.WithTimeout(ctx, time.Duration(timeout)*time.Second)
		return ctx, func() { expire(); stop(); cancel() }
	}
	return ctx, func() { stop(); cancel() }
}

// client is where the engine takes log lines, or nil.
func (c *Connection) client() *hostrpc.HostClient {
	c.mu.Lock()
	host := c.host
	c.mu.Unlock()
	if host != nil {
		return host
	}
	// An engine that was silent for long comes back on a new connection without
	// attaching again.
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.server.host
}

// Status shows a line while it is the resource's latest. A line that is lost must
// not fail the work.
func (c *Connection) Status(ctx context.Context, urn resource.URN, sev diag.Severity, text string) {
	if host := c.client(); host != nil {
		_ = host.LogStatus(ctx, sev, urn, text)
	}
}

// Log shows a line for good; likewise.
func (c *Connection) Log(ctx context.Context, urn resource.URN, sev diag.Severity, text string) {
	if host := c.client(); host != nil {
		_ = host.Log(ctx, sev, urn, text)
	}
}

type connectionKey struct{}

// Of is the connection that a call came by.
func Of(ctx context.Context) *Connection {
	c, ok := ctx.Value(connectionKey{}).(*Connection)
	if !ok {
		panic("stand-in: call without a connection of an engine")
	}
	return c
}

// tracker ties a [Connection] to the one that it is about.
type tracker struct{ server *Server }

var _ stats.Handler = tracker{}

func (t tracker) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, connectionKey{}, t.server.connect())
}

func (t tracker) HandleConn(ctx context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnEnd); ok {
		Of(ctx).end()
	}
}

func (tracker) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (tracker) HandleRPC(context.Context, stats.RPCStats)                       {}

// Properties reads what a call says of something: "inputs", "state".
func Properties(of, what string, s *structpb.Struct, options plugin.MarshalOptions) (resource.PropertyMap, error) {
	m, err := plugin.UnmarshalProperties(s, options)
	if err != nil {
		return nil, fmt.Errorf("%s: read %s: %w", of, what, err)
	}
	return m, nil
}
