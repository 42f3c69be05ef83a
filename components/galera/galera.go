// Package galera makes a MariaDB Galera cluster of pods: three or five nodes on
// disks of their own, a service that leads to the one node that clients write to,
// and a start after any outage that is safe without a person, or waits for one.
//
// What runs in the pods is cmd/galera-node; package recovery has its decisions.
// The package leaves the cluster to package kubeadm, volumes to a storage class, and
// the namespace to whoever has one.
package galera

import (
	"fmt"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/halinux/halinux/components/galera/pod"
	"github.com/halinux/halinux/components/object"
	"github.com/halinux/halinux/components/stash"
)

// Type is the component's token in the state; it never changes.
const Type = "halinux:index:GaleraDB"

// GaleraDB is the cluster. Its outputs are known when all nodes are members.
type GaleraDB struct {
	pulumi.ResourceState

	// Host is the DNS name of the service that leads to the writer; programs write
	// and read there.
	Host pulumi.StringOutput `pulumi:"host"`
	// ReaderHost leads to any member. What was just written may not be there yet,
	// unless the session asks for it (wsrep_sync_wait).
	ReaderHost pulumi.StringOutput `pulumi:"readerHost"`
	// Port of both.
	Port pulumi.IntOutput `pulumi:"port"`
	// CACertificate is the PEM of the authority that signed the nodes' certificate.
	CACertificate pulumi.StringOutput `pulumi:"caCertificate"`
	// Passwords are those of the users, by name, all of it a secret.
	Passwords pulumi.StringMapOutput `pulumi:"passwords"`
}

// Place is where the pods of a cluster of a name are, and their labels: for the network
// policies of its clients.
func (a *GaleraDBArgs) Place(name string) (namespace string, labels map[string]string) {
	n := names{name, a.namespace()}
	return n.namespace, n.labels()
}

// NewGaleraDB makes the cluster in that of a provider
// (kubeadm.KubeadmCluster.Provider). What is wrong with the arguments is one
// *problem.Error, and nothing is registered then.
func NewGaleraDB(ctx *pulumi.Context, name string, args *GaleraDBArgs, provider pulumi.ProviderResource, opts ...pulumi.ResourceOption) (*GaleraDB, error) {
	problems := args.Validate(name)
	if err := problems.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	g := &GaleraDB{}
	if err := ctx.RegisterComponentResource(Type, name, g, opts...); err != nil {
		return nil, err
	}
	if err := g.build(ctx, names{name, args.namespace()}, args, provider); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return g, nil
}

func (g *GaleraDB) build(ctx *pulumi.Context, n names, args *GaleraDBArgs, provider pulumi.ProviderResource) error {
	made, err := newSecrets(n.name, n.certified(), time.Now())
	if err != nil {
		return err
	}
	kept, err := stash.Keep(ctx, n.secrets(args.CertificateGeneration), made, g)
	if err != nil {
		return err
	}
	secret := func(name string) pulumi.StringOutput {
		return kept.ApplyT(func(all string) (string, error) { return part(all, name) }).(pulumi.StringOutput)
	}
	config, err := args.config()
	if err != nil {
		return err
	}
	passwords, err := g.passwords(ctx, n, args)
	if err != nil {
		return err
	}
	texts := map[string]pulumi.Map{
		"tls":    {caPart: secret(caPart), certificatePart: secret(certificatePart), keyPart: secret(keyPart)},
		"schema": {"schema.json": args.knownSchema(secret(backupPart), passwords)},
		"backup-secret": {
			"backup.cnf": secret(backupPart).ApplyT(backupConfig).(pulumi.StringOutput), caPart: secret(caPart),
		},
	}
	var namespace, before []pulumi.Resource
	put := func(o one) (pulumi.Resource, error) {
		more := []pulumi.ResourceOption{pulumi.Parent(g)}
		if provider != nil {
			more = append(more, pulumi.Provider(provider))
		}
		if len(o.ignore) > 0 {
			more = append(more, pulumi.IgnoreChanges(o.ignore))
		}
		if o.last {
			more = append(more, pulumi.DependsOn(before))
		} else {
			more = append(more, pulumi.DependsOn(namespace))
		}
		var with pulumi.Map
		if data, ok := texts[o.what]; ok {
			with = pulumi.Map{"stringData": data}
		}
		return object.New(ctx, n.name+"-"+o.what, o.kind, o.of, with, more...)
	}
	var last pulumi.Resource
	for _, o := range n.objects(args, config) {
		done, err := put(o)
		if err != nil {
			return err
		}
		if o.last {
			last = done
			continue
		}
		before = append(before, done)
		if o.first {
			namespace = append(namespace, done)
		}
	}
	set := last.(*object.Object)
	after := func(value string) pulumi.StringOutput {
		return set.ID().ApplyT(func(pulumi.ID) string { return value }).(pulumi.StringOutput)
	}
	g.Host, g.ReaderHost = after(n.service(n.name)), after(n.service(n.readers()))
	g.Port = pulumi.Int(pod.PortSQL).ToIntOutput()
	g.CACertificate = pulumi.Unsecret(secret(caPart)).(pulumi.StringOutput)
	return ctx.RegisterResourceOutputs(g, pulumi.Map{
		"host": g.Host, "readerHost": g.ReaderHost, "port": g.Port, "caCertificate": g.CACertificate, "passwords": g.Passwords,
	})
}

// passwords are those of the users in their order: given ones, or such that are made
// once.
func (g *GaleraDB) passwords(ctx *pulumi.Context, n names, args *GaleraDBArgs) ([]pulumi.StringInput, error) {
	var all []pulumi.StringInput
	byName := pulumi.StringMap{}
	for _, u := range args.Users {
		password := u.Password
		if password == nil {
			made, err := newPassword()
			if err != nil {
				return nil, err
			}
			if password, err = stash.Keep(ctx, n.name+"-password-"+u.key(), made, g); err != nil {
				return nil, err
			}
		}
		all = append(all, password)
		byName[u.key()] = password
	}
	g.Passwords = pulumi.ToSecret(byName.ToStringMapOutput()).(pulumi.StringMapOutput)
	return all, nil
}

// knownSchema is schema.json, once all passwords are known.
func (a *GaleraDBArgs) knownSchema(backup pulumi.StringOutput, given []pulumi.StringInput) pulumi.StringOutput {
	all := []any{backup}
	for _, p := range given {
		all = append(all, p)
	}
	return pulumi.ToSecret(pulumi.All(all...).ApplyT(func(known []any) (string, error) {
		var passwords []string
		for _, p := range known {
			text, _ := p.(string)
			passwords = append(passwords, text)
		}
		return a.schema(passwords[1:], passwords[0])
	})).(pulumi.StringOutput)
}
