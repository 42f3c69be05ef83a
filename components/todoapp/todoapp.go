// Package todoapp runs the application of app/todo in a cluster: pods behind the
// ingress controller, one volume of files that they share, a migration before each new
// version, and nothing open that it does not need.
//
// The package leaves the cluster to package kubeadm, the database to package galera,
// the volume to a storage class, and the host names with TLS to package haedge.
package todoapp

import (
	"fmt"
	"maps"
	"net"
	"strconv"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/halinux/halinux/components/object"
)

// Type is the component's token in the state; it never changes.
const Type = "halinux:index:TodoApp"

// TodoApp is the application. Its outputs are known when its pods are ready.
type TodoApp struct {
	pulumi.ResourceState

	// URL is how people reach it.
	URL pulumi.StringOutput `pulumi:"url"`
	// Image is what runs, with its digest where it has one.
	Image pulumi.StringOutput `pulumi:"image"`
	// QOSClass of its pods, Burstable or Guaranteed.
	QOSClass pulumi.StringOutput `pulumi:"qosClass"`
}

// NewTodoApp puts the application into the cluster of a provider
// (kubeadm.KubeadmCluster.Provider). What is wrong with the arguments is one
// *problem.Error, and nothing is registered then.
func NewTodoApp(ctx *pulumi.Context, name string, args *TodoAppArgs, provider pulumi.ProviderResource, opts ...pulumi.ResourceOption) (*TodoApp, error) {
	problems := args.Validate(name)
	if err := problems.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	t := &TodoApp{}
	if err := ctx.RegisterComponentResource(Type, name, t, opts...); err != nil {
		return nil, err
	}
	if err := t.build(ctx, names{name, args.namespace()}, args, provider); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

func (t *TodoApp) build(ctx *pulumi.Context, n names, args *TodoAppArgs, provider pulumi.ProviderResource) error {
	image, err := t.image(ctx, n, args)
	if err != nil {
		return err
	}
	values := map[string]pulumi.Input{imageIs: image}
	var before []pulumi.Resource // of what is put next
	put := func(what string, kind object.Kind, of any, with pulumi.Map, opts ...pulumi.ResourceOption) (*object.Object, error) {
		inputs, err := object.Inputs(kind, of)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		inputs = filled(inputs, values).(pulumi.Map)
		maps.Copy(inputs, with)
		more := append([]pulumi.ResourceOption{pulumi.Parent(t), pulumi.DependsOn(before)}, opts...)
		if provider != nil {
			more = append(more, pulumi.Provider(provider))
		}
		return object.New(ctx, n.name+"-"+what, kind, struct{}{}, inputs, more...)
	}
	namespace, err := put("namespace", object.Namespace, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: n.namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, nil)
	if err != nil {
		return err
	}
	before = []pulumi.Resource{namespace}

	settings := pulumi.Map{}
	for key, value := range args.settings() {
		settings[key] = pulumi.String(value)
	}
	settings["TODO_DATABASE_ADDRESS"] = args.Database.Host.ToStringOutput().ApplyT(func(host string) string {
		return net.JoinHostPort(host, strconv.Itoa(args.Database.port()))
	}).(pulumi.StringOutput)
	secrets := pulumi.Map{"user": pulumi.String(args.Database.user()), passwordKey: pulumi.ToSecret(args.Database.Password)}
	if args.Database.MigrateUser != "" {
		secrets["migrate-user"] = pulumi.String(args.Database.MigrateUser)
		secrets[migrateKey] = pulumi.ToSecret(args.Database.MigratePassword)
	}
	type one struct {
		what string
		kind object.Kind
		of   any
		with pulumi.Map
		is   string // what stands for its version in others
	}
	all := []one{
		{what: "account", kind: object.ServiceAccount, of: n.account()},
		{what: "config", kind: object.ConfigMap, of: &corev1.ConfigMap{ObjectMeta: n.meta(n.name)}, with: pulumi.Map{"data": settings}, is: settingsIs},
		{what: "authority", kind: object.ConfigMap, of: &corev1.ConfigMap{ObjectMeta: n.meta(n.name + "-authority")}, with: pulumi.Map{"data": pulumi.Map{caKey: args.Database.CA}}, is: authorityIs},
		{what: "secret", kind: object.Secret, of: &corev1.Secret{ObjectMeta: n.meta(n.name)}, with: pulumi.Map{"stringData": secrets}, is: secretIs},
		{what: "claim", kind: persistentVolumeClaim, of: n.claim(args)},
		{what: "deny", kind: object.NetworkPolicy, of: n.deny()},
		{what: "outward", kind: object.NetworkPolicy, of: n.outward(args)},
		{what: "inward", kind: object.NetworkPolicy, of: n.inward(args)},
		{what: "service", kind: service, of: n.service()},
		{what: "ingress", kind: ingress, of: n.ingress(args)},
		{what: "budget", kind: object.PodDisruptionBudget, of: n.budget()},
	}
	ready := before
	for _, o := range all {
		done, err := put(o.what, o.kind, o.of, o.with)
		if err != nil {
			return err
		}
		if o.is != "" {
			values[o.is] = version(done)
		}
		ready = append(ready, done)
	}
	before = ready
	// A Job cannot be changed, and two of one name cannot be.
	migrated, err := put("migrate", job, n.migration(args), nil, pulumi.ReplaceOnChanges([]string{"spec"}), pulumi.DeleteBeforeReplace(true))
	if err != nil {
		return err
	}
	before = append(before, migrated)
	var opts []pulumi.ResourceOption
	if args.Autoscale != nil {
		opts = append(opts, pulumi.IgnoreChanges([]string{"spec.replicas"})) // the autoscaler's
	}
	deployed, err := put("deployment", object.Deployment, n.deployment(args), nil, opts...)
	if err != nil {
		return err
	}
	before = append(before, deployed)
	if args.Autoscale != nil {
		if _, err := put("autoscaler", horizontalPodAutoscaler, n.autoscaler(args), nil); err != nil {
			return err
		}
	}
	if _, err := put("sweep", cronJob, n.sweeping(args), nil); err != nil {
		return err
	}
	t.URL = deployed.ID().ApplyT(func(pulumi.ID) string { return "https://" + args.Hosts[0] }).(pulumi.StringOutput)
	t.Image = image
	t.QOSClass = pulumi.String(args.qosClass()).ToStringOutput()
	return ctx.RegisterResourceOutputs(t, pulumi.Map{"url": t.URL, "image": t.Image, "qosClass": t.QOSClass})
}

// image is the one that was given, or the one that is built in updates.
func (t *TodoApp) image(ctx *pulumi.Context, n names, args *TodoAppArgs) (pulumi.StringOutput, error) {
	b := args.Build
	if b == nil {
		return pulumi.String(args.image()).ToStringOutput(), nil
	}
	build := pulumi.Map{"context": pulumi.String(b.Context), "platform": pulumi.String(b.platform())}
	if b.Dockerfile != "" {
		build["dockerfile"] = pulumi.String(b.Dockerfile)
	}
	inputs := pulumi.Map{"imageName": pulumi.String(b.Name), "build": build, "buildOnPreview": pulumi.Bool(false), "skipPush": pulumi.Bool(false)}
	if b.User != "" {
		inputs["registry"] = pulumi.Map{
			"server": pulumi.String(b.server()), "username": pulumi.String(b.User), "password": pulumi.ToSecret(b.Password),
		}
	}
	made := &dockerImage{}
	if err := ctx.RegisterResource("docker:index/image:Image", n.name+"-image", inputs, made, pulumi.Parent(t), pulumi.Version(dockerVersion)); err != nil {
		return pulumi.StringOutput{}, err
	}
	return made.RepoDigest, nil
}

// dockerVersion is that of Pulumi's docker plugin, which the engine fetches when an
// image is built.
const dockerVersion = "4.10.0"

// dockerImage is docker.Image of that plugin. Its Go package is left aside for the one
// type of it: docs/decisions/todo.md says what it costs.
type dockerImage struct {
	pulumi.CustomResourceState

	RepoDigest pulumi.StringOutput `pulumi:"repoDigest"`
}

// version changes whenever an object does, so that pods which have it as an annotation
// start anew. It tells nothing of what is in it, as a checksum of a weak password would.
func version(o *object.Object) pulumi.StringOutput {
	return o.Metadata.ApplyT(func(m map[string]any) string {
		v, _ := m["resourceVersion"].(string)
		return v
	}).(pulumi.StringOutput)
}

// filled is an object's field with values in place of the texts that stand for them.
func filled(in pulumi.Input, values map[string]pulumi.Input) pulumi.Input {
	switch in := in.(type) {
	case pulumi.Map:
		out := pulumi.Map{}
		for key, v := range in {
			out[key] = filled(v, values)
		}
		return out
	case pulumi.Array:
		out := pulumi.Array{}
		for _, v := range in {
			out = append(out, filled(v, values))
		}
		return out
	case pulumi.String:
		if v, ok := values[string(in)]; ok {
			return v
		}
	}
	return in
}
