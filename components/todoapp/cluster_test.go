package todoapp

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/halinux/halinux/tests/apiserver"
)

// TestInACluster puts the component's objects into a real API server, which knows all
// of their fields, and makes the pods of all three kinds, which the namespace's level
// has to let in.
func TestInACluster(t *testing.T) {
	server := apiserver.Start(t)
	client, err := kubernetes.NewForConfig(server.Config())
	require.NoError(t, err)
	resources := run(t, example())
	server.Put(resources)

	deployment, err := client.AppsV1().Deployments("lists").Get(t.Context(), "todo", metav1.GetOptions{})
	require.NoError(t, err)
	migrate, err := client.BatchV1().Jobs("lists").Get(t.Context(), "todo-migrate", metav1.GetOptions{})
	require.NoError(t, err)
	sweep, err := client.BatchV1().CronJobs("lists").Get(t.Context(), "todo-sweep", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, int32(1), *deployment.Spec.Replicas, "which is the autoscaler's to say")
	for part, template := range map[string]corev1.PodTemplateSpec{
		"web": deployment.Spec.Template, "migrate": migrate.Spec.Template, "sweep": sweep.Spec.JobTemplate.Spec.Template,
	} {
		made, err := client.CoreV1().Pods("lists").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: part, Labels: template.Labels}, Spec: template.Spec}, metav1.CreateOptions{})
		require.NoError(t, err, part)
		// Of the template: this server has no admission that mounts tokens.
		assert.False(t, *template.Spec.AutomountServiceAccountToken, "%s has no token: it asks no API server", part)
		assert.Equal(t, corev1.PodQOSGuaranteed, made.Status.QOSClass, "as the output says")
	}
	bad := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bad"}, Spec: *deployment.Spec.Template.Spec.DeepCopy()}
	bad.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = new(true)
	_, err = client.CoreV1().Pods("lists").Create(t.Context(), bad, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	require.ErrorContains(t, err, "restricted", "that it asks at all")

	// Who selects by labels finds the pods that it is for, and no others.
	service, err := client.CoreV1().Services("lists").Get(t.Context(), "todo", metav1.GetOptions{})
	require.NoError(t, err)
	budget, err := client.PolicyV1().PodDisruptionBudgets("lists").Get(t.Context(), "todo", metav1.GetOptions{})
	require.NoError(t, err)
	for what, labels := range map[string]map[string]string{"service": service.Spec.Selector, "budget": budget.Spec.Selector.MatchLabels} {
		pods, err := client.CoreV1().Pods("lists").List(t.Context(), metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels})})
		require.NoError(t, err)
		require.Len(t, pods.Items, 1, what)
		assert.Equal(t, "web", pods.Items[0].Name, what)
	}
}
