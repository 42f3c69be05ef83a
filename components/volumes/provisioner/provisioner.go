// Package provisioner makes, grows and removes the persistent volumes of a
// Kubernetes cluster on the replicated storage (package pool is the way there).
//
// Claims are watched by the library of external provisioners of Kubernetes' own
// storage group, which calls for a volume or its removal; growth, which it leaves
// out, is the [Resizer]'s. [Config.Run] is the whole program, one of whose
// instances does the work.
package provisioner

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"

	"github.com/halinux/halinux/components/volumes/pool"
)

// storage is what the provisioner wants of a pool.
type storage interface {
	Create(ctx context.Context, name string, mib int64, mode string) (string, error)
	Remove(ctx context.Context, name string) error
	List(ctx context.Context) ([]pool.Volume, error)
}

// ModeParameter is the one parameter of a storage class: the mode of a volume's
// directory when it is made, like "0777".
const ModeParameter = "mode"

// defaultMode lets any user of a pod write: the kubelet gives a volume of NFS to
// nobody (fsGroup has no effect on it).
const defaultMode = "0777"

// provisioner answers the library.
type provisioner struct {
	server  string // that clients mount from
	path    string // of the pool, on it
	storage storage
	metrics *metrics
}

var (
	_ controller.Provisioner = (*provisioner)(nil)
	// accessModes are those that NFS can be mounted with.
	accessModes = []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce, corev1.ReadOnlyMany, corev1.ReadWriteMany}
)

// Provision makes a volume for a claim. Asked again, it finds the same one.
func (p *provisioner) Provision(ctx context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	mode, err := check(o.PVC, o.StorageClass)
	if err != nil {
		return nil, controller.ProvisioningNoChange, err
	}
	request := o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]
	size := max(pool.MiB(request.Value()), 1)
	done := p.metrics.begin("create")
	at, err := p.storage.Create(ctx, o.PVName, size, mode)
	if err == nil && path.Dir(at) != p.path {
		err = fmt.Errorf("the storage made volume %s at %s, outside of %s: are its hosts those of this pool?", o.PVName, at, p.path)
	}
	done(err)
	if err != nil {
		state := controller.ProvisioningNoChange // from what an earlier call may have left
		if pool.Begun(err) {
			// It may be there: the library asks again, also when the claim has
			// gone, so that it is not left behind.
			state = controller.ProvisioningInBackground
		} else if errors.Is(err, pool.ErrNoRoom) || errors.Is(err, pool.ErrRefused) {
			state = controller.ProvisioningFinished
		}
		return nil, state, err
	}
	policy := corev1.PersistentVolumeReclaimDelete
	if o.StorageClass.ReclaimPolicy != nil {
		policy = *o.StorageClass.ReclaimPolicy
	}
	modes := o.PVC.Spec.AccessModes
	if len(modes) == 0 {
		modes = accessModes
	}
	filesystem := corev1.PersistentVolumeFilesystem
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: quantity(size)},
			AccessModes:                   modes,
			PersistentVolumeReclaimPolicy: policy,
			MountOptions:                  o.StorageClass.MountOptions,
			VolumeMode:                    &filesystem,
			NodeAffinity:                  affinity(o.StorageClass.AllowedTopologies),
			PersistentVolumeSource:        corev1.PersistentVolumeSource{NFS: &corev1.NFSVolumeSource{Server: p.server, Path: at}},
		},
	}, controller.ProvisioningFinished, nil
}

// check says why a claim cannot have a volume of a class, and otherwise the mode
// of its directory.
func check(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) (string, error) {
	mode := defaultMode
	for name, value := range class.Parameters {
		if name != ModeParameter {
			return "", fmt.Errorf("storage class %s: %q is no parameter of %s; there is %s alone", class.Name, name, class.Provisioner, ModeParameter)
		}
		mode = value
	}
	if err := pool.CheckMode(mode); err != nil {
		return "", fmt.Errorf("storage class %s: %w", class.Name, err)
	}
	for _, m := range claim.Spec.AccessModes {
		if !slices.Contains(accessModes, m) {
			return "", fmt.Errorf("access mode %s is not one of NFS: use one of %v", m, accessModes)
		}
	}
	if claim.Spec.Selector != nil {
		return "", errors.New("a selector finds volumes that are there already, and none is made for it: leave it out")
	}
	if claim.Spec.DataSource != nil || claim.Spec.DataSourceRef != nil {
		return "", errors.New("a volume cannot be made from another one or from a snapshot here: leave the data source out, and copy the files")
	}
	return mode, nil
}

// affinity keeps pods to the nodes that may mount the volumes of a class.
func affinity(topologies []corev1.TopologySelectorTerm) *corev1.VolumeNodeAffinity {
	var terms []corev1.NodeSelectorTerm
	for _, t := range topologies {
		var term corev1.NodeSelectorTerm
		for _, e := range t.MatchLabelExpressions {
			term.MatchExpressions = append(term.MatchExpressions, corev1.NodeSelectorRequirement{
				Key: e.Key, Operator: corev1.NodeSelectorOpIn, Values: e.Values,
			})
		}
		terms = append(terms, term)
	}
	if len(terms) == 0 {
		return nil
	}
	return &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: terms}}
}

// Delete removes the storage of a volume with all that is in it.
func (p *provisioner) Delete(ctx context.Context, volume *corev1.PersistentVolume) error {
	name, err := p.nameOf(volume)
	if err != nil {
		return err
	}
	done := p.metrics.begin("remove")
	err = p.storage.Remove(ctx, name)
	done(err)
	return err
}

// nameOf is the name that a volume has in the pool. A volume that does not lie
// there is never touched, whatever its annotations say.
func (p *provisioner) nameOf(volume *corev1.PersistentVolume) (string, error) {
	nfs := volume.Spec.NFS
	if nfs == nil || nfs.Server != p.server || path.Dir(nfs.Path) != p.path {
		return "", fmt.Errorf("volume %s is not in %s:%s, and so not this provisioner's to touch", volume.Name, p.server, p.path)
	}
	name := path.Base(nfs.Path)
	return name, pool.CheckName(name)
}

// quantity is a size as Kubernetes writes it.
func quantity(mib int64) resource.Quantity {
	return *resource.NewQuantity(pool.Bytes(mib), resource.BinarySI)
}
