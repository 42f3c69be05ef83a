// Package object puts objects into a Kubernetes cluster as resources of Pulumi's
// Kubernetes plugin, written in Kubernetes' own Go types, so that a misspelled field
// does not compile.
//
// The plugin's own Go package is left aside: it is the same types once more, and
// docs/decisions/volumes.md says what they cost. The package knows nothing of what
// the objects are for.
package object

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
)

// Kind is what an object is, like {"apps/v1", "Deployment"}.
type Kind struct{ APIVersion, Kind string }

// Kinds that components use.
var (
	ClusterRole         = Kind{"rbac.authorization.k8s.io/v1", "ClusterRole"}
	ClusterRoleBinding  = Kind{"rbac.authorization.k8s.io/v1", "ClusterRoleBinding"}
	ConfigMap           = Kind{"v1", "ConfigMap"}
	Deployment          = Kind{"apps/v1", "Deployment"}
	Namespace           = Kind{"v1", "Namespace"}
	NetworkPolicy       = Kind{"networking.k8s.io/v1", "NetworkPolicy"}
	PersistentVolume    = Kind{"v1", "PersistentVolume"}
	PodDisruptionBudget = Kind{"policy/v1", "PodDisruptionBudget"}
	Role                = Kind{"rbac.authorization.k8s.io/v1", "Role"}
	RoleBinding         = Kind{"rbac.authorization.k8s.io/v1", "RoleBinding"}
	Secret              = Kind{"v1", "Secret"}
	ServiceAccount      = Kind{"v1", "ServiceAccount"}
	StorageClass        = Kind{"storage.k8s.io/v1", "StorageClass"}

	ValidatingAdmissionPolicy        = Kind{"admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"}
	ValidatingAdmissionPolicyBinding = Kind{"admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding"}
)

// token is the resource type of the plugin for a kind.
func (k Kind) token() string {
	version := k.APIVersion
	if version == "v1" {
		version = "core/v1"
	}
	return "kubernetes:" + version + ":" + k.Kind
}

// Object is one that is registered.
type Object struct {
	pulumi.CustomResourceState

	Metadata pulumi.MapOutput `pulumi:"metadata"`
}

// Name is the name that the object has in the cluster: the one that was given, or
// one that the plugin has made, known when the object is there.
func (o *Object) Name() pulumi.StringOutput {
	return o.Metadata.ApplyT(func(m map[string]any) (string, error) {
		name, ok := m["name"].(string)
		if !ok {
			return "", fmt.Errorf("the object has no name in its metadata %v", m)
		}
		return name, nil
	}).(pulumi.StringOutput)
}

// New registers an object. What it is made of is one of k8s.io/api's types, without
// a status. Values that are known later, or are secrets, come in with, as the
// object's own fields: a field there takes the place of the object's.
func New(ctx *pulumi.Context, name string, kind Kind, of any, with pulumi.Map, opts ...pulumi.ResourceOption) (*Object, error) {
	inputs, err := Inputs(kind, of)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	maps.Copy(inputs, with)
	o := &Object{}
	if err := ctx.RegisterResource(kind.token(), name, inputs, o, opts...); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return o, nil
}

// Inputs are an object's fields as the plugin wants them.
func Inputs(kind Kind, of any) (pulumi.Map, error) {
	text, err := json.Marshal(of)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(text, &fields); err != nil {
		return nil, err
	}
	// What Kubernetes writes, and types without omitempty say.
	delete(fields, "status")
	prune(fields)
	inputs := mapOf(fields)
	inputs["apiVersion"], inputs["kind"] = pulumi.String(kind.APIVersion), pulumi.String(kind.Kind)
	return inputs, nil
}

// prune takes away the fields that are null: types that know of no "left out".
func prune(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Collect(maps.Keys(v)) {
			if v[key] == nil {
				delete(v, key)
				continue
			}
			prune(v[key])
		}
	case []any:
		for _, e := range v {
			prune(e)
		}
	}
}

func mapOf(fields map[string]any) pulumi.Map {
	m := pulumi.Map{}
	for key, value := range fields {
		m[key] = inputOf(value)
	}
	return m
}

func inputOf(v any) pulumi.Input {
	switch v := v.(type) {
	case map[string]any:
		return mapOf(v)
	case []any:
		all := pulumi.Array{}
		for _, e := range v {
			all = append(all, inputOf(e))
		}
		return all
	case bool:
		return pulumi.Bool(v)
	case float64:
		return pulumi.Float64(v)
	default:
		return pulumi.String(fmt.Sprint(v))
	}
}
