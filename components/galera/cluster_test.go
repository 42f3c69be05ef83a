package galera

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/halinux/halinux/components/galera/pod"
	"github.com/halinux/halinux/tests/apiserver"
)

// TestInACluster puts the component's objects into a real API server, and does as
// the pods what galera-node does there, and what it may not.
func TestInACluster(t *testing.T) {
	server := apiserver.Start(t)
	client, err := kubernetes.NewForConfig(server.Config())
	require.NoError(t, err)
	resources := run(t, example())
	server.Put(resources)

	// What the namespace asks of pods is asked when they are made.
	set, err := client.AppsV1().StatefulSets("todo").Get(t.Context(), "db", metav1.GetOptions{})
	require.NoError(t, err)
	job, err := client.BatchV1().CronJobs("todo").Get(t.Context(), "db-backup", metav1.GetOptions{})
	require.NoError(t, err)
	for name, template := range map[string]corev1.PodTemplateSpec{"db-0": set.Spec.Template, "other": job.Spec.JobTemplate.Spec.Template} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: template.Labels}, Spec: template.Spec}
		for i, m := range p.Spec.Containers[0].VolumeMounts {
			if m.Name == "data" && name == "db-0" { // which the StatefulSet's controller adds
				p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: p.Spec.Containers[0].VolumeMounts[i].Name})
			}
		}
		_, err = client.CoreV1().Pods("todo").Create(t.Context(), p, metav1.CreateOptions{})
		require.NoError(t, err, name)
	}
	bad := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bad"}, Spec: *set.Spec.Template.Spec.DeepCopy()}
	bad.Spec.Volumes = append(bad.Spec.Volumes, corev1.Volume{Name: "data"})
	bad.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = new(true)
	_, err = client.CoreV1().Pods("todo").Create(t.Context(), bad, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	require.ErrorContains(t, err, "restricted", "that it asks at all")

	as, err := kubernetes.NewForConfig(server.As("todo", "db"))
	require.NoError(t, err)
	record, err := as.CoreV1().ConfigMaps("todo").Get(t.Context(), "db-record", metav1.GetOptions{})
	require.NoError(t, err)
	earlier := record.DeepCopy()
	record.Data = map[string]string{pod.KeyWriter: "0"}
	_, err = as.CoreV1().ConfigMaps("todo").Update(t.Context(), record, metav1.UpdateOptions{})
	require.NoError(t, err)
	_, err = as.CoreV1().ConfigMaps("todo").Update(t.Context(), earlier, metav1.UpdateOptions{})
	require.True(t, apierrors.IsConflict(err), "of two that write what they have read, one may")
	label := []byte(`{"metadata":{"labels":{"` + pod.LabelWriter + `":"true"}}}`)
	_, err = as.CoreV1().Pods("todo").Patch(t.Context(), "db-0", types.MergePatchType, label, metav1.PatchOptions{})
	require.NoError(t, err)
	service, err := client.CoreV1().Services("todo").Get(t.Context(), "db", metav1.GetOptions{})
	require.NoError(t, err)
	writers, err := client.CoreV1().Pods("todo").List(t.Context(), metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: service.Spec.Selector})})
	require.NoError(t, err)
	require.Len(t, writers.Items, 1, "the service of the writer leads to it")

	_, err = as.BatchV1().CronJobs("todo").Get(t.Context(), "db-logs", metav1.GetOptions{})
	require.NoError(t, err, "how backups are")

	for what, forbidden := range map[string]func() error{
		"a restore": func() error {
			_, err := as.BatchV1().CronJobs("todo").Patch(t.Context(), "db-restore", types.MergePatchType, []byte(`{"spec":{"suspend":false}}`), metav1.PatchOptions{})
			return err
		},
		"another pod": func() error {
			_, err := as.CoreV1().Pods("todo").Patch(t.Context(), "other", types.MergePatchType, label, metav1.PatchOptions{})
			return err
		},
		"all pods": func() error {
			_, err := as.CoreV1().Pods("todo").List(t.Context(), metav1.ListOptions{})
			return err
		},
		"secrets": func() error {
			_, err := as.CoreV1().Secrets("todo").Get(t.Context(), "db-schema", metav1.GetOptions{})
			return err
		},
		"the settings": func() error {
			_, err := as.CoreV1().ConfigMaps("todo").Update(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "db-config"}}, metav1.UpdateOptions{})
			return err
		},
		"an end of the record": func() error {
			return as.CoreV1().ConfigMaps("todo").Delete(t.Context(), "db-record", metav1.DeleteOptions{})
		},
	} {
		require.True(t, apierrors.IsForbidden(forbidden()), what)
	}
}
