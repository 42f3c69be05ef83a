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
	"sync/atomic"

	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/halinux/halinux/tests/providers/engine"
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

// Server is a stand-in that serves on a port of 127.0.0.1. The plugin never closes
// the connection of a command; they all end with its process, and so with the
// engine's connection here.
type Server struct {
	engine.Server

	attempts, connections atomic.Int64
}

var _ pulumirpc.ResourceProviderServer = (*Server)(nil)

// Start serves on a free port of 127.0.0.1 until Close.
func Start() (*Server, error) {
	s := &Server{}
	return s, s.Serve(s, Version, func(*engine.Connection) {})
}

// Counts returns the SSH connections so far.
func (s *Server) Counts() Counts {
	return Counts{Attempts: s.attempts.Load(), Connections: s.connections.Load()}
}

// log is the engine's log for one resource.
type log struct {
	server *Server
	engine *engine.Connection
	urn    resource.URN
}

// status shows a message while it is the resource's latest.
func (l log) status(ctx context.Context, sev diag.Severity, msg string) {
	l.engine.Status(ctx, l.urn, sev, msg)
}

// message shows a message for good.
func (l log) message(ctx context.Context, sev diag.Severity, msg string) {
	l.engine.Log(ctx, l.urn, sev, msg)
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

// Check validates inputs, fills in defaults and marks secrets.
func (s *Server) Check(_ context.Context, req *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	r, urn, err := resourceOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	inputs, err := read(urn.Name(), "inputs", req.GetNews())
	if err != nil {
		return nil, err
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
	old, err := read(urn.Name(), "old inputs", req.GetOldInputs())
	if err != nil {
		return nil, err
	}
	state, err := read(urn.Name(), "state", req.GetOlds())
	if err != nil {
		return nil, err
	}
	inputs, err := read(urn.Name(), "inputs", req.GetNews())
	if err != nil {
		return nil, err
	}
	return r.diff(old, ignore(req.GetIgnoreChanges(), state, inputs)), nil
}

// Create makes the resource, or in a preview says what it would be like.
func (s *Server) Create(ctx context.Context, req *pulumirpc.CreateRequest) (*pulumirpc.CreateResponse, error) {
	r, urn, err := resourceOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	inputs, err := read(urn.Name(), "inputs", req.GetProperties())
	if err != nil {
		return nil, err
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
		e := engine.Of(ctx)
		ctx, cancel := e.Operation(ctx, req.GetTimeout())
		defer cancel()
		if err := r.create(ctx, log{s, e, urn}, state); err != nil {
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
	old, err := read(urn.Name(), "state", req.GetOlds())
	if err != nil {
		return nil, err
	}
	inputs, err := read(urn.Name(), "inputs", req.GetNews())
	if err != nil {
		return nil, err
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
		e := engine.Of(ctx)
		ctx, cancel := e.Operation(ctx, req.GetTimeout())
		defer cancel()
		if err := r.update(ctx, log{s, e, urn}, old, state); err != nil {
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
	state, err := read(urn.Name(), "state", req.GetProperties())
	if err != nil {
		return nil, err
	}
	e := engine.Of(ctx)
	ctx, cancel := e.Operation(ctx, req.GetTimeout())
	defer cancel()
	if err := r.delete(ctx, log{s, e, urn}, state); err != nil {
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

// read is what a call says of a resource.
func read(of, what string, s *structpb.Struct) (resource.PropertyMap, error) {
	return engine.Properties(of, what, s, plugin.MarshalOptions{
		KeepUnknowns: true, SkipNulls: true, KeepSecrets: true, KeepResources: true,
	})
}

func marshal(m resource.PropertyMap) (*structpb.Struct, error) {
	return plugin.MarshalProperties(m, plugin.MarshalOptions{
		KeepUnknowns: true, SkipNulls: true, KeepSecrets: true, KeepResources: true, KeepOutputValues: true,
	})
}
