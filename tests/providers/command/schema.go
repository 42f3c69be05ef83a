package command

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/plugin"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

// valueType is what a property holds.
type valueType int

const (
	anyType valueType = iota
	stringType
	boolType
	numberType
	arrayType  // of any
	stringsMap // names to strings
	sourceType // a local file or folder, or a text
	objectType
)

// property is one field of an input object.
type property struct {
	typ      valueType
	required bool
	// secret is set on a value whatever the program says of it.
	secret bool
	// initial stands where the program gives nothing.
	initial any
	// replaces is true where a value that appears or goes away replaces the
	// resource. A change inside it does not: the SDK asks for that replacement,
	// by its option replaceOnChanges `triggers[*]`.
	replaces bool
	fields   object
	of       string // name of the object's type, for messages
}

type object map[string]property

// kind is one type of resource.
type kind struct {
	inputs object
	name   string // of its inputs' type, for messages
	// commands is true where a resource has the outputs stdout and stderr, and
	// an id that starts with its name.
	commands bool

	// create runs on state, which holds the inputs, and adds the outputs.
	create func(ctx context.Context, l log, state resource.PropertyMap) error
	// update is nil where every change is a replacement.
	update func(ctx context.Context, l log, old, state resource.PropertyMap) error
	// delete is nil where nothing is done on a host.
	delete func(ctx context.Context, l log, state resource.PropertyMap) error
}

var kinds = map[string]kind{
	"command:remote:Command": {
		name:     "CommandInputs",
		commands: true,
		inputs: object{
			"connection":             connectionProperty,
			"triggers":               {typ: arrayType, replaces: true},
			"create":                 {typ: stringType},
			"update":                 {typ: stringType},
			"delete":                 {typ: stringType},
			"stdin":                  {typ: stringType},
			"logging":                {typ: stringType},
			"environment":            {typ: stringsMap},
			"addPreviousOutputInEnv": {typ: boolType},
		},
		create: createCommand,
		update: updateCommand,
		delete: deleteCommand,
	},
	"command:remote:CopyToRemote": {
		name: "CopyToRemoteInputs",
		inputs: object{
			"connection": connectionProperty,
			"triggers":   {typ: arrayType, replaces: true},
			"source":     {typ: sourceType, required: true},
			"remotePath": {typ: stringType, required: true},
		},
		create: createCopy,
		update: updateCopy,
	},
	"command:remote:CopyFile": {
		name: "CopyFileInputs",
		inputs: object{
			"connection": connectionProperty,
			"triggers":   {typ: arrayType},
			"localPath":  {typ: stringType, required: true},
			"remotePath": {typ: stringType, required: true},
		},
		create: createCopyFile,
	},
}

// host is what a connection and a proxy have in common, with the plugin's
// defaults: port 22, user root, 10 failed dials tolerated, 15 s for each.
var host = object{
	"host":               {typ: stringType, required: true},
	"port":               {typ: numberType, initial: 22.0},
	"user":               {typ: stringType, initial: "root"},
	"password":           {typ: stringType, secret: true},
	"privateKey":         {typ: stringType, secret: true},
	"privateKeyPassword": {typ: stringType, secret: true},
	"agentSocketPath":    {typ: stringType},
	"dialErrorLimit":     {typ: numberType, initial: 10.0},
	"perDialTimeout":     {typ: numberType, initial: 15.0},
	"hostKey":            {typ: stringType},
}

var connectionProperty = property{
	typ: objectType, required: true, secret: true, of: "Connection", fields: host.with("proxy", property{
		typ: objectType, of: "ProxyConnection", fields: host,
	}),
}

func (o object) with(name string, p property) object {
	c := object{name: p}
	for n, p := range o {
		c[n] = p
	}
	return c
}

// check returns the inputs with defaults and secrets, and every problem.
func (k kind) check(inputs resource.PropertyMap) (resource.PropertyMap, []*pulumirpc.CheckFailure) {
	var failures []*pulumirpc.CheckFailure
	out := k.inputs.check(k.name, inputs, func(field, reason string) {
		failures = append(failures, &pulumirpc.CheckFailure{Property: field, Reason: reason})
	})
	slices.SortFunc(failures, func(a, b *pulumirpc.CheckFailure) int {
		return strings.Compare(a.GetProperty()+a.GetReason(), b.GetProperty()+b.GetReason())
	})
	return out, failures
}

func (o object) check(of string, in resource.PropertyMap, fail func(field, reason string)) resource.PropertyMap {
	out := resource.PropertyMap{}
	for key, v := range in {
		name := string(key)
		p, known := o[name]
		if !known {
			fail(name, fmt.Sprintf("Unrecognized field '%s' on '%s'", name, of))
			out[key] = v
			continue
		}
		v = p.check(name, of, v, fail)
		if p.secret {
			v = secret(v)
		}
		out[key] = v
	}
	for name, p := range o {
		key := resource.PropertyKey(name)
		if _, given := out[key]; given {
			continue
		}
		if p.required {
			fail(name, fmt.Sprintf("Missing required field '%s' on '%s'", name, of))
		}
		if p.initial != nil {
			out[key] = resource.NewPropertyValue(p.initial)
		}
	}
	return out
}

func (p property) check(name, of string, v resource.PropertyValue, fail func(field, reason string)) resource.PropertyValue {
	if v.IsSecret() {
		return secret(p.check(name, of, v.SecretValue().Element, fail))
	}
	if v.IsComputed() || v.IsOutput() {
		return v
	}
	fits := true
	switch p.typ {
	case anyType:
	case stringType:
		fits = v.IsString()
	case boolType:
		fits = v.IsBool()
	case numberType:
		fits = v.IsNumber()
	case arrayType:
		fits = v.IsArray()
	case sourceType:
		switch {
		case v.IsAsset():
			if a := v.AssetValue(); !a.IsPath() && !a.IsText() {
				fail("asset", "asset must be a path-based file asset or a text asset")
			}
		case v.IsArchive():
			if !v.ArchiveValue().IsPath() {
				fail("archive", "archive must be a path to a file or directory")
			}
		default:
			fail("asset", "either asset or archive must be set")
		}
	case stringsMap:
		fits = v.IsObject()
		if fits {
			for k, e := range v.ObjectValue() {
				element := property{typ: stringType}
				element.check(fmt.Sprintf("%s[%s] value", name, k), of, e, fail)
			}
		}
	case objectType:
		fits = v.IsObject()
		if fits {
			return resource.NewProperty(p.fields.check(p.of, v.ObjectValue(), fail))
		}
	}
	if !fits {
		fail(name, fmt.Sprintf("Field '%s' on '%s' has a value of the wrong type, %s", name, of, v.TypeString()))
	}
	return v
}

// diff compares inputs by structure.
func (k kind) diff(old, inputs resource.PropertyMap) *pulumirpc.DiffResponse {
	for key := range inputs {
		// The engine's own additions are no inputs of the program.
		if key == "version" || strings.HasPrefix(string(key), "__") {
			delete(inputs, key)
		}
	}
	d := old.Diff(inputs)
	if d == nil || !d.AnyChanges() {
		return &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE, HasDetailedDiff: true}
	}
	resp := &pulumirpc.DiffResponse{
		Changes:         pulumirpc.DiffResponse_DIFF_SOME,
		HasDetailedDiff: true,
		DetailedDiff:    map[string]*pulumirpc.PropertyDiff{},
	}
	for path, change := range plugin.NewDetailedDiffFromObjectDiff(d, false) {
		if k.update == nil || k.inputs[path].replaces {
			change.Kind = change.Kind.AsReplace()
		}
		top := topLevel(path)
		if !slices.Contains(resp.GetDiffs(), top) {
			resp.Diffs = append(resp.Diffs, top)
		}
		if change.Kind.IsReplace() && !slices.Contains(resp.GetReplaces(), top) {
			resp.Replaces = append(resp.Replaces, top)
		}
		resp.DetailedDiff[path] = &pulumirpc.PropertyDiff{Kind: rpcKind(change.Kind), InputDiff: change.InputDiff}
	}
	slices.Sort(resp.GetDiffs())
	slices.Sort(resp.GetReplaces())
	return resp
}

func topLevel(path string) string {
	if p, err := resource.ParsePropertyPath(path); err == nil && len(p) > 0 {
		if s, ok := p[0].(string); ok {
			return s
		}
	}
	return path
}

func rpcKind(k plugin.DiffKind) pulumirpc.PropertyDiff_Kind {
	switch k {
	case plugin.DiffAddReplace:
		return pulumirpc.PropertyDiff_ADD_REPLACE
	case plugin.DiffDelete:
		return pulumirpc.PropertyDiff_DELETE
	case plugin.DiffDeleteReplace:
		return pulumirpc.PropertyDiff_DELETE_REPLACE
	case plugin.DiffUpdate:
		return pulumirpc.PropertyDiff_UPDATE
	case plugin.DiffUpdateReplace:
		return pulumirpc.PropertyDiff_UPDATE_REPLACE
	case plugin.DiffAdd:
		return pulumirpc.PropertyDiff_ADD
	}
	return pulumirpc.PropertyDiff_UPDATE
}

// changed tells whether a preview of an update has to treat the outputs as
// unknown: an input is unknown, or differs from the state. An input that the
// state lacks altogether does not count; the plugin overlooks it too.
func (k kind) changed(state, inputs resource.PropertyMap) bool {
	for name := range k.inputs {
		key := resource.PropertyKey(name)
		v := inputs[key]
		if v.IsComputed() || v.IsOutput() || (v.IsSecret() && v.SecretValue().Element.IsComputed()) {
			return true
		}
		if old, ok := state[key]; ok && (v.ContainsUnknowns() || !public(old).DeepEquals(public(v))) {
			return true
		}
	}
	return false
}

// secret marks v as a secret, once.
func secret(v resource.PropertyValue) resource.PropertyValue {
	if v.IsSecret() {
		return v
	}
	return resource.MakeSecret(v)
}

// public removes the marks of secrets, at every depth.
func public(v resource.PropertyValue) resource.PropertyValue {
	switch {
	case v.IsSecret():
		return public(v.SecretValue().Element)
	case v.IsArray():
		a := make([]resource.PropertyValue, 0, len(v.ArrayValue()))
		for _, e := range v.ArrayValue() {
			a = append(a, public(e))
		}
		return resource.NewProperty(a)
	case v.IsObject():
		return resource.NewProperty(publicMap(v.ObjectValue()))
	default:
		return v
	}
}

func publicMap(m resource.PropertyMap) resource.PropertyMap {
	out := make(resource.PropertyMap, len(m))
	for k, v := range m {
		out[k] = public(v)
	}
	return out
}

func unknown(v resource.PropertyValue) resource.PropertyValue {
	if v.IsComputed() {
		return v
	}
	return resource.MakeComputed(v)
}
