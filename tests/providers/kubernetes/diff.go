package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// fixed are fields that the API server lets nobody change, by group/version/kind:
// another value is another object.
var fixed = map[string][]string{
	"apps/v1/Deployment":  {"spec.selector"},
	"apps/v1/DaemonSet":   {"spec.selector"},
	"apps/v1/StatefulSet": {"spec.podManagementPolicy", "spec.revisionHistoryLimit", "spec.selector", "spec.serviceName", "spec.volumeClaimTemplates"},
	"batch/v1/Job":        {"spec.completions", "spec.selector", "spec.template"},
	"v1/PersistentVolumeClaim": {
		"spec.accessModes", "spec.selector", "spec.storageClassName", "spec.volumeName",
	},
	"v1/PersistentVolume": {"spec.csi", "spec.hostPath", "spec.local", "spec.nfs", "spec.iscsi", "spec.fc"},
	"v1/Service":          {"spec.clusterIP", "spec.type"},
	"rbac.authorization.k8s.io/v1/ClusterRoleBinding": {"roleRef"},
	"rbac.authorization.k8s.io/v1/RoleBinding":        {"roleRef"},
	"storage.k8s.io/v1/StorageClass":                  {"parameters", "provisioner"},
}

// fixedOf are the fields that force a new object. The data of ConfigMaps and
// Secrets is among them unless the provider says that they are mutable: pods then
// see a new name, and are rolled.
func (st settings) fixedOf(k kind, o *unstructured.Unstructured) []string {
	fields := []string{"metadata.name", "metadata.namespace"}
	if k.patch {
		return fields
	}
	id := strings.TrimPrefix(k.Group+"/"+k.Version+"/"+k.Kind, "/")
	immutable, _ := o.Object["immutable"].(bool)
	switch {
	case id == "v1/Secret" && (!st.mutableSecrets || immutable):
		return append(fields, "type", "stringData", "data")
	case id == "v1/ConfigMap" && (!st.mutableConfigMaps || immutable):
		return append(fields, "binaryData", "data")
	}
	return append(fields, fixed[id]...)
}

// Check gives an object its name and its namespace.
func (s *Server) Check(ctx context.Context, req *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	p := providerOf(ctx)
	urn, k, err := resourceOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	if p.why != "" && p.settings.skipUpdateUnreachable {
		p.Log(ctx, urn, diag.Warning, "Cluster is unreachable but skipUpdateUnreachable flag is set to true, skipping...")
		return &pulumirpc.CheckResponse{Inputs: req.GetOlds()}, nil
	}
	olds, err := read(urn.Name(), "old inputs", req.GetOlds())
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
	inputs = normalize(inputs)
	before, err := toObject(olds, k)
	if err != nil {
		return nil, fmt.Errorf("%s: read old inputs: %w", urn.Name(), err)
	}
	m := metadata(inputs)
	switch {
	case m["generateName"] != nil && !named(inputs):
		return nil, fmt.Errorf("the `.metadata.generateName` field is not supported in Server-Side Apply mode")
	case named(inputs):
	case k.patch:
		return nil, fmt.Errorf("patch resources require the `.metadata.name` field to be set")
	case isTrue(before, autonamed):
		m["name"] = before.GetName()
		annotate(inputs, autonamed, "true")
	default:
		name, err := resource.NewUniqueName(req.GetRandomSeed(), urn.Name()+"-", 0, 0, nil)
		if err != nil {
			return nil, err
		}
		if a := req.GetAutonaming(); a != nil {
			if a.GetMode() == pulumirpc.CheckRequest_AutonamingOptions_DISABLE {
				return nil, fmt.Errorf("autonaming is disabled, resource requires the .metadata.name field to be set")
			}
			name = a.GetProposedName()
		}
		m["name"] = name
		annotate(inputs, autonamed, "true")
	}
	if m != nil && m["namespace"] == nil && p.settings.namespace != "" && p.namespaced(k) {
		m["namespace"] = p.settings.namespace
	}
	checked := properties(inputs.Object)
	markSecrets(checked, news)
	out, err := marshal(checked)
	if err != nil {
		return nil, fmt.Errorf("%s: return inputs: %w", urn.Name(), err)
	}
	return &pulumirpc.CheckResponse{Inputs: out}, nil
}

// namespaced tells whether objects of a kind have a namespace. One that the
// cluster does not know yet is taken to have one.
func (p *provider) namespaced(k kind) bool {
	if p.cluster == nil {
		return true
	}
	mapping, err := p.cluster.mapper.RESTMapping(k.GroupKind(), k.Version)
	return err != nil || mapping.Scope.Name() == "namespace"
}

// Diff compares what the program says with what the state has of the same fields.
// It asks no cluster: what others changed is found by a refresh.
func (s *Server) Diff(ctx context.Context, req *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	p := providerOf(ctx)
	urn, k, err := resourceOf(req.GetUrn())
	if err != nil {
		return nil, err
	}
	olds, err := read(urn.Name(), "state", req.GetOlds())
	if err != nil {
		return nil, err
	}
	news, err := read(urn.Name(), "inputs", req.GetNews())
	if err != nil {
		return nil, err
	}
	said, live, _, err := fromState(olds, k)
	if err != nil {
		return nil, fmt.Errorf("%s: read state: %w", urn.Name(), err)
	}
	inputs, err := toObject(news, k)
	if err != nil {
		return nil, fmt.Errorf("%s: read inputs: %w", urn.Name(), err)
	}
	said, inputs = normalize(said), normalize(inputs)
	was := &unstructured.Unstructured{Object: like(live.Object, said.Object).(map[string]any)}
	was.SetGroupVersionKind(inputs.GroupVersionKind())
	for _, o := range []*unstructured.Unstructured{was, inputs} {
		m := metadata(o)
		switch {
		case m == nil:
		case !p.namespaced(k):
			delete(m, "namespace")
		case m["namespace"] == nil || m["namespace"] == "":
			m["namespace"] = defaultSpace
		}
	}
	if m := metadata(was); m != nil && named(inputs) {
		m["name"] = live.GetName()
	}

	detailed := map[string]*pulumirpc.PropertyDiff{}
	var replaces []string
	now := properties(inputs.Object)
	if diff := properties(was.Object).Diff(now); diff != nil {
		fields := p.settings.fixedOf(k, inputs)
		for path, d := range plugin.NewDetailedDiffFromObjectDiff(diff, true) {
			ignored, err := contains(req.GetIgnoreChanges(), path)
			if err != nil {
				return nil, fmt.Errorf("%s: ignoreChanges: %w", urn.Name(), err)
			}
			if ignored {
				continue
			}
			force, err := forces(fields, path, now)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", urn.Name(), err)
			}
			if force {
				d = d.ToReplace()
				replaces = append(replaces, path)
			}
			detailed[path] = &pulumirpc.PropertyDiff{Kind: kinds[d.Kind], InputDiff: true}
		}
	}
	slices.Sort(replaces)
	changes := pulumirpc.DiffResponse_DIFF_NONE
	if len(detailed) > 0 {
		changes = pulumirpc.DiffResponse_DIFF_SOME
	}
	return &pulumirpc.DiffResponse{
		Changes: changes, Replaces: replaces, DetailedDiff: detailed, HasDetailedDiff: true,
		// Under a name that the program gave, two cannot be there at a time.
		DeleteBeforeReplace: len(replaces) > 0 && named(inputs) && !isTrue(inputs, autonamed) &&
			inputs.GetName() == live.GetName() && inputs.GetNamespace() == live.GetNamespace(),
	}, nil
}

var kinds = map[plugin.DiffKind]pulumirpc.PropertyDiff_Kind{
	plugin.DiffAdd:           pulumirpc.PropertyDiff_ADD,
	plugin.DiffAddReplace:    pulumirpc.PropertyDiff_ADD_REPLACE,
	plugin.DiffDelete:        pulumirpc.PropertyDiff_DELETE,
	plugin.DiffDeleteReplace: pulumirpc.PropertyDiff_DELETE_REPLACE,
	plugin.DiffUpdate:        pulumirpc.PropertyDiff_UPDATE,
	plugin.DiffUpdateReplace: pulumirpc.PropertyDiff_UPDATE_REPLACE,
}

// forces tells whether a path is one of the fields, below one, or above one. What is
// not known yet is above nothing: before something is replaced, the engine asks so
// whether to replace a Deployment of which one annotation refers to it.
func forces(fields []string, path string, now resource.PropertyMap) (bool, error) {
	at, err := resource.ParsePropertyPath(path)
	if err != nil {
		return false, err
	}
	value, _ := at.Get(resource.NewProperty(now))
	for _, f := range fields {
		above := strings.HasPrefix(f, path+".") && !value.IsComputed()
		if path == f || strings.HasPrefix(path, f+".") || strings.HasPrefix(path, f+"[") || above {
			return true, nil
		}
	}
	return false, nil
}

func contains(ignored []string, path string) (bool, error) {
	at, err := resource.ParsePropertyPath(path)
	if err != nil {
		return false, err
	}
	for _, i := range ignored {
		prefix, err := resource.ParsePropertyPath(i)
		if err != nil {
			return false, err
		}
		if prefix.Contains(at) {
			return true, nil
		}
	}
	return false, nil
}
