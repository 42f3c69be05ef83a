// Package volumes gives a Kubernetes cluster its persistent volumes: shared ones
// (ReadWriteMany) on the replicated storage, each with a hard quota of the claim's
// size, and local ones, directories of single nodes, for software that replicates
// its data itself.
//
// Package provisioner is the program that makes the shared ones, in pods that this
// component runs; package pool is its way to the storage. The storage itself, the
// cluster and its nodes are made by others.
package volumes

import (
	"crypto/ed25519"
	"crypto/rand"
	"embed"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"golang.org/x/crypto/ssh"

	"github.com/halinux/halinux/components/host"
	"github.com/halinux/halinux/components/object"
	"github.com/halinux/halinux/components/stash"
)

// Type is the component's token in the state; it never changes.
const Type = "halinux:index:Volumes"

//go:embed phases
var phases embed.FS

// Volumes are the cluster's. Its outputs are known when claims can be made.
type Volumes struct {
	pulumi.ResourceState

	// Classes are the names of the storage classes of shared volumes.
	Classes pulumi.StringArrayOutput `pulumi:"classes"`
	// LocalClass is the name of the storage class of local volumes; "" where there
	// are none.
	LocalClass pulumi.StringOutput `pulumi:"localClass"`
}

// NewVolumes gives the cluster of a provider (kubeadm.KubeadmCluster.Provider) its
// volumes. With [pulumi.DeletedWith] the cluster, its objects end with it. What is wrong with the arguments is one *problem.Error, and nothing is
// registered then.
func NewVolumes(ctx *pulumi.Context, name string, args *VolumesArgs, provider pulumi.ProviderResource, opts ...pulumi.ResourceOption) (*Volumes, error) {
	problems := args.Validate()
	if err := problems.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	v := &Volumes{}
	if err := ctx.RegisterComponentResource(Type, name, v, opts...); err != nil {
		return nil, err
	}
	common := []pulumi.ResourceOption{pulumi.Parent(v), pulumi.Provider(provider)}
	// Options reach the children, but for this one.
	if given, err := pulumi.NewResourceOptions(opts...); err != nil {
		return nil, err
	} else if given.DeletedWith != nil {
		common = append(common, pulumi.DeletedWith(given.DeletedWith))
	}
	put := func(what string, kind object.Kind, of any, with pulumi.Map, more ...pulumi.ResourceOption) (*object.Object, error) {
		return object.New(ctx, name+"-"+what, kind, of, with, append(more, common...)...)
	}
	var classes []string
	var last []pulumi.Resource
	if n := args.NFS; n != nil {
		done, err := n.put(put)
		if err != nil {
			return nil, err
		}
		last = append(last, done...)
		for _, c := range n.classes() {
			classes = append(classes, c.Name)
		}
	}
	local := ""
	if l := args.Local; l != nil {
		done, err := l.put(ctx, name, v, put)
		if err != nil {
			return nil, err
		}
		last = append(last, done...)
		local = l.class()
	}
	v.Classes = pulumi.OutputWithDependencies(ctx.Context(), pulumi.ToStringArray(classes).ToStringArrayOutput(), last...).(pulumi.StringArrayOutput)
	v.LocalClass = pulumi.OutputWithDependencies(ctx.Context(), pulumi.String(local).ToStringOutput(), last...).(pulumi.StringOutput)
	return v, ctx.RegisterResourceOutputs(v, pulumi.Map{"classes": v.Classes, "localClass": v.LocalClass})
}

// putter registers an object of the component.
type putter func(what string, kind object.Kind, of any, with pulumi.Map, more ...pulumi.ResourceOption) (*object.Object, error)

// put registers the directories' phases and volumes.
func (l *Local) put(ctx *pulumi.Context, name string, parent pulumi.Resource, put putter) ([]pulumi.Resource, error) {
	class, err := put("class-"+l.class(), object.StorageClass, l.storageClass(), nil)
	if err != nil {
		return nil, err
	}
	done := []pulumi.Resource{class}
	ready := map[string][]pulumi.Resource{}
	for _, h := range l.Hosts {
		paths := l.paths(h.Name)
		if len(paths) == 0 {
			continue
		}
		p, err := host.NewPhase(phases, "local-volumes")
		if err != nil {
			return nil, err
		}
		p.Vars = map[string]string{"paths": strings.Join(paths, " ")}
		made, err := h.Apply(ctx, name, parent, []host.Phase{p})
		if err != nil {
			return nil, err
		}
		ready[h.Name] = made.Resources()
	}
	for _, v := range l.Volumes {
		o, err := put(l.volumeName(v), object.PersistentVolume, l.persistentVolume(v), nil, pulumi.DependsOn(ready[v.Node]))
		if err != nil {
			return nil, err
		}
		done = append(done, o)
	}
	return done, nil
}

// Key is the way in for the provisioner.
type Key struct {
	// Private is the key, in OpenSSH's format, a secret: for [NFS.Key].
	Private pulumi.StringOutput
	// Public is a line of authorized_keys: for the storage
	// (nfsha.Provisioner.Key).
	Public pulumi.StringOutput
}

// NewKey makes a key, or finds the one that the state has. It belongs to the
// program, since storage and cluster both need their half of it.
func NewKey(ctx *pulumi.Context, name string, parent pulumi.Resource) (*Key, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(key, program)
	if err != nil {
		return nil, err
	}
	private, err := stash.Keep(ctx, name+"-key", string(pem.EncodeToMemory(block)), parent)
	if err != nil {
		return nil, err
	}
	public := private.ApplyT(func(private string) (string, error) {
		key, err := ssh.ParsePrivateKey([]byte(private))
		if err != nil {
			return "", fmt.Errorf("the key of the provisioner of volumes in the state is damaged; restore the state from its last backup: %w", err)
		}
		return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey()))), nil
	}).(pulumi.StringOutput)
	return &Key{Private: private, Public: pulumi.Unsecret(public).(pulumi.StringOutput)}, nil
}
