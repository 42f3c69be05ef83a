package volumes

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/halinux/halinux/components/kubeadm/release"
	"github.com/halinux/halinux/components/object"
)

// labels are those of the provisioner's pods.
var labels = map[string]string{"app.kubernetes.io/name": program}

func (n *NFS) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: n.namespace(), Labels: labels}
}

// everywhere is the metadata of an object that lies in no namespace.
func everywhere(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Labels: labels} }

// entry is one object of the list below.
type entry struct {
	what string
	kind object.Kind
	of   any
	with pulumi.Map
}

// put registers the provisioner and its storage classes. It returns what claims
// wait for.
func (n *NFS) put(put putter) ([]pulumi.Resource, error) {
	namespace, err := put("namespace", object.Namespace, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: n.namespace(), Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, nil)
	if err != nil {
		return nil, err
	}
	inside := pulumi.DependsOn([]pulumi.Resource{namespace})
	objects := []entry{
		{"account", object.ServiceAccount, &corev1.ServiceAccount{ObjectMeta: n.meta(program), AutomountServiceAccountToken: new(bool)}, nil},
		{"cluster-role", object.ClusterRole, &rbacv1.ClusterRole{ObjectMeta: everywhere(Provisioner), Rules: clusterRules}, nil},
		{"cluster-role-binding", object.ClusterRoleBinding, &rbacv1.ClusterRoleBinding{
			ObjectMeta: everywhere(Provisioner), RoleRef: role("ClusterRole", Provisioner), Subjects: n.subjects(),
		}, nil},
		{"role", object.Role, &rbacv1.Role{ObjectMeta: n.meta(program), Rules: leaseRules}, nil},
		{"role-binding", object.RoleBinding, &rbacv1.RoleBinding{ObjectMeta: n.meta(program), RoleRef: role("Role", program), Subjects: n.subjects()}, nil},
		{"network-policy", object.NetworkPolicy, &networkingv1.NetworkPolicy{ObjectMeta: n.meta(program), Spec: n.networkPolicy()}, nil},
		// These two keep their names when they are replaced by what has changed: the
		// provisioner reads both files at each command, and need not start anew.
		{"known-hosts", object.ConfigMap, &corev1.ConfigMap{ObjectMeta: n.meta(program), Data: map[string]string{
			"known_hosts": strings.Join(n.Pool.KnownHosts, "\n") + "\n",
		}}, nil},
		{"secret", object.Secret, &corev1.Secret{ObjectMeta: n.meta(program), Type: corev1.SecretTypeOpaque}, pulumi.Map{
			"stringData": pulumi.ToSecret(pulumi.Map{"key": n.Key}),
		}},
		{"budget", object.PodDisruptionBudget, &policyv1.PodDisruptionBudget{ObjectMeta: n.meta(program), Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: &intstr.IntOrString{IntVal: 1}, Selector: &metav1.LabelSelector{MatchLabels: labels},
		}}, nil},
	}
	if !n.AllowInline {
		objects = append(objects, []entry{
			{"policy", object.ValidatingAdmissionPolicy, &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: everywhere(Provisioner), Spec: noInline}, nil},
			{"policy-binding", object.ValidatingAdmissionPolicyBinding, &admissionv1.ValidatingAdmissionPolicyBinding{
				ObjectMeta: everywhere(Provisioner),
				Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
					PolicyName: Provisioner, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
				},
			}, nil},
		}...)
	}
	var before []pulumi.Resource
	for _, o := range objects {
		made, err := put(o.what, o.kind, o.of, o.with, inside)
		if err != nil {
			return nil, err
		}
		before = append(before, made)
	}
	deployment, err := put("deployment", object.Deployment, &appsv1.Deployment{ObjectMeta: n.meta(program), Spec: n.deployment()}, nil, pulumi.DependsOn(before))
	if err != nil {
		return nil, err
	}
	done := []pulumi.Resource{deployment}
	for _, c := range n.classes() {
		// A class that is there before the provisioner only lets claims wait; one
		// that goes after it would leave volumes behind.
		made, err := put("class-"+c.Name, object.StorageClass, n.storageClass(c), nil, pulumi.DependsOn([]pulumi.Resource{deployment}))
		if err != nil {
			return nil, err
		}
		done = append(done, made)
	}
	return done, nil
}

func role(kind, name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
}

func (n *NFS) subjects() []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: program, Namespace: n.namespace()}}
}

var (
	// clusterRules are what the provisioner does: volumes are made, grown and
	// deleted, claims are told of their size. It reads no secrets and no pods.
	clusterRules = []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"persistentvolumes"}, Verbs: []string{"get", "list", "watch", "create", "patch", "delete"}},
		{APIGroups: []string{""}, Resources: []string{"persistentvolumeclaims"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"persistentvolumeclaims/status"}, Verbs: []string{"update"}},
		{APIGroups: []string{"storage.k8s.io"}, Resources: []string{"storageclasses"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
	}
	// leaseRules are for the lease of the instance that works. Its name cannot be
	// asked for at a create.
	leaseRules = []rbacv1.PolicyRule{
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, Verbs: []string{"create"}},
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{Provisioner}, Verbs: []string{"get", "update"}},
	}
)

// noInline refuses pods that mount a server by themselves. Whoever may make pods
// could else have the whole pool: it is exported to nodes, and Pod Security knows of
// such volumes in its strictest level alone. A volume of a claim is no such one.
var noInline = admissionv1.ValidatingAdmissionPolicySpec{
	FailurePolicy: func() *admissionv1.FailurePolicyType { f := admissionv1.Fail; return &f }(),
	MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
		Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
	}}}},
	Validations: []admissionv1.Validation{{
		Expression: "object.spec.?volumes.orValue([]).all(v, !has(v.nfs))",
		Message:    "a pod may not mount an NFS server by itself: claim a volume of a storage class",
	}},
}

// networkPolicy lets the provisioner reach the API servers and the storage hosts,
// and everybody its health and metrics: the kubelet asks from its node.
func (n *NFS) networkPolicy() networkingv1.NetworkPolicySpec {
	tcp := corev1.ProtocolTCP
	ports := func(numbers ...int) []networkingv1.NetworkPolicyPort {
		var all []networkingv1.NetworkPolicyPort
		for _, p := range numbers {
			all = append(all, networkingv1.NetworkPolicyPort{Protocol: &tcp, Port: &intstr.IntOrString{IntVal: int32(p)}})
		}
		return all
	}
	var egress []networkingv1.NetworkPolicyEgressRule
	to := func(addresses []string, standard uint16) {
		for _, text := range addresses {
			e, _ := endpoint(text, standard) // Validate has said what is wrong
			egress = append(egress, networkingv1.NetworkPolicyEgressRule{
				Ports: ports(int(e.Port())),
				To:    []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: fmt.Sprintf("%s/%d", e.Addr(), e.Addr().BitLen())}}},
			})
		}
	}
	to(n.Pool.Hosts, 22)
	to(n.APIServers, 6443)
	if len(n.APIServers) == 0 {
		egress = append(egress, networkingv1.NetworkPolicyEgressRule{Ports: ports(443, 6443)})
	}
	return networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: labels},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		Ingress:     []networkingv1.NetworkPolicyIngressRule{{Ports: ports(port)}},
		Egress:      egress,
	}
}

func (n *NFS) deployment() appsv1.DeploymentSpec {
	replicas, unavailable := int32(n.replicas()), intstr.FromInt32(1)
	yes, no, user := true, false, int64(nobody)
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("http")}},
			PeriodSeconds: 10, TimeoutSeconds: 5, FailureThreshold: 3,
		}
	}
	mode := int32(0o440)
	return appsv1.DeploymentSpec{
		Replicas: &replicas,
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: &unavailable}},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{
				"prometheus.io/scrape": "true", "prometheus.io/port": fmt.Sprint(port),
			}},
			Spec: corev1.PodSpec{
				ServiceAccountName: program, AutomountServiceAccountToken: &yes,
				// Who waits for a volume may be anything.
				PriorityClassName: "system-cluster-critical",
				SecurityContext: &corev1.PodSecurityContext{
					RunAsNonRoot: &yes, RunAsUser: &user, RunAsGroup: &user, FSGroup: &user,
					SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
				Affinity: &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{
					Weight: 100, PodAffinityTerm: corev1.PodAffinityTerm{TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: labels}},
				}}}},
				Containers: []corev1.Container{{
					Name: program, Image: cmp.Or(n.Image, release.Image(program, release.NFSProvisioner)),
					Args: []string{
						"-name=" + Provisioner, "-server=" + n.Pool.Server, "-path=" + n.Pool.Path, "-hosts=" + strings.Join(n.Pool.Hosts, ","),
						"-user=" + n.Pool.User, "-key=/etc/nfs-provisioner/secret/key", "-known-hosts=/etc/nfs-provisioner/hosts/known_hosts",
						fmt.Sprintf("-listen=:%d", port),
					},
					Env:            []corev1.EnvVar{field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace")},
					Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: port, Protocol: corev1.ProtocolTCP}},
					LivenessProbe:  probe("/healthz"),
					ReadinessProbe: probe("/readyz"),
					Resources: corev1.ResourceRequirements{
						Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("48Mi")},
						Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("192Mi")},
					},
					SecurityContext: &corev1.SecurityContext{
						AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes, Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
					},
					VolumeMounts: []corev1.VolumeMount{
						{Name: "secret", MountPath: "/etc/nfs-provisioner/secret", ReadOnly: true},
						{Name: "hosts", MountPath: "/etc/nfs-provisioner/hosts", ReadOnly: true},
					},
				}},
				Volumes: []corev1.Volume{
					{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: program, DefaultMode: &mode}}},
					{Name: "hosts", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: program}}}},
				},
			},
		},
	}
}

// isDefault is the annotation of the class that claims get which name none.
const isDefault = "storageclass.kubernetes.io/is-default-class"

func (n *NFS) storageClass(c Class) *storagev1.StorageClass {
	yes, mode, policy := true, storagev1.VolumeBindingImmediate, corev1.PersistentVolumeReclaimDelete
	if c.Retain {
		policy = corev1.PersistentVolumeReclaimRetain
	}
	s := &storagev1.StorageClass{
		ObjectMeta: everywhere(c.Name), Provisioner: Provisioner, ReclaimPolicy: &policy, AllowVolumeExpansion: &yes,
		// Every node that may mount one volume may mount all: nothing is won by
		// waiting for a pod. The provisioner gives the topology to each volume.
		VolumeBindingMode: &mode,
		MountOptions:      n.Pool.MountOptions,
	}
	if c.Default {
		s.Annotations = map[string]string{isDefault: "true"}
	}
	if c.Mode != "" {
		s.Parameters = map[string]string{"mode": c.Mode}
	}
	var term corev1.TopologySelectorTerm
	for _, key := range slices.Sorted(maps.Keys(n.Nodes)) {
		term.MatchLabelExpressions = append(term.MatchLabelExpressions, corev1.TopologySelectorLabelRequirement{Key: key, Values: []string{n.Nodes[key]}})
	}
	if len(n.Nodes) > 0 {
		s.AllowedTopologies = []corev1.TopologySelectorTerm{term}
	}
	return s
}

// ---- local volumes -----------------------------------------------------------

func (l *Local) storageClass() *storagev1.StorageClass {
	// The node is the scheduler's choice first, and the volume follows.
	mode := storagev1.VolumeBindingWaitForFirstConsumer
	return &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: l.class()}, Provisioner: "kubernetes.io/no-provisioner", VolumeBindingMode: &mode}
}

// paths are the directories of a node.
func (l *Local) paths(node string) []string {
	var all []string
	for _, v := range l.Volumes {
		if v.Node == node {
			all = append(all, v.Path)
		}
	}
	slices.Sort(all)
	return all
}

// volumeName is the name of a volume: told by where it is, never by its place in the
// list.
func (l *Local) volumeName(v LocalVolume) string {
	sum := sha256.Sum256([]byte(v.Path))
	return fmt.Sprintf("local-%s-%s", v.Node, hex.EncodeToString(sum[:4]))
}

func (l *Local) persistentVolume(v LocalVolume) *corev1.PersistentVolume {
	filesystem := corev1.PersistentVolumeFilesystem
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: l.volumeName(v)},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: l.class(),
			Capacity:         corev1.ResourceList{corev1.ResourceStorage: *resource.NewQuantity(int64(v.Size)<<20, resource.BinarySI)},
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, VolumeMode: &filesystem,
			// Nobody deletes a database because its claim has gone.
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: v.Path}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{v.Node}}},
			}}}},
		},
	}
}
