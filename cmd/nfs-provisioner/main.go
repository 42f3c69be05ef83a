// Command nfs-provisioner makes the persistent volumes of a Kubernetes cluster on
// the replicated storage, see package components/volumes/provisioner. It runs in
// the cluster, as components/volumes puts it there.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"github.com/halinux/halinux/components/volumes/pool"
	"github.com/halinux/halinux/components/volumes/provisioner"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "nfs-provisioner:", err)
		os.Exit(1)
	}
}

func run() error {
	c := provisioner.Config{Pool: &pool.Pool{}}
	var hosts, listen, kubeconfig string
	flag.StringVar(&c.Name, "name", "", "what storage classes call this provisioner")
	flag.StringVar(&c.Server, "server", "", "address that nodes mount from")
	flag.StringVar(&c.Path, "path", "", "where the pool of volumes is exported there")
	flag.StringVar(&hosts, "hosts", "", "storage hosts, address or address:port, with commas between them")
	flag.StringVar(&c.Pool.User, "user", "halinux-volumes", "account on the storage hosts")
	flag.StringVar(&c.Pool.KeyFile, "key", "", "file with its private key")
	flag.StringVar(&c.Pool.KnownHosts, "known-hosts", "", "file with the storage hosts' public keys")
	flag.StringVar(&c.Namespace, "namespace", os.Getenv("POD_NAMESPACE"), "namespace of the lease")
	flag.StringVar(&listen, "listen", ":8080", "where /healthz, /readyz and /metrics are")
	flag.StringVar(&kubeconfig, "kubeconfig", "", "file that says how the cluster is reached; default: as a pod of it")
	klog.InitFlags(nil)
	flag.Parse()

	var problems []error
	for _, f := range []struct{ name, value string }{
		{"name", c.Name}, {"server", c.Server}, {"path", c.Path}, {"hosts", hosts}, {"key", c.Pool.KeyFile}, {"known-hosts", c.Pool.KnownHosts}, {"namespace", c.Namespace},
	} {
		if f.value == "" {
			problems = append(problems, fmt.Errorf("-%s is missing", f.name))
		}
	}
	if c.Path != "" && !path.IsAbs(c.Path) {
		problems = append(problems, fmt.Errorf("-path %s is not absolute", c.Path))
	}
	var err error
	if c.Pool.Hosts, err = pool.ParseHosts(hosts); hosts != "" && err != nil {
		problems = append(problems, fmt.Errorf("-hosts: %w", err))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	// A container that is started anew goes on where its pod was: the process before
	// is dead for certain.
	c.Identity = cmp.Or(os.Getenv("POD_NAME"), fmt.Sprintf("%s_%d", host, os.Getpid()))
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return c.Run(ctx, client, listener)
}
