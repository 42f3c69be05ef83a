package provisioner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"github.com/halinux/halinux/components/volumes/pool"
)

// provisionedBy is the annotation of a volume that says who made it.
const provisionedBy = "pv.kubernetes.io/provisioned-by"

// resizer makes volumes greater when their claims ask for more: the quota first,
// then the volume's capacity, then the claim's. So nobody is ever told of room
// that is not there, and whatever is cut short is seen and gone on with. Only
// classes that allow it let a claim grow, and the API server keeps claims from
// shrinking below what they have.
type resizer struct {
	name        string // of the provisioner
	provisioner *provisioner
	client      kubernetes.Interface
	claims      corelisters.PersistentVolumeClaimLister
	volumes     corelisters.PersistentVolumeLister
	events      record.EventRecorder
	queue       workqueue.TypedRateLimitingInterface[string]
}

// newResizer is one that hears of claims from an informer.
func newResizer(name string, p *provisioner, client kubernetes.Interface, claims, volumes cache.SharedIndexInformer,
	events record.EventRecorder, limiter workqueue.TypedRateLimiter[string]) (*resizer, error) {
	r := &resizer{
		name: name, provisioner: p, client: client, events: events,
		claims:  corelisters.NewPersistentVolumeClaimLister(claims.GetIndexer()),
		volumes: corelisters.NewPersistentVolumeLister(volumes.GetIndexer()),
		queue:   workqueue.NewTypedRateLimitingQueue(limiter),
	}
	add := func(object any) {
		if key, err := cache.MetaNamespaceKeyFunc(object); err == nil {
			r.queue.Add(key)
		}
	}
	_, err := claims.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    add,
		UpdateFunc: func(_, object any) { add(object) },
		DeleteFunc: func(object any) {
			if key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(object); err == nil {
				r.queue.Forget(key)
			}
		},
	})
	return r, err
}

// run works until the context ends.
func (r *resizer) run(ctx context.Context, workers int, done *sync.WaitGroup) {
	for range workers {
		done.Go(func() {
			for r.next(ctx) {
			}
		})
	}
	context.AfterFunc(ctx, r.queue.ShutDown)
}

func (r *resizer) next(ctx context.Context) bool {
	key, end := r.queue.Get()
	if end {
		return false
	}
	defer r.queue.Done(key)
	ctx, cancel := context.WithTimeout(ctx, operationTimeout)
	defer cancel()
	if err := r.sync(ctx, key); err != nil {
		if !apierrors.IsConflict(err) {
			klog.FromContext(ctx).Error(err, "Resizing failed, and will be tried again", "PVC", key)
		}
		r.queue.AddRateLimited(key)
		return true
	}
	r.queue.Forget(key)
	return true
}

// sync brings a claim and its volume to what the claim asks for.
func (r *resizer) sync(ctx context.Context, key string) error {
	namespace, name, err := cache.SplitMetaNamespaceKey(key)
	if err != nil {
		return err
	}
	claim, err := r.claims.PersistentVolumeClaims(namespace).Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	if claim.Status.Phase != corev1.ClaimBound || claim.DeletionTimestamp != nil {
		return nil
	}
	volume, err := r.volumes.Get(claim.Spec.VolumeName)
	if apierrors.IsNotFound(err) {
		return nil // it has gone, or is heard of later, with the claim's next change
	} else if err != nil {
		return err
	}
	if ref := volume.Spec.ClaimRef; ref == nil || ref.UID != claim.UID || volume.Annotations[provisionedBy] != r.name || volume.DeletionTimestamp != nil {
		return nil
	}
	want, has, told := claim.Spec.Resources.Requests[corev1.ResourceStorage], volume.Spec.Capacity[corev1.ResourceStorage], claim.Status.Capacity[corev1.ResourceStorage]
	if want.Cmp(has) > 0 {
		if volume, claim, err = r.grow(ctx, claim, volume); err != nil {
			return err
		}
		has = volume.Spec.Capacity[corev1.ResourceStorage]
	}
	if told.Cmp(has) >= 0 && !slices.ContainsFunc(claim.Status.Conditions, ours) {
		return nil
	}
	if _, err := r.tell(ctx, claim, func(s *corev1.PersistentVolumeClaimStatus) {
		s.Conditions = slices.DeleteFunc(s.Conditions, ours)
		delete(s.AllocatedResourceStatuses, corev1.ResourceStorage)
		if told.Cmp(has) < 0 {
			s.Capacity[corev1.ResourceStorage] = has
		}
	}); err != nil {
		return err
	}
	if told.Cmp(has) < 0 {
		r.events.Eventf(claim, corev1.EventTypeNormal, "VolumeResizeSuccessful", "the volume has %s", has.String())
	}
	return nil
}

// grow makes a volume as large as its claim wants it.
func (r *resizer) grow(ctx context.Context, claim *corev1.PersistentVolumeClaim, volume *corev1.PersistentVolume) (*corev1.PersistentVolume, *corev1.PersistentVolumeClaim, error) {
	name, err := r.provisioner.nameOf(volume)
	if err != nil {
		return nil, nil, err
	}
	want := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	size := quantity(pool.MiB(want.Value()))
	if claim, err = r.tell(ctx, claim, func(s *corev1.PersistentVolumeClaimStatus) {
		// The quota of a namespace counts what is allocated, also when the claim
		// is made smaller again before it was done.
		if s.AllocatedResources == nil {
			s.AllocatedResources = corev1.ResourceList{}
		}
		s.AllocatedResources[corev1.ResourceStorage] = size
		s.AllocatedResourceStatuses = map[corev1.ResourceName]corev1.ClaimResourceStatus{corev1.ResourceStorage: corev1.PersistentVolumeClaimControllerResizeInProgress}
		set(s, corev1.PersistentVolumeClaimResizing, "")
	}); err != nil {
		return nil, nil, err
	}
	done := r.provisioner.metrics.begin("grow")
	_, err = r.provisioner.storage.Create(ctx, name, pool.MiB(want.Value()), defaultMode)
	done(err)
	if err != nil {
		r.events.Event(claim, corev1.EventTypeWarning, "VolumeResizeFailed", err.Error())
		_, told := r.tell(ctx, claim, func(s *corev1.PersistentVolumeClaimStatus) {
			if errors.Is(err, pool.ErrNoRoom) {
				s.AllocatedResourceStatuses = map[corev1.ResourceName]corev1.ClaimResourceStatus{corev1.ResourceStorage: corev1.PersistentVolumeClaimControllerResizeInfeasible}
			}
			set(s, corev1.PersistentVolumeClaimControllerResizeError, err.Error())
		})
		return nil, nil, errors.Join(err, told)
	}
	patch, err := json.Marshal(map[string]any{
		// Not over what somebody else has written since we looked.
		"metadata": map[string]any{"resourceVersion": volume.ResourceVersion},
		"spec":     map[string]any{"capacity": corev1.ResourceList{corev1.ResourceStorage: size}},
	})
	if err != nil {
		return nil, nil, err
	}
	volume, err = r.client.CoreV1().PersistentVolumes().Patch(ctx, volume.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("volume of claim %s/%s has %s now, but could not be told so: %w", claim.Namespace, claim.Name, size.String(), err)
	}
	return volume, claim, nil
}

// ours is whether a condition of a claim is one that the resizer sets.
func ours(c corev1.PersistentVolumeClaimCondition) bool {
	return c.Type == corev1.PersistentVolumeClaimResizing || c.Type == corev1.PersistentVolumeClaimControllerResizeError
}

// set gives a claim a condition, in the place of one of its type.
func set(s *corev1.PersistentVolumeClaimStatus, condition corev1.PersistentVolumeClaimConditionType, message string) {
	now := metav1.NewTime(time.Now())
	i := slices.IndexFunc(s.Conditions, func(c corev1.PersistentVolumeClaimCondition) bool { return c.Type == condition })
	if i < 0 {
		s.Conditions = append(s.Conditions, corev1.PersistentVolumeClaimCondition{Type: condition, LastTransitionTime: now})
		i = len(s.Conditions) - 1
	}
	s.Conditions[i].Status, s.Conditions[i].Message = corev1.ConditionTrue, message
}

// tell changes the status of a claim, unless somebody else has changed the claim
// since we looked. A change to nothing new is not written.
func (r *resizer) tell(ctx context.Context, claim *corev1.PersistentVolumeClaim, change func(*corev1.PersistentVolumeClaimStatus)) (*corev1.PersistentVolumeClaim, error) {
	changed := claim.DeepCopy()
	if changed.Status.Capacity == nil {
		changed.Status.Capacity = corev1.ResourceList{}
	}
	change(&changed.Status)
	before, err := json.Marshal(claim.Status)
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(changed.Status)
	if err != nil {
		return nil, err
	}
	if string(before) == string(after) {
		return claim, nil
	}
	updated, err := r.client.CoreV1().PersistentVolumeClaims(claim.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	if err != nil {
		return nil, fmt.Errorf("status of claim %s/%s: %w", claim.Namespace, claim.Name, err)
	}
	return updated, nil
}
