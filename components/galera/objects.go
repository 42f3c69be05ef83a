package galera

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"path"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/halinux/halinux/components/galera/pod"
	"github.com/halinux/halinux/components/object"
)

// names are what the objects of a cluster are called.
type names struct{ name, namespace string }

func (n names) nodes() string   { return n.name + "-nodes" }
func (n names) readers() string { return n.name + "-readers" }
func (n names) record() string  { return n.name + "-record" }
func (n names) pod(ordinal int) string {
	return fmt.Sprintf("%s-%d", n.name, ordinal)
}

// secrets is what the state keeps the secrets of a generation by.
func (n names) secrets(generation int) string {
	if generation == 0 {
		return n.name + "-secrets"
	}
	return fmt.Sprintf("%s-secrets-%d", n.name, generation)
}

// host is the name of a node, as other nodes find it.
func (n names) host(ordinal int) string {
	return n.pod(ordinal) + "." + n.nodes() + "." + n.namespace + ".svc"
}

// service is the name of a service in all namespaces.
func (n names) service(service string) string { return service + "." + n.namespace + ".svc" }

func (n names) pods(replicas int) []string {
	var all []string
	for o := range replicas {
		all = append(all, n.pod(o))
	}
	return all
}

func (n names) peers(replicas int) []string {
	var all []string
	for o := range replicas {
		all = append(all, n.host(o))
	}
	return all
}

// certified are all names of the nodes' certificate: enough for five nodes, so
// that more of them need no other one.
func (n names) certified() []string {
	hosts := n.peers(5)
	for _, s := range []string{n.name, n.readers(), n.nodes()} {
		hosts = append(hosts, s, s+"."+n.namespace, n.service(s), n.service(s)+".cluster.local")
	}
	return append(hosts, "localhost")
}

// labels of everything that belongs to the cluster.
func (n names) labels() map[string]string {
	return map[string]string{"app.kubernetes.io/name": "galera", "app.kubernetes.io/instance": n.name}
}

// with are the labels and more.
func (n names) with(key, value string) map[string]string {
	l := n.labels()
	l[key] = value
	return l
}

// one is an object on its way to be registered.
type one struct {
	what   string // the end of its name in the program
	kind   object.Kind
	of     any
	ignore []string // what others write
	first  bool     // before all others
	last   bool     // after all others
}

// The user mysql of MariaDB's images.
const mysqlID = 999

// Kinds that only databases have.
var (
	cronJob               = object.Kind{APIVersion: "batch/v1", Kind: "CronJob"}
	persistentVolumeClaim = object.Kind{APIVersion: "v1", Kind: "PersistentVolumeClaim"}
	service               = object.Kind{APIVersion: "v1", Kind: "Service"}
	statefulSet           = object.Kind{APIVersion: "apps/v1", Kind: "StatefulSet"}
)

// meta is what an object is called. Names are given, and not made: nodes find each
// other, the record and their volumes by them.
func (n names) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: n.namespace, Labels: n.labels()}
}

func (n names) selector() metav1.LabelSelector { return metav1.LabelSelector{MatchLabels: n.labels()} }

func with(l metav1.LabelSelector) *metav1.LabelSelector { return &l }

// objects are those of a cluster.
func (n names) objects(a *GaleraDBArgs, config string) []one {
	all := []one{
		{what: "namespace", kind: object.Namespace, first: true, of: &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: n.namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
		}}},
		{what: "account", kind: object.ServiceAccount, of: &corev1.ServiceAccount{ObjectMeta: n.meta(n.name), AutomountServiceAccountToken: new(bool)}},
		{what: "role", kind: object.Role, of: &rbacv1.Role{ObjectMeta: n.meta(n.name), Rules: n.rules(a)}},
		{what: "binding", kind: object.RoleBinding, of: &rbacv1.RoleBinding{
			ObjectMeta: n.meta(n.name), RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: n.name},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: n.name, Namespace: n.namespace}},
		}},
		{what: "policy", kind: object.NetworkPolicy, of: n.policy(a)},
		{what: "nodes", kind: service, of: n.serviceOf(n.nodes(), n.labels(), true)},
		{what: "writer", kind: service, of: n.serviceOf(n.name, n.with(pod.LabelWriter, "true"), false)},
		{what: "readers", kind: service, of: n.serviceOf(n.readers(), n.labels(), false)},
		{what: "config", kind: object.ConfigMap, of: &corev1.ConfigMap{ObjectMeta: n.meta(n.name + "-config"), Data: map[string]string{"server.cnf": config}}},
		// The nodes write it: what they were seen with, and who writes.
		{what: "record", kind: object.ConfigMap, of: &corev1.ConfigMap{ObjectMeta: n.meta(n.record())}, ignore: []string{"data", "metadata.annotations"}},
		{what: "tls", kind: object.Secret, of: &corev1.Secret{ObjectMeta: n.meta(n.name + "-tls")}},
		{what: "schema", kind: object.Secret, of: &corev1.Secret{ObjectMeta: n.meta(n.name + "-schema")}},
		{what: "budget", kind: object.PodDisruptionBudget, of: &policyv1.PodDisruptionBudget{
			ObjectMeta: n.meta(n.name), Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: new(intstr.FromInt32(1)), Selector: with(n.selector())},
		}},
	}
	if a.Backup != nil {
		all = append(all, n.backup(a)...)
	}
	return append(all, one{what: "set", kind: statefulSet, of: n.set(a, config), last: true})
}

// rules are the rights of the nodes: the record, the label of the writer, and how
// backups are; nothing else.
func (n names) rules(a *GaleraDBArgs) []rbacv1.PolicyRule {
	all := []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{n.record()}, Verbs: []string{"get", "update"}},
		{APIGroups: []string{""}, Resources: []string{"pods"}, ResourceNames: n.pods(a.replicas()), Verbs: []string{"patch"}},
	}
	if jobs := a.cronJobs(n); len(jobs) > 0 {
		all = append(all, rbacv1.PolicyRule{APIGroups: []string{"batch"}, Resources: []string{"cronjobs"}, ResourceNames: jobs, Verbs: []string{"get"}})
	}
	return all
}

// serviceOf leads to pods. Nodes have to find each other before they are ready.
func (n names) serviceOf(name string, selector map[string]string, headless bool) *corev1.Service {
	s := &corev1.Service{ObjectMeta: n.meta(name), Spec: corev1.ServiceSpec{
		Selector: selector, Ports: []corev1.ServicePort{{Name: "mysql", Port: pod.PortSQL, TargetPort: intstr.FromInt32(pod.PortSQL)}},
	}}
	// There are no pods yet.
	s.Annotations = map[string]string{"pulumi.com/skipAwait": "true"}
	if headless {
		s.Spec.ClusterIP, s.Spec.PublishNotReadyAddresses = corev1.ClusterIPNone, true
	}
	return s
}

func ports(protocol corev1.Protocol, numbers ...int32) []networkingv1.NetworkPolicyPort {
	var all []networkingv1.NetworkPolicyPort
	for _, p := range numbers {
		all = append(all, networkingv1.NetworkPolicyPort{Protocol: new(protocol), Port: new(intstr.FromInt32(p))})
	}
	return all
}

var dns = append(ports(corev1.ProtocolUDP, 53), ports(corev1.ProtocolTCP, 53)...)

// policy lets through what the pods need: each other, their clients, names and the
// API server. The kubelet's questions come from the pod's own node, which no policy
// concerns.
func (n names) policy(a *GaleraDBArgs) *networkingv1.NetworkPolicy {
	members := []networkingv1.NetworkPolicyPeer{{PodSelector: with(n.selector())}}
	among := ports(corev1.ProtocolTCP, pod.PortSQL, pod.PortGroup, pod.PortIST, pod.PortSST, pod.PortPeers)
	anyOf := func(all []map[string]string) (peers []networkingv1.NetworkPolicyPeer) {
		for _, labels := range all {
			peers = append(peers, networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{}, PodSelector: &metav1.LabelSelector{MatchLabels: labels}})
		}
		return peers
	}
	clients := anyOf(a.Clients)
	if a.Backup != nil {
		clients = append(clients, networkingv1.NetworkPolicyPeer{PodSelector: &metav1.LabelSelector{MatchLabels: n.backupLabels()}})
	}
	anywhere := []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "0.0.0.0/0"}}}
	servers := []networkingv1.NetworkPolicyEgressRule{{To: anywhere, Ports: ports(corev1.ProtocolTCP, 443, 6443)}}
	if len(a.APIServers) > 0 {
		servers = nil
	}
	for _, server := range a.APIServers {
		at, err := netip.ParseAddrPort(server)
		if err != nil {
			continue // which Validate has said
		}
		to := netip.PrefixFrom(at.Addr(), at.Addr().BitLen()).String()
		servers = append(servers, networkingv1.NetworkPolicyEgressRule{
			To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: to}}}, Ports: ports(corev1.ProtocolTCP, int32(at.Port())),
		})
	}
	p := &networkingv1.NetworkPolicy{ObjectMeta: n.meta(n.name), Spec: networkingv1.NetworkPolicySpec{
		PodSelector: n.selector(),
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: members, Ports: among}},
		Egress: append([]networkingv1.NetworkPolicyEgressRule{
			{To: members, Ports: among},
			{To: []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "kube-system"}}}}, Ports: dns},
		}, servers...),
	}}
	if len(clients) > 0 {
		p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: clients, Ports: ports(corev1.ProtocolTCP, pod.PortSQL)})
	}
	if len(a.Metrics) > 0 {
		p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: anyOf(a.Metrics), Ports: ports(corev1.ProtocolTCP, pod.PortCheck)})
	}
	return p
}

// restricted is what the Pod Security Standards' level of this name asks for, and a
// root file system that cannot be written.
func restricted() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

func podSecurity() *corev1.PodSecurityContext {
	return &corev1.PodSecurityContext{
		RunAsNonRoot: new(true), RunAsUser: new(int64(mysqlID)), RunAsGroup: new(int64(mysqlID)), FSGroup: new(int64(mysqlID)),
		// A walk through all files at each start would take as long as there are many.
		FSGroupChangePolicy: new(corev1.FSGroupChangeOnRootMismatch),
		SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

func mount(name, path string, readOnly bool) corev1.VolumeMount {
	return corev1.VolumeMount{Name: name, MountPath: path, ReadOnly: readOnly}
}

func emptyDir(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

func fromSecret(volume, name string) corev1.Volume {
	return corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name, DefaultMode: new(int32(0o440))}}}
}

func fromConfig(volume, name string) corev1.Volume {
	return corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}
}

func fromClaim(volume, name string, readOnly bool) corev1.Volume {
	return corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: name, ReadOnly: readOnly}}}
}

func fromField(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
}

func probe(path string, period, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(pod.PortCheck)}},
		PeriodSeconds: period, FailureThreshold: failures, TimeoutSeconds: 5,
	}
}

// needs are requests, and a limit of the memory alone: a node whose processor is
// held back holds back all others.
func needs(cpu, memory string) corev1.ResourceRequirements {
	m := resource.MustParse(memory)
	return corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: m},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: m},
	}
}

// set is the StatefulSet.
func (n names) set(a *GaleraDBArgs, config string) *appsv1.StatefulSet {
	sum := sha256.Sum256([]byte(config))
	claim := corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data", Labels: n.labels()},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(a.size())}},
		},
	}
	if a.StorageClass != "" {
		claim.Spec.StorageClassName = new(a.StorageClass)
	}
	port := func(name string, number int32) corev1.ContainerPort {
		return corev1.ContainerPort{Name: name, ContainerPort: number}
	}
	value := func(name, text string) corev1.EnvVar { return corev1.EnvVar{Name: name, Value: text} }
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{
			Labels: n.labels(),
			// Servers read their settings when they start.
			Annotations: map[string]string{"galera.halinux.internal/config": hex.EncodeToString(sum[:8])},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: n.name, AutomountServiceAccountToken: new(true), EnableServiceLinks: new(false),
			TerminationGracePeriodSeconds: new(int64(a.grace())), SecurityContext: podSecurity(),
			Affinity: &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
				{LabelSelector: with(n.selector()), TopologyKey: "kubernetes.io/hostname"},
			}}},
			InitContainers: []corev1.Container{{
				Name: "helper", Image: a.helper(), Command: []string{"/usr/local/bin/galera-node", "install", "/helper/galera-node"},
				VolumeMounts: []corev1.VolumeMount{mount("helper", "/helper", false)}, SecurityContext: restricted(), Resources: needs("50m", "64Mi"),
			}},
			Containers: []corev1.Container{{
				Name: "mariadb", Image: a.image(), Command: []string{"/helper/galera-node", "run"},
				Env: []corev1.EnvVar{
					fromField(pod.EnvName, "metadata.name"), fromField(pod.EnvNamespace, "metadata.namespace"), fromField(pod.EnvIP, "status.podIP"),
					value(pod.EnvCluster, n.namespace+"-"+n.name), value(pod.EnvPeers, strings.Join(n.peers(a.replicas()), ",")),
					value(pod.EnvRecord, n.record()), value(pod.EnvOptions, a.providerOptions()),
					value(pod.EnvBackups, strings.Join(a.cronJobs(n), ",")),
				},
				Ports: []corev1.ContainerPort{
					port("mysql", pod.PortSQL), port("group", pod.PortGroup), port("ist", pod.PortIST), port("sst", pod.PortSST),
					port("peers", pod.PortPeers), port("check", pod.PortCheck),
				},
				// No startup probe: galera-node answers at once, and says itself that a
				// node which joins is alive.
				LivenessProbe: probe("/live", 10, 6), ReadinessProbe: probe("/ready", 2, 2),
				SecurityContext: restricted(), Resources: needs(a.cpu(), strconv.Itoa(a.memory())+"Mi"),
				VolumeMounts: []corev1.VolumeMount{
					mount("data", pod.Data, false), mount("run", path.Dir(pod.Socket), false), mount("tmp", "/tmp", false), mount("helper", "/helper", true),
					mount("config", path.Dir(pod.Config), true), mount("tls", pod.TLS, true), mount("schema", pod.SchemaFolder, true),
				},
			}},
			Volumes: []corev1.Volume{
				emptyDir("helper"), emptyDir("run"), emptyDir("tmp"),
				fromConfig("config", n.name+"-config"), fromSecret("tls", n.name+"-tls"), fromSecret("schema", n.name+"-schema"),
			},
		},
	}
	return &appsv1.StatefulSet{ObjectMeta: n.meta(n.name), Spec: appsv1.StatefulSetSpec{
		ServiceName: n.nodes(), Replicas: new(int32(a.replicas())), Selector: with(n.selector()),
		// In order, the second pod would wait for the first to be ready, and the first
		// for the second's state.
		PodManagementPolicy: appsv1.ParallelPodManagement,
		MinReadySeconds:     10,
		UpdateStrategy:      appsv1.StatefulSetUpdateStrategy{Type: appsv1.RollingUpdateStatefulSetStrategyType},
		PersistentVolumeClaimRetentionPolicy: &appsv1.StatefulSetPersistentVolumeClaimRetentionPolicy{
			WhenDeleted: appsv1.RetainPersistentVolumeClaimRetentionPolicyType, WhenScaled: appsv1.RetainPersistentVolumeClaimRetentionPolicyType,
		},
		VolumeClaimTemplates: []corev1.PersistentVolumeClaim{claim},
		Template:             template,
	}}
}

func (n names) backupLabels() map[string]string {
	return map[string]string{"app.kubernetes.io/name": "galera-backup", "app.kubernetes.io/instance": n.name}
}

// backupClaim is where copies go. Who restores reads it from another pod.
func (n names) backupClaim(b *Backup, name string) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: n.meta(name), Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(b.size())}},
	}}
	// A class may wait for a pod, and the first comes at night.
	c.Annotations = map[string]string{"pulumi.com/skipAwait": "true"}
	if b.StorageClass != "" {
		c.Spec.StorageClassName = new(b.StorageClass)
	}
	return c
}

// ofBackup is a CronJob of a script, which runs where a node's volume is.
func (n names) ofBackup(name, script, cron string, a *GaleraDBArgs, ordinal int, readOnly bool, env []corev1.EnvVar, args ...string) *batchv1.CronJob {
	volumes := n.name + "-backup"
	return &batchv1.CronJob{ObjectMeta: n.meta(name), Spec: batchv1.CronJobSpec{
		Schedule: cron, TimeZone: new("Etc/UTC"), ConcurrencyPolicy: batchv1.ForbidConcurrent,
		SuccessfulJobsHistoryLimit: new(int32(1)), FailedJobsHistoryLimit: new(int32(3)),
		JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{BackoffLimit: new(int32(2)), Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: n.backupLabels()},
			Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever, AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false), SecurityContext: podSecurity(),
				Containers: []corev1.Container{{
					Name: "backup", Image: a.image(), Command: append([]string{"sh", "/etc/galera-backup-script/" + script}, args...),
					Env:             env,
					SecurityContext: restricted(), Resources: needs("100m", "512Mi"),
					VolumeMounts: []corev1.VolumeMount{
						mount("data", pod.Data, readOnly), mount("backup", "/backup", false), mount("tmp", "/tmp", false),
						mount("secret", "/etc/galera-backup", true), mount("script", "/etc/galera-backup-script", true),
					},
				}},
				Volumes: []corev1.Volume{
					fromClaim("data", "data-"+n.pod(ordinal), readOnly), fromClaim("backup", volumes, false), emptyDir("tmp"),
					fromSecret("secret", volumes), fromConfig("script", volumes),
				},
			},
		}}},
	}}
}

// backup are the CronJobs: of copies, of the logs since, and one that never runs by
// itself, of which a person makes the job that restores. The Secret is filled by the
// component.
func (n names) backup(a *GaleraDBArgs) []one {
	name := n.name + "-backup"
	of := []corev1.EnvVar{{Name: "BACKUP_HOST", Value: n.host(a.source())}, {Name: "BACKUP_KEEP", Value: strconv.Itoa(a.Backup.keep())}}
	restore := n.ofBackup(n.name+"-restore", "restore.sh", "0 0 1 1 *", a, 0, false, []corev1.EnvVar{{Name: "RESTORE_TO"}, {Name: "RESTORE_FROM"}})
	restore.Spec.Suspend, restore.Spec.JobTemplate.Spec.BackoffLimit = new(true), new(int32(0))
	all := []one{
		{what: "backup-claim", kind: persistentVolumeClaim, of: n.backupClaim(a.Backup, name)},
		{what: "backup-script", kind: object.ConfigMap, of: &corev1.ConfigMap{ObjectMeta: n.meta(name), Data: map[string]string{
			"backup.sh": backupScript, "restore.sh": restoreScript,
		}}},
		{what: "backup-secret", kind: object.Secret, of: &corev1.Secret{ObjectMeta: n.meta(name)}},
		{what: "backup-policy", kind: object.NetworkPolicy, of: &networkingv1.NetworkPolicy{ObjectMeta: n.meta(name), Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: n.backupLabels()},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			Egress: []networkingv1.NetworkPolicyEgressRule{
				{To: []networkingv1.NetworkPolicyPeer{{PodSelector: with(n.selector())}}, Ports: ports(corev1.ProtocolTCP, pod.PortSQL)},
				{Ports: dns},
			},
		}}},
		{what: "backup", kind: cronJob, of: n.ofBackup(name, "backup.sh", a.Backup.Schedule, a, a.source(), true, of, "full")},
		{what: "restore", kind: cronJob, of: restore},
	}
	if a.logs() {
		all = append(all, one{what: "logs", kind: cronJob, of: n.ofBackup(n.name+"-logs", "backup.sh", a.Backup.logSchedule(), a, a.source(), true, of, "logs")})
	}
	return all
}
