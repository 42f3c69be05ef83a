// Package command stands in for the published resource plugin `command`
// v1.2.1: it serves the engine's provider interface and does the same work over
// real SSH connections, with the same rules for defaults, differences, secrets
// and retries, the weak points included (docs/decisions/command-stand-in.md
// lists them). It offers the resources of the module `remote`; those of
// `local`, which halinux does not use, are refused by name.
package command

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	hostrpc "github.com/pulumi/pulumi/sdk/v3/go/pulumi/provider"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	// Plugin is the name of the published plugin.
	Plugin = "command"
	// Version is the version whose contract is kept.
	Version = "1.2.1"
)

// Counts are the SSH connections since Start.
type Counts struct {
	// Attempts counts dials, failed ones included.
	Attempts int64
	// Connections counts those that got through authentication.
	Connections int64
}

// Server is a stand-in that serves on a port of 127.0.0.1. It may serve several
// engines at once: what the published plugin keeps per process is kept per
// connection of an engine here.
type Server struct {
	pulumirpc.UnimplementedResourceProviderServer

	port int
	stop chan bool
	done <-chan error

	attempts, connections atomic.Int64

	mu      sync.Mutex
	engines map[*engine]struct{}
	host    *hostrpc.HostClient // of the engine that attached last
}

var _ pulumirpc.ResourceProviderServer = (*Server)(nil)

// Start serves on a free port of 127.0.0.1 until Close.
func Start() (*Server, error) {
	s := &Server{stop: make(chan bool), engines: map[*engine]struct{}{}}
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: s.stop,
		Init: func(g *grpc.Server) error {
			pulumirpc.RegisterResourceProviderServer(g, s)
			return nil
		},
		Options: []grpc.ServerOption{grpc.StatsHandler(engineTracker{s})},
	})
	if err != nil {
		return nil, fmt.Errorf("serve the provider interface: %w", err)
	}
	s.port, s.done = handle.Port, handle.Done
	return s, nil
}

// Port is the TCP port on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// Counts returns the SSH connections so far.
func (s *Server) Counts() Counts {
	return Counts{Attempts: s.attempts.Load(), Connections: s.connections.Load()}
}

// Close ends every SSH connection, which ends the commands that wait on them,
// and then the server.
func (s *Server) Close() error {
	s.mu.Lock()
	for e := range s.engines {
		e.end()
	}
	s.mu.Unlock()
	close(s.stop)
	return <-s.done
}

// engine is one connection of an engine: the life of one process of the
// published plugin. The plugin never closes the connection of a command; they
// all end with its process, and so with the engine's connection here.
type engine struct {
	server *Server
	ctx    context.Context
	end    context.CancelFunc

	mu     sync.Mutex
	host   *hostrpc.HostClient
	opened []io.Closer
	cancel context.CancelFunc // of the operations, by the engine's Cancel
	ops    context.Context
}

func (s *Server) newEngine() *engine {
	e := &engine{server: s}
	e.ctx, e.end = context.WithCancel(context.Background())
	e.ops, e.cancel = context.WithCancel(e.ctx)
	context.AfterFunc(e.ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, c := range e.opened {
			_ = c.Close()
		}
		e.opened = nil
		s.mu.Lock()
		delete(s.engines, e)
		s.mu.Unlock()
	})
	s.mu.Lock()
	s.engines[e] = struct{}{}
	s.mu.Unlock()
	return e
}

// keep closes c when the engine goes away, at once if it has gone already.
func (e *engine) keep(c io.Closer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		_ = c.Close()
		return
	}
	e.opened = append(e.opened, c)
}

// operation derives the context of one call: it ends with the call, the
// engine's Cancel, or the resource's custom timeout (seconds, 0 = none).
func (e *engine) operation(ctx context.Context, timeout float64) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.ops, cancel)
	if timeout > 0 {
		var expire context.CancelFunc
		ctx, expire = context.WithTimeout(ctx, time.Duration(timeout)*time.Second)
		return ctx, func() { expire(); stop(); cancel() }
	}
	return ctx, func() { stop(); cancel() }
}

// log is the engine's log for one resource.
type log struct {
	engine *engine
	urn    resource.URN
}

func (l log) client() *hostrpc.HostClient {
	l.engine.mu.Lock()
	host := l.engine.host
	l.engine.mu.Unlock()
	if host != nil {
		return host
	}
	// An engine that was silent for long comes back on a new connection without
	// attaching again.
	l.engine.server.mu.Lock()
	defer l.engine.server.mu.Unlock()
	return l.engine.server.host
}

// status shows a message while it is the resource's latest.
func (l log) status(ctx context.Context, sev diag.Severity, msg string) {
	if host := l.client(); host != nil {
		// A log line that is lost must not fail the work.
		_ = host.LogStatus(ctx, sev, l.urn, msg)
	}
}

// message shows a message for good.
func (l log) message(ctx context.Context, sev diag.Severity, msg string) {
	if host := l.client(); host != nil {
		_ = host.Log(ctx, sev, l.urn, msg)
	}
}

type engineKey struct{}

// engineTracker ties an engine's state to its connection.
type engineTracker struct{ server *Server }

var _ stats.Handler = engineTracker{}

func (t engineTracker) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return context.WithValue(ctx, engineKey{}, t.server.newEngine())
}

func (t engineTracker) HandleConn(ctx context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnEnd); ok {
		engineOf(ctx).end()
	}
}

func (engineTracker) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (engineTracker) HandleRPC(context.Context, stats.RPCStats)                       {}

func engineOf(ctx context.Context) *engine {
	e, ok := ctx.Value(engineKey{}).(*engine)
	if !ok {
		panic("command stand-in: call without a connection of an engine")
	}
	return e
}

// Attach learns where the engine takes log lines.
func (s *Server) Attach(ctx context.Context, req *pulumirpc.PluginAttach) (*emptypb.Empty, error) {
	host, err := hostrpc.NewHostClient(req.GetAddress())
	if err != nil {
		return nil, fmt.Errorf("connect to the engine at %s: %w", req.GetAddress(), err)
	}
	e := engineOf(ctx)
	e.keep(host)
	e.mu.Lock()
	e.host = host
	e.mu.Unlock()
	s.mu.Lock()
	s.host = host
	s.mu.Unlock()
	return &emptypb.Empty{}, nil
}

// GetPluginInfo reports the version whose contract is kept.
func (s *Server) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: Version}, nil
}

// CheckConfig accepts the provider's configuration: the plugin has none.
func (s *Server) CheckConfig(_ context.Context, req *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	return &pulumirpc.CheckResponse{Inputs: req.GetNews()}, nil
}

// DiffConfig finds no difference: the plugin has no configuration.
func (s *Server) DiffConfig(context.Context, *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	return &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE}, nil
}

// Configure tells the engine what this end understands.
func (s *Server) Configure(context.Context, *pulumirpc.ConfigureRequest) (*pulumirpc.ConfigureResponse, error) {
	return &pulumirpc.ConfigureResponse{
		AcceptSecrets:   true,
		SupportsPreview: true,
		AcceptResources: true,
		AcceptOutputs:   true,
	}, nil
}

// Cancel ends the retries of dials that are under way. A command that runs is
// not ended: the published plugin cannot either.
func (s *Server) Cancel(ctx context.Context, _ *emptypb.Empty) (*emptypb.Empty, error) {
	engineOf(ctx).cancel()
	return &emptypb.Empty{}, nil
}

// Check validates inputs, fills in defaults and marks secrets.
func (s *Server) Check(_ context.Context, req *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	r, urn, err := resourceOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	inputs, err := unmarshal(req.GetNews())
	if err != nil {
		return nil, fmt.Errorf("%s: read inputs: %w", urn.Name(), err)
	}
	checked, failures := r.check(inputs)
	out, err := marshal(checked)
	if err != nil {
		return nil, fmt.Errorf("%s: return inputs: %w", urn.Name(), err)
	}
	return &pulumirpc.CheckResponse{Inputs: out, Failures: failures}, nil
}

// Diff compares the inputs of the last run with the new ones.
func (s *Server) Diff(_ context.Context, req *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	r, urn, err := resourceOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	old, err := unmarshal(req.GetOldInputs())
	if err != nil {
		return nil, fmt.Errorf("%s: read old inputs: %w", urn.Name(), err)
	}
	state, err := unmarshal(req.GetOlds())
	if err != nil {
		return nil, fmt.Errorf("%s: read state: %w", urn.Name(), err)
	}
	inputs, err := unmarshal(req.GetNews())
	if err != nil {
		return nil, fmt.Errorf("%s: read inputs: %w", urn.Name(), err)
	}
	return r.diff(old, ignore(req.GetIgnoreChanges(), state, inputs)), nil
}

// Create makes the resource, or in a preview says what it would be like.
func (s *Server) Create(ctx context.Context, req *pulumirpc.CreateRequest) (*pulumirpc.CreateResponse, error) {
	r, urn, err := resourceOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	inputs, err := unmarshal(req.GetProperties())
	if err != nil {
		return nil, fmt.Errorf("%s: read inputs: %w", urn.Name(), err)
	}
	prefix := ""
	if r.commands {
		prefix = urn.Name()
	}
	id, err := resource.NewUniqueHex(prefix, 8, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: make an id: %w", urn.Name(), err)
	}
	state := inputs.Copy()
	if req.GetPreview() {
		if r.commands {
			state["stdout"] = resource.MakeComputed(resource.NewProperty(""))
			state["stderr"] = resource.MakeComputed(resource.NewProperty(""))
		}
	} else {
		e := engineOf(ctx)
		ctx, cancel := e.operation(ctx, req.GetTimeout())
		defer cancel()
		if err := r.create(ctx, log{e, urn}, state); err != nil {
			return nil, err
		}
	}
	out, err := marshal(state)
	if err != nil {
		return nil, fmt.Errorf("%s: return outputs: %w", urn.Name(), err)
	}
	return &pulumirpc.CreateResponse{Id: id, Properties: out}, nil
}

// Update brings the resource to new inputs.
func (s *Server) Update(ctx context.Context, req *pulumirpc.UpdateRequest) (*pulumirpc.UpdateResponse, error) {
	r, urn, err := resourceOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	if r.update == nil {
		return nil, status.Errorf(codes.Unimplemented, "update is not implemented for resource %s", urn)
	}
	old, err := unmarshal(req.GetOlds())
	if err != nil {
		return nil, fmt.Errorf("%s: read state: %w", urn.Name(), err)
	}
	inputs, err := unmarshal(req.GetNews())
	if err != nil {
		return nil, fmt.Errorf("%s: read inputs: %w", urn.Name(), err)
	}
	inputs = ignore(req.GetIgnoreChanges(), old, inputs)
	state := inputs.Copy()
	if r.commands {
		// Without a command to run the outputs stay. Whether they are secret is
		// the engine's to say again (additionalSecretOutputs).
		state["stdout"], state["stderr"] = public(old["stdout"]), public(old["stderr"])
	}
	if req.GetPreview() {
		if r.commands && r.changed(old, inputs) {
			state["stdout"] = unknown(state["stdout"])
			state["stderr"] = unknown(state["stderr"])
		}
	} else {
		e := engineOf(ctx)
		ctx, cancel := e.operation(ctx, req.GetTimeout())
		defer cancel()
		if err := r.update(ctx, log{e, urn}, old, state); err != nil {
			return nil, err
		}
	}
	out, err := marshal(state)
	if err != nil {
		return nil, fmt.Errorf("%s: return outputs: %w", urn.Name(), err)
	}
	return &pulumirpc.UpdateResponse{Properties: out}, nil
}

// Delete undoes the resource.
func (s *Server) Delete(ctx context.Context, req *pulumirpc.DeleteRequest) (*emptypb.Empty, error) {
	r, urn, err := resourceOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	if r.delete == nil {
		return &emptypb.Empty{}, nil
	}
	state, err := unmarshal(req.GetProperties())
	if err != nil {
		return nil, fmt.Errorf("%s: read state: %w", urn.Name(), err)
	}
	e := engineOf(ctx)
	ctx, cancel := e.operation(ctx, req.GetTimeout())
	defer cancel()
	if err := r.delete(ctx, log{e, urn}, state); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// Read returns what it was given: the plugin never looks at a host again.
func (s *Server) Read(_ context.Context, req *pulumirpc.ReadRequest) (*pulumirpc.ReadResponse, error) {
	return &pulumirpc.ReadResponse{
		Id:         req.GetId(),
		Properties: req.GetProperties(),
		Inputs:     req.GetInputs(),
	}, nil
}

func resourceOf(urn string) (kind, resource.URN, error) {
	u := resource.URN(urn)
	r, ok := kinds[string(u.Type())]
	if !ok {
		return kind{}, u, status.Errorf(codes.NotFound,
			"%s: the stand-in for plugin command offers no %s; install the published plugin to use it",
			u.Name(), u.Type())
	}
	return r, u, nil
}

// ignore puts the state's value in place of each top-level input that a
// resource ignores changes of.
func ignore(names []string, state, inputs resource.PropertyMap) resource.PropertyMap {
	inputs = inputs.Copy()
	for _, name := range names {
		if v, ok := state[resource.PropertyKey(name)]; ok {
			inputs[resource.PropertyKey(name)] = v
		}
	}
	return inputs
}

func unmarshal(s *structpb.Struct) (resource.PropertyMap, error) {
	return plugin.UnmarshalProperties(s, plugin.MarshalOptions{
		KeepUnknowns: true, SkipNulls: true, KeepSecrets: true, KeepResources: true,
	})
}

func marshal(m resource.PropertyMap) (*structpb.Struct, error) {
	return plugin.MarshalProperties(m, plugin.MarshalOptions{
		KeepUnknowns: true, SkipNulls: true, KeepSecrets: true, KeepResources: true, KeepOutputValues: true,
	})
}
