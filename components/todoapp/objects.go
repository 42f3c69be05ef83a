package todoapp

import (
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/halinux/halinux/components/object"
)

// Ports of a pod.
const (
	portPages   = 8080
	portMetrics = 9090
)

// userID is who runs the program: nobody of any image, and the owner's group of what
// is on the volume.
const userID = 10001

// drain and shutdown are the program's seconds; a pod is given some more.
const (
	drain    = 5
	shutdown = 60
	grace    = 75
)

// Values that are known later stand in objects as these, see [filled].
const (
	imageIs     = "[image]"
	settingsIs  = "[version of the settings]"
	secretIs    = "[version of the secret]"
	authorityIs = "[version of the authority]"
)

// Folders and files in the pods.
const (
	attachments  = "/srv/attachments"
	secretFolder = "/run/secrets/todo"
	caFolder     = "/etc/todo"
	passwordKey  = "password"
	migrateKey   = "migrate-password"
	caKey        = "ca.crt"
)

// Kinds that only applications have.
var (
	cronJob                 = object.Kind{APIVersion: "batch/v1", Kind: "CronJob"}
	horizontalPodAutoscaler = object.Kind{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"}
	ingress                 = object.Kind{APIVersion: "networking.k8s.io/v1", Kind: "Ingress"}
	job                     = object.Kind{APIVersion: "batch/v1", Kind: "Job"}
	persistentVolumeClaim   = object.Kind{APIVersion: "v1", Kind: "PersistentVolumeClaim"}
	service                 = object.Kind{APIVersion: "v1", Kind: "Service"}
)

// names are what the objects of an application are called.
type names struct{ name, namespace string }

func (n names) sweep() string   { return n.name + "-sweep" }
func (n names) migrate() string { return n.name + "-migrate" }

// labels of everything that belongs to the application.
func (n names) labels() map[string]string {
	return map[string]string{"app.kubernetes.io/name": "todo", "app.kubernetes.io/instance": n.name}
}

// of are the labels of one part's pods: web, migrate or sweep.
func (n names) of(part string) map[string]string {
	l := n.labels()
	l["app.kubernetes.io/component"] = part
	return l
}

func selector(labels map[string]string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: labels}
}

func (n names) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: n.namespace, Labels: n.labels()}
}

// settings are the environment that all pods share, but for the database's host.
func (a *TodoAppArgs) settings() map[string]string {
	return map[string]string{
		"TODO_PROFILE":          "production",
		"TODO_URL":              "https://" + a.Hosts[0],
		"TODO_ATTACHMENTS":      attachments,
		"TODO_DATABASE_NAME":    a.Database.name(),
		"TODO_DATABASE_CA":      caFolder + "/" + caKey,
		"TODO_UPLOAD_LIMIT":     strconv.Itoa(a.uploadLimit()),
		"TODO_THUMBNAIL_MEMORY": strconv.Itoa(a.thumbnailMemory()),
		"TODO_TRUSTED_PROXIES":  strings.Join(a.trustedProxies(), ","),
		"TODO_DRAIN":            strconv.Itoa(drain) + "s",
		"TODO_SHUTDOWN":         strconv.Itoa(shutdown) + "s",
		"TZ":                    a.timeZone(),
	}
}

// account has no rights, and its token is mounted nowhere.
func (n names) account() *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: n.meta(n.name), AutomountServiceAccountToken: new(false)}
}

func (n names) claim(a *TodoAppArgs) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: n.meta(n.name), Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(a.size())}},
	}}
	// A class may wait for the first pod.
	c.Annotations = map[string]string{"pulumi.com/skipAwait": "true"}
	if a.StorageClass != "" {
		c.Spec.StorageClassName = new(a.StorageClass)
	}
	return c
}

// service leads to the pods, each person to the one that the cookie names, as long as
// it is there. It is the ingress controller that reads these annotations: what the edge
// could choose is a controller, each of which knows all pods.
func (n names) service() *corev1.Service {
	s := &corev1.Service{ObjectMeta: n.meta(n.name), Spec: corev1.ServiceSpec{
		Selector: n.of("web"), Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(portPages)}},
	}}
	const cookie = "traefik.ingress.kubernetes.io/service.sticky.cookie"
	s.Annotations = map[string]string{
		"pulumi.com/skipAwait": "true", // there are no pods yet
		cookie:                 "true", cookie + ".name": "TODO_POD",
		cookie + ".secure": "true", cookie + ".httponly": "true", cookie + ".samesite": "lax",
	}
	return s
}

func (n names) ingress(a *TodoAppArgs) *networkingv1.Ingress {
	backend := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: n.name, Port: networkingv1.ServiceBackendPort{Name: "http"}}}
	i := &networkingv1.Ingress{ObjectMeta: n.meta(n.name), Spec: networkingv1.IngressSpec{IngressClassName: new(a.ingressClass())}}
	// The controller is in the nodes' own network and has no address to report.
	i.Annotations = map[string]string{"pulumi.com/skipAwait": "true"}
	for _, h := range a.Hosts {
		i.Spec.Rules = append(i.Spec.Rules, networkingv1.IngressRule{Host: h, IngressRuleValue: networkingv1.IngressRuleValue{
			HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: new(networkingv1.PathTypePrefix), Backend: backend}}},
		}})
	}
	return i
}

func (n names) budget() *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{ObjectMeta: n.meta(n.name), Spec: policyv1.PodDisruptionBudgetSpec{
		MaxUnavailable: new(intstr.FromInt32(1)), Selector: selector(n.of("web")),
	}}
}

func (n names) autoscaler(a *TodoAppArgs) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: n.meta(n.name), Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: n.name},
		MinReplicas:    new(int32(a.replicas())), MaxReplicas: int32(a.Autoscale.Max),
		Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
			Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(a.Autoscale.cpu()))},
		}}},
	}}
}

func ports(protocol corev1.Protocol, numbers ...int32) []networkingv1.NetworkPolicyPort {
	var all []networkingv1.NetworkPolicyPort
	for _, p := range numbers {
		all = append(all, networkingv1.NetworkPolicyPort{Protocol: new(protocol), Port: new(intstr.FromInt32(p))})
	}
	return all
}

var both = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}

// deny lets nothing through to and from pods that no other policy names.
func (n names) deny() *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{ObjectMeta: n.meta(n.name + "-default-deny"), Spec: networkingv1.NetworkPolicySpec{PolicyTypes: both}}
}

// outward is what all parts need: names and the database.
func (n names) outward(a *TodoAppArgs) *networkingv1.NetworkPolicy {
	to := networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0"}}
	if d := a.Database; d.Namespace != "" {
		to = networkingv1.NetworkPolicyPeer{
			NamespaceSelector: selector(map[string]string{corev1.LabelMetadataName: d.Namespace}), PodSelector: selector(d.Pods),
		}
	}
	system := networkingv1.NetworkPolicyPeer{NamespaceSelector: selector(map[string]string{corev1.LabelMetadataName: metav1.NamespaceSystem})}
	return &networkingv1.NetworkPolicy{ObjectMeta: n.meta(n.name), Spec: networkingv1.NetworkPolicySpec{
		PodSelector: *selector(n.labels()), PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeEgress},
		Egress: []networkingv1.NetworkPolicyEgressRule{
			{To: []networkingv1.NetworkPolicyPeer{system}, Ports: append(ports(corev1.ProtocolUDP, 53), ports(corev1.ProtocolTCP, 53)...)},
			{To: []networkingv1.NetworkPolicyPeer{to}, Ports: ports(corev1.ProtocolTCP, int32(a.Database.port()))},
		},
	}}
}

// inward is who may ask for pages and for metrics. The kubelet's questions come from
// the pod's own node, which no policy concerns.
func (n names) inward(a *TodoAppArgs) *networkingv1.NetworkPolicy {
	var controllers, readers []networkingv1.NetworkPolicyPeer
	for _, from := range a.IngressFrom {
		controllers = append(controllers, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: from}})
	}
	for _, labels := range a.Metrics {
		readers = append(readers, networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{}, PodSelector: selector(labels)})
	}
	p := &networkingv1.NetworkPolicy{ObjectMeta: n.meta(n.name + "-web"), Spec: networkingv1.NetworkPolicySpec{
		PodSelector: *selector(n.of("web")), PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
		Ingress: []networkingv1.NetworkPolicyIngressRule{{From: controllers, Ports: ports(corev1.ProtocolTCP, portPages)}},
	}}
	if len(readers) > 0 {
		p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: readers, Ports: ports(corev1.ProtocolTCP, portMetrics)})
	}
	return p
}

func mount(name, path string, readOnly bool) corev1.VolumeMount {
	return corev1.VolumeMount{Name: name, MountPath: path, ReadOnly: readOnly}
}

func fromField(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}

func (a *TodoAppArgs) needs() corev1.ResourceRequirements {
	memory := resource.MustParse(strconv.Itoa(a.memory()) + "Mi")
	r := corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(a.cpu()), corev1.ResourceMemory: memory},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: memory},
	}
	if a.CPULimit != "" {
		r.Limits[corev1.ResourceCPU] = resource.MustParse(a.CPULimit)
	}
	return r
}

// template is a pod of one part, which runs the program with a command of its own.
func (n names) template(a *TodoAppArgs, part, command string) corev1.PodTemplateSpec {
	secretKey := passwordKey
	if part == "migrate" {
		if a.Database.MigrateUser != "" {
			secretKey = migrateKey
		}
	}
	c := corev1.Container{
		Name: "todo", Image: imageIs, Args: []string{command},
		EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: n.name}}}},
		Env: []corev1.EnvVar{
			fromField("POD_NAME", "metadata.name"), fromField("NODE_NAME", "spec.nodeName"),
			{Name: "TODO_DATABASE_USER", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: n.name}, Key: strings.TrimSuffix(secretKey, "password") + "user",
			}}},
			{Name: "TODO_DATABASE_PASSWORD_FILE", Value: secretFolder + "/" + passwordKey},
		},
		Resources: a.needs(),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
		VolumeMounts: []corev1.VolumeMount{
			mount("secret", secretFolder, true), mount("authority", caFolder, true), mount("attachments", attachments, false), mount("tmp", "/tmp", false),
		},
	}
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{
			Labels: n.of(part),
			// The program reads its settings when it starts.
			Annotations: map[string]string{
				"todo.halinux.internal/config": settingsIs, "todo.halinux.internal/secret": secretIs, "todo.halinux.internal/authority": authorityIs,
			},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: n.name, AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
			TerminationGracePeriodSeconds: new(int64(grace)),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), RunAsUser: new(int64(userID)), RunAsGroup: new(int64(userID)), FSGroup: new(int64(userID)),
				// A walk through all files at each start would take as long as there are many.
				FSGroupChangePolicy: new(corev1.FSGroupChangeOnRootMismatch),
				SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{c},
			Volumes: []corev1.Volume{
				// Each part sees the one password that is its own.
				{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
					SecretName: n.name, DefaultMode: new(int32(0o440)), Items: []corev1.KeyToPath{{Key: secretKey, Path: passwordKey}},
				}}},
				{Name: "authority", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: n.name + "-authority"}}}},
				{Name: "attachments", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: n.name}}},
				{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			},
		},
	}
}

// migration is a Job that brings the tables up to date before any pod of this version
// starts. A pod of it is replaced only when it has ended: two must not run at a time.
func (n names) migration(a *TodoAppArgs) *batchv1.Job {
	t := n.template(a, "migrate", "migrate")
	t.Spec.RestartPolicy = corev1.RestartPolicyNever // what it said stays to be read
	// It touches no file, and must not wait for a volume.
	t.Spec.Volumes = append(t.Spec.Volumes[:2:2], t.Spec.Volumes[3])
	m := t.Spec.Containers[0].VolumeMounts
	t.Spec.Containers[0].VolumeMounts = append(m[:2:2], m[3])
	j := &batchv1.Job{ObjectMeta: n.meta(n.migrate()), Spec: batchv1.JobSpec{
		Parallelism: new(int32(1)), Completions: new(int32(1)), BackoffLimit: new(int32(6)),
		PodReplacementPolicy: new(batchv1.Failed), Template: t,
	}}
	// The next one may begin when the pod of the one before is gone.
	j.Annotations = map[string]string{"pulumi.com/deletionPropagationPolicy": "foreground"}
	return j
}

// sweeping is a CronJob, never twice at a time.
func (n names) sweeping(a *TodoAppArgs) *batchv1.CronJob {
	t := n.template(a, "sweep", "sweep")
	t.Spec.RestartPolicy = corev1.RestartPolicyNever
	return &batchv1.CronJob{ObjectMeta: n.meta(n.sweep()), Spec: batchv1.CronJobSpec{
		Schedule: a.sweep(), TimeZone: new("Etc/UTC"), ConcurrencyPolicy: batchv1.ForbidConcurrent,
		StartingDeadlineSeconds: new(int64(3600)), SuccessfulJobsHistoryLimit: new(int32(1)), FailedJobsHistoryLimit: new(int32(3)),
		JobTemplate: batchv1.JobTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: n.of("sweep")}, Spec: batchv1.JobSpec{
			BackoffLimit: new(int32(2)), ActiveDeadlineSeconds: new(int64(3600)), Template: t,
		}},
	}}
}

func probe(path string, period, failures, timeout int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("http")}},
		PeriodSeconds: period, FailureThreshold: failures, TimeoutSeconds: timeout,
	}
}

// deployment is the pods that people talk to.
func (n names) deployment(a *TodoAppArgs) *appsv1.Deployment {
	t := n.template(a, "web", "serve")
	c := &t.Spec.Containers[0]
	c.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: portPages}, {Name: "metrics", ContainerPort: portMetrics}}
	// Liveness asks for nothing but the process: one that waits for a database that is
	// away is not helped by a new start. Readiness takes up to 2 s where the volume hangs.
	c.StartupProbe = probe("/healthz", 1, 60, 2)
	c.LivenessProbe, c.ReadinessProbe = probe("/healthz", 10, 6, 5), probe("/readyz", 2, 3, 4)
	t.Spec.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		// Where there is one node left, all pods may be on it.
		MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
		LabelSelector: selector(n.of("web")), MatchLabelKeys: []string{appsv1.DefaultDeploymentUniqueLabelKey},
	}}
	d := &appsv1.Deployment{ObjectMeta: n.meta(n.name), Spec: appsv1.DeploymentSpec{
		Selector: selector(n.of("web")), Template: t,
		Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxUnavailable: new(intstr.FromInt32(0)), MaxSurge: new(intstr.FromInt32(1)),
		}},
	}}
	if a.Autoscale == nil {
		d.Spec.Replicas = new(int32(a.replicas()))
	}
	return d
}
