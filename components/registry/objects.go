package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"path"

	"go.yaml.in/yaml/v3"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/halinux/halinux/components/object"
)

const (
	port        = 5000 // distribution's own
	metricsPort = 5001
	user        = 65532 // nobody's; the volume belongs to its group
	root        = "/var/lib/registry"
	configPath  = "/etc/registry/config"
	secretPath  = "/etc/registry/secret"
	configFile  = "config.yml"
	usersFile   = "htpasswd"
	httpSecret  = "http-secret"
	// drain is how long requests may go on when an instance ends.
	drain = 60
)

// Kinds that package object does not name.
var (
	cronJob               = object.Kind{APIVersion: "batch/v1", Kind: "CronJob"}
	ingress               = object.Kind{APIVersion: "networking.k8s.io/v1", Kind: "Ingress"}
	persistentVolumeClaim = object.Kind{APIVersion: "v1", Kind: "PersistentVolumeClaim"}
	service               = object.Kind{APIVersion: "v1", Kind: "Service"}
)

// config is the program's configuration.
func (a *RegistryArgs) config() (string, error) {
	type m = map[string]any
	text, err := yaml.Marshal(m{
		"version": "0.1",
		"log":     m{"level": "info", "formatter": "json", "accesslog": m{"disabled": true}},
		"storage": m{
			// No cache of blobs: it would tell clients of what was collected.
			"filesystem": m{"rootdirectory": root},
			"delete":     m{"enabled": true},
			"maintenance": m{"uploadpurging": m{
				"enabled": true, "age": "168h", "interval": "24h", "dryrun": false,
			}},
		},
		"auth": m{"htpasswd": m{"realm": a.Host, "path": path.Join(secretPath, usersFile)}},
		"http": m{
			// TLS ends at the edge: a URL of its own making would name the wrong scheme.
			"addr": ":5000", "relativeurls": true, "draintimeout": "50s",
			"headers": m{"X-Content-Type-Options": []string{"nosniff"}},
			"debug":   m{"addr": ":5001", "prometheus": m{"enabled": true, "path": "/metrics"}},
		},
		"health": m{"storagedriver": m{"enabled": true, "interval": "10s", "threshold": 3}},
	})
	return string(text), err
}

// names are what the objects of a registry are called.
type names struct{ name, namespace string }

// one is an object on its way to be registered.
type one struct {
	what  string // the end of its name in the program
	kind  object.Kind
	of    any
	first bool // before all others
	last  bool // after all others
}

func (n names) labels(component string) map[string]string {
	l := map[string]string{"app.kubernetes.io/name": "registry", "app.kubernetes.io/instance": n.name}
	if component != "" {
		l["app.kubernetes.io/component"] = component
	}
	return l
}

func (n names) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: n.namespace, Labels: n.labels("")}
}

func (n names) servers() *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: n.labels("server")}
}

// objects are those of a registry.
func (n names) objects(a *RegistryArgs, config string) []one {
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: n.meta(n.name), Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(a.size())}},
	}}
	// A class may wait for a pod.
	claim.Annotations = map[string]string{"pulumi.com/skipAwait": "true"}
	if a.StorageClass != "" {
		claim.Spec.StorageClassName = new(a.StorageClass)
	}
	all := []one{
		{what: "namespace", kind: object.Namespace, first: true, of: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: n.namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
		}}},
		{what: "account", kind: object.ServiceAccount, of: &corev1.ServiceAccount{ObjectMeta: n.meta(n.name), AutomountServiceAccountToken: new(bool)}},
		{what: "config", kind: object.ConfigMap, of: &corev1.ConfigMap{ObjectMeta: n.meta(n.name), Data: map[string]string{configFile: config}}},
		{what: "secret", kind: object.Secret, of: &corev1.Secret{ObjectMeta: n.meta(n.name)}},
		{what: "claim", kind: persistentVolumeClaim, of: claim},
		{what: "policy", kind: object.NetworkPolicy, of: n.policy(a)},
		{what: "service", kind: service, of: n.service()},
		{what: "ingress", kind: ingress, of: n.ingress(a)},
	}
	if a.replicas() > 1 {
		all = append(all, one{what: "budget", kind: object.PodDisruptionBudget, of: &policyv1.PodDisruptionBudget{
			ObjectMeta: n.meta(n.name), Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1)), Selector: n.servers()},
		}})
	}
	if !a.Collection.Off {
		all = append(all, one{what: "collect", kind: cronJob, of: n.collect(a)})
	}
	return append(all, one{what: "deployment", kind: object.Deployment, of: n.deployment(a, config), last: true})
}

// service leads to the instances. Whoever asks stays with one: a chunked upload that
// moved between instances would meet what the storage's client remembers of files.
// Requests of Traefik go by the service's own address for this, and the edge keeps a
// client with one Traefik.
func (n names) service() *corev1.Service {
	s := &corev1.Service{ObjectMeta: n.meta(n.name), Spec: corev1.ServiceSpec{
		Selector: n.labels("server"), SessionAffinity: corev1.ServiceAffinityClientIP,
		Ports: []corev1.ServicePort{{Name: "http", Port: port, TargetPort: intstr.FromString("http")}},
	}}
	s.Annotations = map[string]string{
		"pulumi.com/skipAwait":                           "true", // there are no pods yet
		"traefik.ingress.kubernetes.io/service.nativelb": "true",
	}
	return s
}

func (n names) ingress(a *RegistryArgs) *networkingv1.Ingress {
	i := &networkingv1.Ingress{ObjectMeta: n.meta(n.name), Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{
		Host: a.Host, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
			Path: "/v2/", PathType: new(networkingv1.PathTypePrefix),
			Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: n.name, Port: networkingv1.ServiceBackendPort{Name: "http"}}},
		}}}},
	}}}}
	// No controller writes an address that could be waited for.
	i.Annotations = map[string]string{"pulumi.com/skipAwait": "true"}
	if a.IngressClass != "" {
		i.Spec.IngressClassName = new(a.IngressClass)
	}
	return i
}

// policy lets requests in, and nothing out: the node mounts the volume. The
// collector's pods get nothing in either.
func (n names) policy(a *RegistryArgs) *networkingv1.NetworkPolicy {
	at := func(p int32) []networkingv1.NetworkPolicyPort {
		return []networkingv1.NetworkPolicyPort{{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromInt32(p))}}
	}
	requests := networkingv1.NetworkPolicyIngressRule{Ports: at(port)}
	for _, s := range a.Sources {
		requests.From = append(requests.From, networkingv1.NetworkPolicyPeer{IPBlock: &networkingv1.IPBlock{CIDR: s}})
	}
	return &networkingv1.NetworkPolicy{ObjectMeta: n.meta(n.name), Spec: networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: n.labels("")},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		Ingress:     []networkingv1.NetworkPolicyIngressRule{requests, {Ports: at(metricsPort)}},
	}}
}

// pod is one with the program, the volume and the configuration.
func (n names) pod(a *RegistryArgs, c corev1.Container) corev1.PodSpec {
	c.Image, c.SecurityContext = a.image(), &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	c.VolumeMounts = append(c.VolumeMounts,
		corev1.VolumeMount{Name: "data", MountPath: root},
		corev1.VolumeMount{Name: "config", MountPath: configPath, ReadOnly: true})
	return corev1.PodSpec{
		ServiceAccountName: n.name, AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), RunAsUser: new(int64(user)), RunAsGroup: new(int64(user)), FSGroup: new(int64(user)),
			// A walk through all files at each start would take as long as there are many.
			FSGroupChangePolicy: new(corev1.FSGroupChangeOnRootMismatch),
			SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{c},
		Volumes: []corev1.Volume{
			{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: n.name}}},
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: n.name}}}},
		},
	}
}

func needs(cpu, memory, most string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(most)},
	}
}

func (n names) deployment(a *RegistryArgs, config string) *appsv1.Deployment {
	sum := sha256.Sum256([]byte(config))
	pod := n.pod(a, corev1.Container{
		Name: "registry", Args: []string{"serve", path.Join(configPath, configFile)},
		Env: []corev1.EnvVar{
			{Name: "REGISTRY_HTTP_SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: corev1.LocalObjectReference{Name: n.name}, Key: httpSecret,
			}}},
			{Name: "OTEL_TRACES_EXPORTER", Value: "none"},
		},
		Ports: []corev1.ContainerPort{
			{Name: "http", ContainerPort: port, Protocol: corev1.ProtocolTCP}, {Name: "metrics", ContainerPort: metricsPort, Protocol: corev1.ProtocolTCP},
		},
		// It answers 503 while the storage does not. A new pod would wait for it just the
		// same, so that only the process itself keeps it alive.
		ReadinessProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromString("http")}},
			PeriodSeconds: 5, TimeoutSeconds: 5, FailureThreshold: 2,
		},
		LivenessProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString("http")}},
			PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 6,
		},
		Resources:    needs("50m", "64Mi", "512Mi"),
		VolumeMounts: []corev1.VolumeMount{{Name: "secret", MountPath: secretPath, ReadOnly: true}},
	})
	pod.TerminationGracePeriodSeconds = new(int64(drain))
	pod.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{
		MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway, LabelSelector: n.servers(),
	}}
	pod.Volumes = append(pod.Volumes, corev1.Volume{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: n.name, DefaultMode: new(int32(0o440)), Items: []corev1.KeyToPath{{Key: usersFile, Path: usersFile}},
	}}})
	return &appsv1.Deployment{ObjectMeta: n.meta(n.name), Spec: appsv1.DeploymentSpec{
		Replicas: new(int32(a.replicas())), Selector: n.servers(),
		Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxUnavailable: new(intstr.FromInt32(0)), MaxSurge: new(intstr.FromInt32(1)),
		}},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: n.labels("server"), Annotations: map[string]string{
				"checksum/config": hex.EncodeToString(sum[:8]), "prometheus.io/scrape": "true", "prometheus.io/port": "5001",
			}},
			Spec: pod,
		},
	}}
}

// collect is the CronJob. The program waits for a moment without a push, and pushes
// wait for it: see tools/registry.
func (n names) collect(a *RegistryArgs) *batchv1.CronJob {
	c := a.Collection
	pod := n.pod(a, corev1.Container{
		Name: "collect", Resources: needs("50m", "64Mi", "512Mi"),
		Args: []string{"collect", "--grace=" + c.grace().String(), "--wait=" + c.wait().String(), path.Join(configPath, configFile)},
		// The file of users, which it does not need, is not there.
	})
	pod.RestartPolicy = corev1.RestartPolicyNever
	return &batchv1.CronJob{ObjectMeta: n.meta(n.name + "-collect"), Spec: batchv1.CronJobSpec{
		Schedule: c.schedule(), TimeZone: new("Etc/UTC"), ConcurrencyPolicy: batchv1.ForbidConcurrent,
		SuccessfulJobsHistoryLimit: new(int32(1)), FailedJobsHistoryLimit: new(int32(3)),
		JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{
			BackoffLimit: new(int32(1)),
			Template:     corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: n.labels("collect")}, Spec: pod},
		}},
	}}
}
