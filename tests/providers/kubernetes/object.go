package kubernetes

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/client-go/kubernetes/scheme"
)

// kind is what a type token means.
type kind struct {
	schema.GroupVersionKind
	// patch says that the resource owns some fields of an object that is another's.
	patch bool
}

// kindOf reads tokens like kubernetes:apps/v1:Deployment and
// kubernetes:core/v1:ConfigMapPatch. The group core stands for none.
func kindOf(token string) (kind, error) {
	parts := strings.Split(token, ":")
	if len(parts) != 3 || parts[0] != Plugin {
		return kind{}, fmt.Errorf("%s is no type of plugin kubernetes", token)
	}
	group, version, ok := strings.Cut(parts[1], "/")
	if !ok || !strings.HasPrefix(version, "v") || group == "helm.sh" || group == "yaml" || group == "kustomize" {
		return kind{}, fmt.Errorf("the stand-in for plugin kubernetes offers no %s; install the published plugin to use it", token)
	}
	if group == "core" {
		group = ""
	}
	k := kind{GroupVersionKind: schema.GroupVersionKind{Group: group, Version: version, Kind: parts[2]}}
	if name, ok := strings.CutSuffix(parts[2], "Patch"); ok && name != "" {
		k.Kind, k.patch = name, true
	}
	if strings.HasSuffix(k.Kind, "List") && !k.patch {
		return kind{}, fmt.Errorf("%s: lists are made of their members", token)
	}
	return k, nil
}

// Keys of a state beside the object's own.
const (
	inputsKey  = "__inputs"
	managerKey = "__fieldManager"
	versionKey = "__initialApiVersion"
)

// Annotations that the plugin reads and writes.
const (
	autonamed     = "pulumi.com/autonamed"
	skipAwait     = "pulumi.com/skipAwait"
	timeoutOf     = "pulumi.com/timeoutSeconds"
	patchForce    = "pulumi.com/patchForce"
	patchManager  = "pulumi.com/patchFieldManager"
	deletionOf    = "pulumi.com/deletionPropagationPolicy"
	secretKind    = "Secret"
	defaultSpace  = "default"
	clientManager = "pulumi-kubernetes"
)

// SDKs have no names with a hyphen: these fields of a custom resource's schema
// are written otherwise in programs and states.
var hyphens = map[string]string{
	"x_kubernetes_embedded_resource":       "x-kubernetes-embedded-resource",
	"x_kubernetes_int_or_string":           "x-kubernetes-int-or-string",
	"x_kubernetes_list_map_keys":           "x-kubernetes-list-map-keys",
	"x_kubernetes_list_type":               "x-kubernetes-list-type",
	"x_kubernetes_map_type":                "x-kubernetes-map-type",
	"x_kubernetes_preserve_unknown_fields": "x-kubernetes-preserve-unknown-fields",
	"x_kubernetes_validations":             "x-kubernetes-validations",
}

func hyphenated(key string) (string, bool) {
	v, ok := hyphens[key]
	return v, ok
}

func underscored(key string) (resource.PropertyKey, bool) {
	for to, from := range hyphens {
		if from == key {
			return resource.PropertyKey(to), true
		}
	}
	return "", false
}

// plain takes the marks of secrets off a value; an unknown one stays what it is.
func plain(v resource.PropertyValue) (any, bool) {
	switch {
	case v.IsSecret():
		return v.SecretValue().Element.MapRepl(hyphenated, plain), true
	case v.IsOutput():
		if !v.OutputValue().Known {
			return resource.Computed{Element: resource.NewProperty("")}, true
		}
		return v.OutputValue().Element.MapRepl(hyphenated, plain), true
	case v.IsComputed():
		return v.V, true
	}
	return nil, false
}

// toObject makes an object of a program's inputs. Numbers become what the API
// machinery expects; an object with unknown values cannot be sent, only compared.
func toObject(inputs resource.PropertyMap, k kind) (*unstructured.Unstructured, error) {
	content := inputs.MapRepl(hyphenated, plain)
	if !hasUnknown(content) {
		text, err := json.Marshal(content)
		if err != nil {
			return nil, err
		}
		content = map[string]any{}
		if err := utiljson.Unmarshal(text, &content); err != nil {
			return nil, err
		}
	}
	prune(content)
	o := &unstructured.Unstructured{Object: content}
	o.SetGroupVersionKind(k.GroupVersionKind)
	if _, ok := content["metadata"]; !ok {
		content["metadata"] = map[string]any{}
	}
	return o, nil
}

// prune drops nulls, which programs write for "not given".
func prune(m map[string]any) {
	for key, v := range m {
		switch v := v.(type) {
		case nil:
			delete(m, key)
		case map[string]any:
			prune(v)
		case []any:
			for _, e := range v {
				if e, ok := e.(map[string]any); ok {
					prune(e)
				}
			}
		}
	}
}

// hasUnknown tells whether a part of a value comes of a resource that is not there
// yet.
func hasUnknown(v any) bool {
	switch v := v.(type) {
	case resource.Computed, resource.Output:
		return true
	case map[string]any:
		for _, e := range v {
			if hasUnknown(e) {
				return true
			}
		}
	case []any:
		for _, e := range v {
			if hasUnknown(e) {
				return true
			}
		}
	}
	return false
}

// metadata of an object, which may itself be unknown.
func metadata(o *unstructured.Unstructured) map[string]any {
	m, _ := o.Object["metadata"].(map[string]any)
	return m
}

// named tells whether an object has a name, known or not.
func named(o *unstructured.Unstructured) bool {
	m := metadata(o)
	return m == nil || m["name"] != nil && m["name"] != ""
}

func annotation(o *unstructured.Unstructured, key string) string {
	annotations, _ := metadata(o)["annotations"].(map[string]any)
	text, _ := annotations[key].(string)
	return text
}

func isTrue(o *unstructured.Unstructured, key string) bool { return annotation(o, key) == "true" }

func annotate(o *unstructured.Unstructured, key, value string) {
	m := metadata(o)
	if m == nil {
		return
	}
	if m["annotations"] == nil {
		m["annotations"] = map[string]any{}
	}
	if annotations, ok := m["annotations"].(map[string]any); ok {
		annotations[key] = value
	}
}

// normalize writes an object as the API server would: quantities in their shortest
// form, a Secret's text as data. What the server alone writes is taken out.
func normalize(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = &unstructured.Unstructured{Object: copied(o.Object).(map[string]any)}
	if !hasUnknown(o.Object) {
		if typed, err := scheme.Scheme.New(o.GroupVersionKind()); err == nil {
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, typed); err == nil {
				if content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed); err == nil {
					content = like(content, o.Object).(map[string]any)
					o = &unstructured.Unstructured{Object: content}
				}
			}
		}
	}
	if o.GetKind() == secretKind && o.GetAPIVersion() == "v1" {
		if text, ok := o.Object["stringData"].(map[string]any); ok && !hasUnknown(text) {
			data, _ := o.Object["data"].(map[string]any)
			if data == nil {
				data = map[string]any{}
			}
			for k, v := range text {
				data[k] = base64.StdEncoding.EncodeToString([]byte(fmt.Sprint(v)))
			}
			o.Object["data"] = data
			delete(o.Object, "stringData")
		}
	}
	for _, field := range []string{"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields", "resourceVersion", "uid"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	return o
}

// copied is a value with maps and lists of its own. The machinery's own copy ends the
// process at a value that is not known yet.
func copied(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, e := range v {
			out[key] = copied(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = copied(e)
		}
		return out
	}
	return v
}

// like keeps of a value what a second one has too: of an object in the cluster the
// fields that the program wrote, as they are there.
func like(v, shape any) any {
	switch s := shape.(type) {
	case map[string]any:
		m, ok := v.(map[string]any)
		if !ok {
			return v
		}
		out := map[string]any{}
		for key, e := range s {
			if have, ok := m[key]; ok {
				out[key] = like(have, e)
			} else if empty(e) {
				// The server leaves out what is empty.
				out[key] = e
			}
		}
		return out
	case []any:
		list, ok := v.([]any)
		if !ok {
			return v
		}
		out := make([]any, len(list))
		for i, e := range list {
			out[i] = e
			if i < len(s) {
				out[i] = like(e, s[i])
			}
		}
		return out
	}
	return v
}

func empty(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// properties of an object, as states hold them.
func properties(o map[string]any) resource.PropertyMap {
	return resource.NewPropertyMapFromMapRepl(o, underscored, nil)
}

// state is what a resource leaves in the stack's state: the object as it is in the
// cluster, and what the program said.
func state(inputs, live *unstructured.Unstructured, from resource.PropertyMap, manager, version string) resource.PropertyMap {
	object, said := properties(live.Object), properties(inputs.Object)
	markSecrets(object, from)
	markSecrets(said, from)
	object[inputsKey] = resource.NewProperty(said)
	object[managerKey] = resource.NewProperty(manager)
	object[versionKey] = resource.NewProperty(version)
	return object
}

// fromState takes a state apart.
func fromState(s resource.PropertyMap, k kind) (inputs, live *unstructured.Unstructured, manager string, err error) {
	s = s.Copy()
	said := resource.PropertyMap{}
	if v, ok := s[inputsKey]; ok {
		for v.IsSecret() {
			v = v.SecretValue().Element
		}
		if v.IsObject() {
			said = v.ObjectValue()
		}
	}
	if v, ok := s[managerKey]; ok && v.IsString() {
		manager = v.StringValue()
	}
	for _, key := range []resource.PropertyKey{inputsKey, managerKey, versionKey} {
		delete(s, key)
	}
	if inputs, err = toObject(said, k); err == nil {
		live, err = toObject(s, k)
	}
	return inputs, live, manager, err
}

// markSecrets makes secret what was secret in a program's inputs, and what a
// Secret holds in any case.
func markSecrets(out, in resource.PropertyMap) {
	if k, ok := out["kind"]; ok && k.IsString() && k.StringValue() == secretKind {
		for _, key := range []resource.PropertyKey{"data", "stringData"} {
			if v, ok := out[key]; ok && !v.IsSecret() {
				out[key] = resource.MakeSecret(v)
			}
		}
		return
	}
	for key, v := range in {
		o, ok := out[key]
		switch {
		case !ok || o.IsSecret():
		case o.IsObject() && v.IsObject():
			markSecrets(o.ObjectValue(), v.ObjectValue())
		case v.ContainsSecrets():
			out[key] = resource.MakeSecret(o)
		}
	}
}
