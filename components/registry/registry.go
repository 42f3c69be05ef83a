// Package registry makes a registry of container images in a cluster: instances of
// the CNCF's distribution that share one volume, behind the ingress controller and a
// site of the edge, with users, and a collection of garbage that no push notices.
//
// The program is tools/registry. The package leaves the volume to a storage class
// and the site to package haedge; it knows nothing of hosts.
package registry

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/object"
	"github.com/halinux/halinux/components/stash"
)

// Type is the component's token in the state; it never changes.
const Type = "halinux:index:Registry"

// Registry is the registry. Its outputs are known when its instances serve.
type Registry struct {
	pulumi.ResourceState

	// Host is what the names of images begin with.
	Host pulumi.StringOutput `pulumi:"host"`
	// Address is its URL.
	Address pulumi.StringOutput `pulumi:"address"`
	// Passwords are those of the users, by name, all of it a secret.
	Passwords pulumi.StringMapOutput `pulumi:"passwords"`
	// DockerConfigs are contents of a Secret of type kubernetes.io/dockerconfigjson,
	// as imagePullSecrets want them, by user; all of it a secret.
	DockerConfigs pulumi.StringMapOutput `pulumi:"dockerConfigs"`
}

// NewRegistry makes the registry in the cluster of a provider
// (kubeadm.KubeadmCluster.Provider). What is wrong with the arguments is one
// *problem.Error, and nothing is registered then.
func NewRegistry(ctx *pulumi.Context, name string, args *RegistryArgs, provider pulumi.ProviderResource, opts ...pulumi.ResourceOption) (*Registry, error) {
	problems := args.Validate(name)
	if err := problems.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	r := &Registry{}
	if err := ctx.RegisterComponentResource(Type, name, r, opts...); err != nil {
		return nil, err
	}
	if err := r.build(ctx, names{name, args.namespace()}, args, provider); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

func (r *Registry) build(ctx *pulumi.Context, n names, args *RegistryArgs, provider pulumi.ProviderResource) error {
	first, err := newMade()
	if err != nil {
		return err
	}
	kept, err := stash.Keep(ctx, n.name+"-secrets", first, r)
	if err != nil {
		return err
	}
	users, passwords, err := r.users(ctx, n, args)
	if err != nil {
		return err
	}
	all := []any{kept}
	for _, p := range passwords {
		all = append(all, p)
	}
	secrets := pulumi.ToSecret(pulumi.All(all...).ApplyT(func(known []any) (map[string]string, error) {
		text, _ := known[0].(string)
		m, err := madeOf(text)
		if err != nil {
			return nil, err
		}
		var given []string
		for _, p := range known[1:] {
			text, _ := p.(string)
			given = append(given, text)
		}
		file, err := htpasswd(m.Salt, users, given)
		return map[string]string{httpSecret: m.HTTP, usersFile: file}, err
	})).(pulumi.StringMapOutput)
	config, err := args.config()
	if err != nil {
		return err
	}
	var namespace, before []pulumi.Resource
	var last *object.Object
	for _, o := range n.objects(args, config) {
		more := []pulumi.ResourceOption{pulumi.Parent(r)}
		if provider != nil {
			more = append(more, pulumi.Provider(provider))
		}
		if o.last {
			more = append(more, pulumi.DependsOn(before))
		} else {
			more = append(more, pulumi.DependsOn(namespace))
		}
		var with pulumi.Map
		if o.kind == object.Secret {
			with = pulumi.Map{"stringData": secrets}
		}
		done, err := object.New(ctx, n.name+"-"+o.what, o.kind, o.of, with, more...)
		if err != nil {
			return err
		}
		if o.first {
			namespace = append(namespace, done)
		}
		if o.last {
			last = done
		} else {
			before = append(before, done)
		}
	}
	after := func(value string) pulumi.StringOutput {
		return last.ID().ApplyT(func(pulumi.ID) string { return value }).(pulumi.StringOutput)
	}
	r.Host, r.Address = after(args.Host), after("https://"+args.Host)
	return ctx.RegisterResourceOutputs(r, pulumi.Map{"host": r.Host, "address": r.Address, "passwords": r.Passwords, "dockerConfigs": r.DockerConfigs})
}

// users are the names in their order with the passwords: given ones, or such that
// are made once.
func (r *Registry) users(ctx *pulumi.Context, n names, args *RegistryArgs) ([]string, []pulumi.StringInput, error) {
	var all []string
	var passwords []pulumi.StringInput
	byName, configs := pulumi.StringMap{}, pulumi.StringMap{}
	for _, u := range args.Users {
		password := u.Password
		if password == nil {
			made, err := newPassword()
			if err != nil {
				return nil, nil, err
			}
			if password, err = stash.Keep(ctx, n.name+"-password-"+u.Name, made, r); err != nil {
				return nil, nil, err
			}
		}
		all, passwords = append(all, u.Name), append(passwords, password)
		byName[u.Name] = password
		configs[u.Name] = password.ToStringOutput().ApplyT(func(p string) (string, error) { return dockerConfig(args.Host, u.Name, p) }).(pulumi.StringOutput)
	}
	r.Passwords = pulumi.ToSecret(byName.ToStringMapOutput()).(pulumi.StringMapOutput)
	r.DockerConfigs = pulumi.ToSecret(configs.ToStringMapOutput()).(pulumi.StringMapOutput)
	return all, passwords, nil
}
