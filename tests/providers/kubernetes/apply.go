package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil/rpcerror"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/structpb"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// awaited are the kinds whose readiness is waited for.
var awaited = sets.New("apps/v1/DaemonSet", "apps/v1/Deployment", "apps/v1/StatefulSet", "batch/v1/Job", "v1/PersistentVolume",
	"v1/PersistentVolumeClaim", "v1/Pod", "v1/ReplicationController", "v1/Service", "networking.k8s.io/v1/Ingress",
	"apiextensions.k8s.io/v1/CustomResourceDefinition")

// poll is how often an object is looked at that is waited for.
const poll = 500 * time.Millisecond

// objects is the way to the objects of a kind, in the namespace of one of them.
func (p *provider) objects(k kind, o *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	if p.cluster == nil {
		return nil, fmt.Errorf("configured Kubernetes cluster is unreachable: %s", p.why)
	}
	mapping, err := p.cluster.mapper.RESTMapping(k.GroupKind(), k.Version)
	if err != nil {
		return nil, err
	}
	all := p.cluster.dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return all, nil
	}
	namespace := o.GetNamespace()
	if namespace == "" {
		namespace = defaultSpace
	}
	return all.Namespace(namespace), nil
}

// again repeats what fails because something is not there yet, the kind or the
// namespace: five times, with growing pauses.
func (p *provider) again(ctx context.Context, urn resource.URN, work func() error) error {
	backoff := wait.Backoff{Duration: time.Second, Factor: 2, Steps: 6}
	var last error
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		last = work()
		switch {
		case last == nil:
			return true, nil
		case meta.IsNoMatchError(last):
			p.cluster.mapper.Reset()
		case !apierrors.IsNotFound(last):
			return false, last
		}
		p.Status(ctx, urn, diag.Info, fmt.Sprintf("Retry; creation failed: %v", last))
		return false, nil
	})
	if wait.Interrupted(err) {
		return errors.Join(last, ctx.Err())
	}
	return err
}

// apply sends an object for a field manager.
func apply(ctx context.Context, objects dynamic.ResourceInterface, o *unstructured.Unstructured, manager string, force, dry bool) (*unstructured.Unstructured, error) {
	text, err := json.Marshal(o.Object)
	if err != nil {
		return nil, err
	}
	options := metav1.PatchOptions{FieldManager: manager, Force: &force}
	if dry {
		options.DryRun = []string{metav1.DryRunAll}
	}
	out, err := objects.Patch(ctx, o.GetName(), types.ApplyPatchType, text, options)
	if apierrors.IsConflict(err) {
		return nil, fmt.Errorf("server-side apply field conflict detected; the resource managed by field manager %q had an apply conflict: %w", manager, err)
	}
	return out, err
}

func (p *provider) manager(o *unstructured.Unstructured, have string) (string, error) {
	if m := annotation(o, patchManager); m != "" {
		return m, nil
	}
	if have != "" {
		return have, nil
	}
	return resource.NewUniqueName(nil, clientManager+"-", 0, 0, nil)
}

func (p *provider) force(o *unstructured.Unstructured, dry bool) bool {
	return dry || p.settings.force || isTrue(o, patchForce)
}

// known tells whether the cluster has the kind.
func (p *provider) known(k kind) bool {
	if p.cluster == nil {
		return false
	}
	_, err := p.cluster.mapper.RESTMapping(k.GroupKind(), k.Version)
	return err == nil
}

// Create makes an object; one that is there already is an error, but for a Patch.
func (s *Server) Create(ctx context.Context, req *pulumirpc.CreateRequest) (*pulumirpc.CreateResponse, error) {
	p := providerOf(ctx)
	urn, k, err := resourceOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	if !req.GetPreview() && p.cluster == nil {
		return nil, fmt.Errorf("configured Kubernetes cluster is unreachable: %s", p.why)
	}
	news, err := read(urn.Name(), "inputs", req.GetProperties())
	if err != nil {
		return nil, err
	}
	inputs, err := toObject(news, k)
	if err != nil {
		return nil, fmt.Errorf("%s: read inputs: %w", urn.Name(), err)
	}
	asTheyAre := &pulumirpc.CreateResponse{Properties: req.GetProperties()}
	if req.GetPreview() && (hasUnknown(inputs.Object) || k.patch || !p.known(k)) {
		return asTheyAre, nil
	}
	ctx, cancel := p.Operation(ctx, 0)
	defer cancel()
	manager, err := p.manager(inputs, "")
	if err != nil {
		return nil, err
	}
	var live *unstructured.Unstructured
	create := func() error {
		objects, err := p.objects(k, inputs)
		if err != nil {
			return err
		}
		if k.patch || p.settings.upsert {
			live, err = apply(ctx, objects, inputs, manager, p.force(inputs, req.GetPreview()), req.GetPreview())
			return err
		}
		options := metav1.CreateOptions{FieldManager: clientManager}
		if req.GetPreview() {
			options.DryRun = []string{metav1.DryRunAll}
		}
		live, err = objects.Create(ctx, inputs, options)
		return err
	}
	if req.GetPreview() {
		// The object may need a namespace that this very run makes, may be in the
		// way of itself (a replacement), or may be more than this user may try.
		if err := create(); err != nil {
			if apierrors.IsNotFound(err) || apierrors.IsForbidden(err) || apierrors.IsAlreadyExists(err) {
				return asTheyAre, nil
			}
			return nil, fmt.Errorf("resource %q was not successfully created by the Kubernetes API server: %w", urn, err)
		}
		// A status that is not there yet is nothing that a program may read.
		delete(live.Object, "status")
	} else if err := p.again(ctx, urn, create); err != nil {
		if apierrors.IsAlreadyExists(err) {
			err = fmt.Errorf("%w: the resource already exists in the cluster; import it, or use a Patch resource", err)
		}
		return nil, fmt.Errorf("resource %q was not successfully created by the Kubernetes API server: %w", urn, err)
	}
	id := ""
	var unready error
	if !req.GetPreview() {
		id = idOf(live.GetNamespace(), live.GetName())
		live, unready = p.ready(ctx, urn, k, inputs, live, req.GetTimeout())
		if k.Kind == "CustomResourceDefinition" {
			p.cluster.mapper.Reset()
		}
	}
	out, err := marshal(state(inputs, live, news, manager, inputs.GetAPIVersion()))
	if err != nil {
		return nil, fmt.Errorf("%s: return outputs: %w", urn.Name(), err)
	}
	if unready != nil {
		return nil, partial(id, fmt.Errorf("resource %q was successfully created, but the Kubernetes API server reported that it failed to fully initialize or become live: %w", urn, unready), out)
	}
	return &pulumirpc.CreateResponse{Id: id, Properties: out}, nil
}

// Update brings an object to new inputs.
func (s *Server) Update(ctx context.Context, req *pulumirpc.UpdateRequest) (*pulumirpc.UpdateResponse, error) {
	p := providerOf(ctx)
	urn, k, err := resourceOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	if !req.GetPreview() && p.cluster == nil {
		return nil, fmt.Errorf("configured Kubernetes cluster is unreachable: %s", p.why)
	}
	olds, err := read(urn.Name(), "state", req.GetOlds())
	if err != nil {
		return nil, err
	}
	news, err := read(urn.Name(), "inputs", req.GetNews())
	if err != nil {
		return nil, err
	}
	inputs, err := toObject(news, k)
	if err != nil {
		return nil, fmt.Errorf("%s: read inputs: %w", urn.Name(), err)
	}
	if req.GetPreview() && (hasUnknown(inputs.Object) || !p.known(k)) {
		return &pulumirpc.UpdateResponse{Properties: req.GetNews()}, nil
	}
	inputs = normalize(inputs)
	said, old, had, err := fromState(olds, k)
	if err != nil {
		return nil, fmt.Errorf("%s: read state: %w", urn.Name(), err)
	}
	before, err := p.manager(said, had)
	if err != nil {
		return nil, err
	}
	manager, err := p.manager(inputs, had)
	if err != nil {
		return nil, err
	}
	ctx, cancel := p.Operation(ctx, 0)
	defer cancel()
	failed := func(err error) error { return fmt.Errorf("update of resource %q failed: %w", urn, err) }
	objects, err := p.objects(k, old)
	if err != nil {
		return nil, failed(err)
	}
	if !req.GetPreview() {
		if err := own(ctx, objects, old.GetName(), manager); err != nil {
			return nil, failed(err)
		}
	}
	live, err := apply(ctx, objects, inputs, manager, p.force(inputs, req.GetPreview()), req.GetPreview())
	switch {
	case err != nil && req.GetPreview() && apierrors.IsForbidden(err):
		return &pulumirpc.UpdateResponse{Properties: req.GetNews()}, nil
	case err != nil:
		return nil, failed(err)
	}
	var unready error
	if !req.GetPreview() {
		live, unready = p.ready(ctx, urn, k, inputs, live, req.GetTimeout())
		if before != manager {
			if err := relinquish(ctx, objects, old, before); err != nil {
				return nil, failed(err)
			}
		}
	}
	out, err := marshal(state(inputs, live, news, manager, inputs.GetAPIVersion()))
	if err != nil {
		return nil, fmt.Errorf("%s: return outputs: %w", urn.Name(), err)
	}
	if unready != nil {
		id := idOf(live.GetNamespace(), live.GetName())
		return nil, partial(id, fmt.Errorf("the Kubernetes API server reported that %q failed to fully initialize or become live: %w", id, unready), out)
	}
	return &pulumirpc.UpdateResponse{Properties: out}, nil
}

// own makes fields that came by a plain create those of a field manager: else its
// first apply could not take any of them away.
func own(ctx context.Context, objects dynamic.ResourceInterface, name, manager string) error {
	live, err := objects.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(live, sets.New(clientManager), manager)
	if err != nil || len(patch) == 0 {
		return err
	}
	_, err = objects.Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{})
	return err
}

// relinquish gives up all fields that a manager owns: what nobody else owns goes.
func relinquish(ctx context.Context, objects dynamic.ResourceInterface, o *unstructured.Unstructured, manager string) error {
	bare := &unstructured.Unstructured{Object: map[string]any{}}
	bare.SetGroupVersionKind(o.GroupVersionKind())
	bare.SetName(o.GetName())
	bare.SetNamespace(o.GetNamespace())
	_, err := apply(ctx, objects, bare, manager, true, false)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// limit is how long a resource may take: the program's word, or its annotation's,
// or ten minutes.
func limit(seconds float64, inputs *unstructured.Unstructured) time.Duration {
	if seconds > 0 {
		return time.Duration(seconds * float64(time.Second))
	}
	if n, err := strconv.Atoi(annotation(inputs, timeoutOf)); err == nil {
		return time.Duration(n) * time.Second
	}
	return 10 * time.Minute
}

// ready waits until an object is, and returns it as it is then. Its error says
// what it was waiting for last.
func (p *provider) ready(ctx context.Context, urn resource.URN, k kind, inputs, live *unstructured.Unstructured, seconds float64) (*unstructured.Unstructured, error) {
	id := strings.TrimPrefix(k.Group+"/"+k.Version+"/"+k.Kind, "/")
	if k.patch || isTrue(inputs, skipAwait) || (!awaited.Has(id) && os.Getenv("PULUMI_K8S_AWAIT_ALL") != "true") {
		return live, nil
	}
	objects, err := p.objects(k, live)
	if err != nil {
		return live, err
	}
	why := ""
	err = wait.PollUntilContextTimeout(ctx, poll, limit(seconds, inputs), true, func(ctx context.Context) (bool, error) {
		now, err := objects.Get(ctx, live.GetName(), metav1.GetOptions{})
		if err != nil {
			// The API server may be away for a moment.
			why = err.Error()
			return false, nil
		}
		live = now
		result, err := status.Compute(now)
		if err != nil {
			return false, err
		}
		if why != result.Message {
			p.Status(ctx, urn, diag.Info, result.Message)
		}
		why = result.Message
		switch result.Status {
		case status.CurrentStatus:
			// A Job that has started is current for kstatus; the plugin waits for its end.
			return k.Kind != "Job" || completed(now), nil
		case status.FailedStatus:
			return false, errors.New(result.Message)
		}
		// A volume that is made for its first pod waits for that one.
		return k.Kind == "PersistentVolumeClaim" && waitsForPod(ctx, p, now), nil
	})
	if wait.Interrupted(err) {
		return live, fmt.Errorf("it was not ready in time: %s", why)
	}
	return live, err
}

// completed tells whether a Job has ended well.
func completed(job *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(job.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(c any) bool {
		m, _ := c.(map[string]any)
		return m["type"] == "Complete" && m["status"] == "True"
	})
}

// waitsForPod tells whether a claim's class binds it when a pod uses it.
func waitsForPod(ctx context.Context, p *provider, claim *unstructured.Unstructured) bool {
	class, _, _ := unstructured.NestedString(claim.Object, "spec", "storageClassName")
	if class == "" {
		return false
	}
	k, err := kindOf("kubernetes:storage.k8s.io/v1:StorageClass")
	if err != nil {
		return false
	}
	objects, err := p.objects(k, claim)
	if err != nil {
		return false
	}
	o, err := objects.Get(ctx, class, metav1.GetOptions{})
	if err != nil {
		return false
	}
	mode, _, _ := unstructured.NestedString(o.Object, "volumeBindingMode")
	return mode == "WaitForFirstConsumer"
}

// partial is the error of what is there and not as it should be: the engine keeps
// its state, and tries again.
func partial(id string, reason error, out *structpb.Struct) error {
	return rpcerror.WithDetails(rpcerror.New(codes.Unknown, reason.Error()),
		&pulumirpc.ErrorResourceInitFailed{Id: id, Reasons: []string{reason.Error()}, Properties: out})
}

// Read looks at an object: what the program said becomes what is there of it.
func (s *Server) Read(ctx context.Context, req *pulumirpc.ReadRequest) (*pulumirpc.ReadResponse, error) {
	p := providerOf(ctx)
	urn, k, err := resourceOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	if p.cluster == nil {
		p.Log(ctx, urn, diag.Warning, "configured Kubernetes cluster is unreachable: "+p.why)
		switch {
		case p.settings.deleteUnreachable:
			return &pulumirpc.ReadResponse{}, nil
		case p.settings.skipUpdateUnreachable:
			return &pulumirpc.ReadResponse{Id: req.GetId(), Properties: req.GetProperties(), Inputs: req.GetInputs()}, nil
		}
		return nil, errors.New("failed to read resource state due to unreachable cluster. If the cluster was deleted, you can remove this resource from Pulumi state by rerunning the operation with the PULUMI_K8S_DELETE_UNREACHABLE environment variable set to \"true\"")
	}
	olds, err := read(urn.Name(), "state", req.GetProperties())
	if err != nil {
		return nil, err
	}
	from, err := read(urn.Name(), "inputs", req.GetInputs())
	if err != nil {
		return nil, err
	}
	inputs, err := toObject(from, k)
	if err != nil {
		return nil, fmt.Errorf("%s: read inputs: %w", urn.Name(), err)
	}
	_, _, had, err := fromState(olds, k)
	if err != nil {
		return nil, fmt.Errorf("%s: read state: %w", urn.Name(), err)
	}
	imported := len(from) == 0
	inputs = normalize(inputs)
	namespace, name := splitID(req.GetId())
	at := &unstructured.Unstructured{Object: map[string]any{}}
	at.SetNamespace(namespace)
	ctx, cancel := p.Operation(ctx, 0)
	defer cancel()
	objects, err := p.objects(k, at)
	if meta.IsNoMatchError(err) {
		return &pulumirpc.ReadResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	live, err := objects.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &pulumirpc.ReadResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	if imported {
		inputs = normalize(live)
		delete(inputs.Object, "status")
	} else {
		inputs = &unstructured.Unstructured{Object: like(live.Object, inputs.Object).(map[string]any)}
	}
	manager, err := p.manager(inputs, had)
	if err != nil {
		return nil, err
	}
	out, err := marshal(state(inputs, live, from, manager, inputs.GetAPIVersion()))
	if err != nil {
		return nil, fmt.Errorf("%s: return outputs: %w", urn.Name(), err)
	}
	now := properties(inputs.Object)
	markSecrets(now, from)
	said, err := marshal(now)
	if err != nil {
		return nil, fmt.Errorf("%s: return inputs: %w", urn.Name(), err)
	}
	return &pulumirpc.ReadResponse{Id: req.GetId(), Properties: out, Inputs: said}, nil
}

// Delete removes an object and waits until it is gone; of a Patch, it gives up the
// fields.
func (s *Server) Delete(ctx context.Context, req *pulumirpc.DeleteRequest) (*emptypb.Empty, error) {
	p := providerOf(ctx)
	urn, k, err := resourceOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	if p.cluster == nil {
		p.Log(ctx, urn, diag.Warning, "configured Kubernetes cluster is unreachable: "+p.why)
		if p.settings.deleteUnreachable {
			return &emptypb.Empty{}, nil
		}
		return nil, errors.New("configured Kubernetes cluster is unreachable. If the cluster was deleted, you can remove this resource from Pulumi state by rerunning the operation with the PULUMI_K8S_DELETE_UNREACHABLE environment variable set to \"true\"")
	}
	olds, err := read(urn.Name(), "state", req.GetProperties())
	if err != nil {
		return nil, err
	}
	said, live, manager, err := fromState(olds, k)
	if err != nil {
		return nil, fmt.Errorf("%s: read state: %w", urn.Name(), err)
	}
	ctx, cancel := p.Operation(ctx, 0)
	defer cancel()
	objects, err := p.objects(k, live)
	if meta.IsNoMatchError(err) {
		return &emptypb.Empty{}, nil
	}
	if err != nil {
		return nil, err
	}
	if k.patch {
		if manager, err = p.manager(said, manager); err != nil {
			return nil, err
		}
		return &emptypb.Empty{}, relinquish(ctx, objects, live, manager)
	}
	policy := metav1.DeletePropagationForeground
	switch strings.ToLower(annotation(said, deletionOf)) {
	case "orphan":
		policy = metav1.DeletePropagationOrphan
	case "background":
		policy = metav1.DeletePropagationBackground
	}
	_, name := splitID(req.GetId())
	err = objects.Delete(ctx, name, metav1.DeleteOptions{PropagationPolicy: &policy})
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	if isTrue(said, skipAwait) {
		return &emptypb.Empty{}, nil
	}
	err = wait.PollUntilContextTimeout(ctx, poll, limit(req.GetTimeout(), said), true, func(ctx context.Context) (bool, error) {
		now, err := objects.Get(ctx, name, metav1.GetOptions{})
		// Another one of the same name may be there already.
		return apierrors.IsNotFound(err) || err == nil && live.GetUID() != "" && now.GetUID() != live.GetUID(), nil
	})
	if wait.Interrupted(err) {
		return nil, fmt.Errorf("resource %q was deleted and is still there; look at its finalizers", urn)
	}
	return &emptypb.Empty{}, err
}
