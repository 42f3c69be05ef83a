package kubernetes

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// settings are the provider's arguments that count here.
type settings struct {
	namespace             string
	deleteUnreachable     bool
	skipUpdateUnreachable bool
	upsert                bool
	force                 bool
	mutableConfigMaps     bool
	mutableSecrets        bool
}

// cluster is the way to one.
type cluster struct {
	dynamic dynamic.Interface
	mapper  meta.ResettableRESTMapper
}

// CheckConfig takes the arguments as they are.
func (s *Server) CheckConfig(_ context.Context, req *pulumirpc.CheckRequest) (*pulumirpc.CheckResponse, error) {
	return &pulumirpc.CheckResponse{Inputs: req.GetNews()}, nil
}

// DiffConfig says when everything in a cluster would have to be made again: when
// it is another one. What tells is clusterIdentifier, where it was given before
// and is given now; else the server of the kubeconfig's current cluster, and a
// kubeconfig that is not known yet counts as another.
func (s *Server) DiffConfig(_ context.Context, req *pulumirpc.DiffRequest) (*pulumirpc.DiffResponse, error) {
	olds, err := read("the provider", "old arguments", req.GetOlds())
	if err != nil {
		return nil, err
	}
	news, err := read("the provider", "arguments", req.GetNews())
	if err != nil {
		return nil, err
	}
	olds, news = bare(olds), bare(news)
	diff := olds.Diff(news)
	if diff == nil {
		return &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_NONE}, nil
	}
	const identifier = "clusterIdentifier"
	var diffs, replaces []string
	same := diff.Same(identifier) && news.HasValue(identifier)
	if diff.Updated(identifier) {
		replaces = append(replaces, identifier)
	}
	for _, key := range []resource.PropertyKey{"kubeconfig", "context", "cluster"} {
		if news[key].IsComputed() {
			if !same {
				replaces = append(replaces, string(key))
			} else {
				replaces = nil
			}
			return &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_SOME, Diffs: []string{string(key)}, Replaces: replaces}, nil
		}
	}
	for _, key := range diff.ChangedKeys() {
		diffs = append(diffs, string(key))
	}
	slices.Sort(diffs)
	old, oldErr := activeCluster(olds)
	now, nowErr := activeCluster(news)
	if oldErr == nil && nowErr == nil && !reflect.DeepEqual(old, now) {
		for _, key := range []string{"kubeconfig", "context", "cluster"} {
			if slices.Contains(diffs, key) {
				replaces = append(replaces, key)
			}
		}
	}
	if same {
		replaces = nil
	}
	return &pulumirpc.DiffResponse{Changes: pulumirpc.DiffResponse_DIFF_SOME, Diffs: diffs, Replaces: replaces}, nil
}

// bare is a map without marks of secrets at its top.
func bare(m resource.PropertyMap) resource.PropertyMap {
	out := resource.PropertyMap{}
	for k, v := range m {
		for v.IsSecret() {
			v = v.SecretValue().Element
		}
		out[k] = v
	}
	return out
}

func text(m resource.PropertyMap, key resource.PropertyKey) string {
	if v := m[key]; v.IsString() {
		return v.StringValue()
	}
	return ""
}

// activeCluster is the cluster that a provider's arguments lead to.
func activeCluster(args resource.PropertyMap) (*api.Cluster, error) {
	config, err := kubeconfig(text(args, "kubeconfig"))
	if err != nil {
		return nil, err
	}
	name := text(args, "cluster")
	if name == "" {
		c, ok := config.Contexts[firstOf(text(args, "context"), config.CurrentContext)]
		if !ok {
			return nil, fmt.Errorf("the kubeconfig has no current context")
		}
		name = c.Cluster
	}
	c, ok := config.Clusters[name]
	if !ok {
		return nil, fmt.Errorf("the kubeconfig has no cluster %q", name)
	}
	return c, nil
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// kubeconfig is a kubeconfig, given itself or as the path of a file.
func kubeconfig(given string) (*api.Config, error) {
	if given == "" {
		return clientcmd.NewDefaultClientConfigLoadingRules().Load()
	}
	if !strings.Contains(given, "\n") {
		if data, err := os.ReadFile(given); err == nil {
			given = string(data)
		}
	}
	return clientcmd.Load([]byte(given))
}

// Configure leads to the cluster. One that does not answer is no error yet: what
// then happens depends on what is asked.
func (s *Server) Configure(ctx context.Context, req *pulumirpc.ConfigureRequest) (*pulumirpc.ConfigureResponse, error) {
	p := providerOf(ctx)
	args, err := read("the provider", "arguments", req.GetArgs())
	if err != nil {
		return nil, err
	}
	args = bare(args)
	value := func(name resource.PropertyKey) string { return text(args, name) }
	flag := func(name resource.PropertyKey, variable string) bool {
		// SDKs write what is no text as JSON.
		if v, ok := args[name]; ok {
			return v.IsBool() && v.BoolValue() || v.IsString() && v.StringValue() == "true"
		}
		return os.Getenv(variable) == "true"
	}
	st := settings{
		namespace:             value("namespace"),
		deleteUnreachable:     flag("deleteUnreachable", "PULUMI_K8S_DELETE_UNREACHABLE"),
		skipUpdateUnreachable: flag("skipUpdateUnreachable", "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE"),
		upsert:                flag("upsertExistingObjects", "PULUMI_K8S_UPSERT_EXISTING_OBJECTS"),
		force:                 flag("enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE"),
		mutableConfigMaps:     flag("enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"),
		mutableSecrets:        flag("enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE"),
	}
	c, namespace, err := reach(value("kubeconfig"), value("context"), value("cluster"))
	if st.namespace == "" {
		st.namespace = namespace
	}
	p.mu.Lock()
	p.settings, p.cluster, p.why = st, c, ""
	if err != nil {
		p.why = err.Error()
	}
	p.mu.Unlock()
	return &pulumirpc.ConfigureResponse{AcceptSecrets: true, SupportsPreview: true, SupportsAutonamingConfiguration: true}, nil
}

// reach connects to a cluster, and asks it for its version to see whether it is
// there.
func reach(given, context_, cluster_ string) (*cluster, string, error) {
	loaded, err := kubeconfig(given)
	if err != nil {
		return nil, "", fmt.Errorf("failed to parse kubeconfig data in `kubernetes:config:kubeconfig`- %w", err)
	}
	overrides := &clientcmd.ConfigOverrides{CurrentContext: context_, Context: api.Context{Cluster: cluster_}}
	chosen := clientcmd.NewDefaultClientConfig(*loaded, overrides)
	namespace, _, _ := chosen.Namespace()
	config, err := chosen.ClientConfig()
	if err != nil {
		return nil, namespace, fmt.Errorf("unable to load Kubernetes client configuration from kubeconfig file: %w", err)
	}
	config.QPS, config.Burst = 50, 120
	config.WarningHandler = rest.NoWarnings{}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, namespace, err
	}
	// Discovery alone is bounded: a cluster that is gone is found out soon.
	bounded := rest.CopyConfig(config)
	bounded.Timeout = 30 * time.Second
	disco, err := discovery.NewDiscoveryClientForConfig(bounded)
	if err != nil {
		return nil, namespace, err
	}
	if _, err := disco.ServerVersion(); err != nil {
		return nil, namespace, fmt.Errorf("unable to load schema information from the API server: %w", err)
	}
	return &cluster{dyn, restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco))}, namespace, nil
}
