package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/halinux/halinux/components/galera/pod"
	"github.com/halinux/halinux/components/galera/recovery"
)

// api is the part of the Kubernetes API that a node needs: the record, a
// ConfigMap, the pods' labels, and how the CronJobs of backups are.
type api struct {
	maps, pods, jobs dynamic.ResourceInterface
	name             string
}

func inCluster(s settings) (*api, error) {
	config, err := rest.InClusterConfig()
	if err != nil {
		return nil, err
	}
	config.Timeout = 5 * s.interval
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	of := func(group, resource string) dynamic.ResourceInterface {
		return client.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}).Namespace(s.namespace)
	}
	return &api{maps: of("", "configmaps"), pods: of("", "pods"), jobs: of("batch", "cronjobs"), name: s.record}, nil
}

// record is the record as it was read, and all that is kept with it.
type record struct {
	recovery.Record
	lost   []int
	writer int // -1 where there is none
	object *unstructured.Unstructured
}

// read reads the record. It is empty where nothing has been written yet; one that
// cannot be understood is an error, never taken for an empty one.
func (a *api) read(ctx context.Context) (*record, error) {
	object, err := a.maps.Get(ctx, a.name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	r := &record{writer: -1, object: object}
	data, _, err := unstructured.NestedStringMap(object.Object, "data")
	if err != nil {
		return nil, err
	}
	if text := data[pod.KeyRecord]; text != "" {
		if err := json.Unmarshal([]byte(text), &r.Record); err != nil {
			return nil, fmt.Errorf("%s of the ConfigMap %s: %w", pod.KeyRecord, a.name, err)
		}
	}
	if text := data[pod.KeyWriter]; text != "" {
		if r.writer, err = strconv.Atoi(text); err != nil {
			return nil, fmt.Errorf("%s of the ConfigMap %s: %w", pod.KeyWriter, a.name, err)
		}
	}
	if text := object.GetAnnotations()[pod.AnnotationLost]; text != "" {
		for word := range strings.SplitSeq(text, ",") {
			ordinal, err := strconv.Atoi(strings.TrimSpace(word))
			if err != nil {
				return nil, fmt.Errorf("annotation %s of the ConfigMap %s: %q is not a number of a node", pod.AnnotationLost, a.name, word)
			}
			r.lost = append(r.lost, ordinal)
		}
	}
	return r, nil
}

// write writes what has changed in the record, if nobody has written in between.
func (a *api) write(ctx context.Context, r *record) error {
	text, err := json.Marshal(r.Record)
	if err != nil {
		return err
	}
	object := r.object.DeepCopy()
	if err := unstructured.SetNestedStringMap(object.Object, map[string]string{
		pod.KeyRecord: string(text), pod.KeyWriter: strconv.Itoa(r.writer),
	}, "data"); err != nil {
		return err
	}
	if annotations := object.GetAnnotations(); len(r.lost) == 0 && annotations[pod.AnnotationLost] != "" {
		delete(annotations, pod.AnnotationLost)
		object.SetAnnotations(annotations)
	}
	written, err := a.maps.Update(ctx, object, metav1.UpdateOptions{FieldManager: "galera-node"})
	if err != nil {
		return err
	}
	r.object = written
	return nil
}

// label says of a pod whether it is the writer.
func (a *api) label(ctx context.Context, name string, writer bool) error {
	value := "null"
	if writer {
		value = `"true"`
	}
	_, err := a.pods.Patch(ctx, name, types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{%q:%s}}}`, pod.LabelWriter, value), metav1.PatchOptions{FieldManager: "galera-node"})
	return err
}

// cronJob is how a CronJob is.
type cronJob struct {
	name                 string
	scheduled, succeeded time.Time // zero for never
}

func (a *api) cronJobs(ctx context.Context, names []string) ([]cronJob, error) {
	var all []cronJob
	for _, name := range names {
		object, err := a.jobs.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		j := cronJob{name: name}
		for field, t := range map[string]*time.Time{"lastScheduleTime": &j.scheduled, "lastSuccessfulTime": &j.succeeded} {
			text, found, err := unstructured.NestedString(object.Object, "status", field)
			if err != nil || !found {
				continue
			}
			if *t, err = time.Parse(time.RFC3339, text); err != nil {
				return nil, fmt.Errorf("%s of the CronJob %s: %w", field, name, err)
			}
		}
		all = append(all, j)
	}
	return all, nil
}
