package registry

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/halinux/halinux/tests/apiserver"
)

// TestInACluster puts the component's objects into a real API server, and makes the
// pods that its controllers would.
func TestInACluster(t *testing.T) {
	server := apiserver.Start(t)
	client, err := kubernetes.NewForConfig(server.Config())
	require.NoError(t, err)
	resources := run(t, example())
	server.Put(resources)
	// What the namespace asks of pods is asked when they are made.
	deployment, err := client.AppsV1().Deployments("registry").Get(t.Context(), "registry", metav1.GetOptions{})
	require.NoError(t, err)
	job, err := client.BatchV1().CronJobs("registry").Get(t.Context(), "registry-collect", metav1.GetOptions{})
	require.NoError(t, err)
	for name, template := range map[string]corev1.PodTemplateSpec{"server": deployment.Spec.Template, "collect": job.Spec.JobTemplate.Spec.Template} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: template.Labels}, Spec: template.Spec}
		_, err = client.CoreV1().Pods("registry").Create(t.Context(), p, metav1.CreateOptions{})
		require.NoError(t, err, name)
	}
	bad := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bad"}, Spec: *deployment.Spec.Template.Spec.DeepCopy()}
	bad.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = new(true)
	_, err = client.CoreV1().Pods("registry").Create(t.Context(), bad, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	require.ErrorContains(t, err, "restricted", "that it asks at all")

	// The service leads to instances, and never to the collector.
	service, err := client.CoreV1().Services("registry").Get(t.Context(), "registry", metav1.GetOptions{})
	require.NoError(t, err)
	pods, err := client.CoreV1().Pods("registry").List(t.Context(), metav1.ListOptions{LabelSelector: metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: service.Spec.Selector})})
	require.NoError(t, err)
	require.Len(t, pods.Items, 1)
	require.Equal(t, "server", pods.Items[0].Name)
}
