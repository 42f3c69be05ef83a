package provisioner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"

	"github.com/halinux/halinux/components/volumes/pool"
)

// operationTimeout is for one claim or volume, both hosts asked.
const operationTimeout = 4 * time.Minute

// Config is one instance of the program. All that has no default is required.
type Config struct {
	// Name is what storage classes call the provisioner.
	Name string
	// Server is the address that nodes mount from, and Path is where the pool is on
	// it.
	Server, Path string
	// Pool is the way to the storage.
	Pool *pool.Pool
	// Identity is the instance's own name, and Namespace where the lease of the one
	// that works lies, under the name Name.
	Identity, Namespace string
	// LeaseDuration is after how long another instance goes on in the place of one
	// that is silent. Default 15s.
	LeaseDuration time.Duration
	// Survey is how often the pool is looked at for the metrics. Default 1m.
	Survey time.Duration
	// Retry is how long the first pause after a failure is; it doubles up to a
	// minute. Default 1s.
	Retry time.Duration
}

// errLost ends an instance that is no longer the one that works.
var errLost = errors.New("the lease was lost; another instance goes on")

// Run waits until this instance is the one that works, and works until the context
// ends. What it has begun then is ended, as far as that takes seconds, and the lease
// given back. The listener is for /healthz, /readyz and /metrics; it is closed.
func (c Config) Run(ctx context.Context, client kubernetes.Interface, listener net.Listener) error {
	m := newMetrics()
	watchdog := leaderelection.NewLeaderHealthzAdaptor(20 * time.Second)
	server := &http.Server{Handler: handler(m, watchdog), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() { _ = server.Close() }()

	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events(corev1.NamespaceAll)})
	events := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: c.Name})

	lease := cmp.Or(c.LeaseDuration, 15*time.Second)
	// The lease is held until the work has ended, and not just until it shall.
	holding, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	var leading atomic.Bool
	ended := make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: c.Name,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name}, Client: client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: c.Identity, EventRecorder: events},
		},
		LeaseDuration: lease, RenewDeadline: lease * 2 / 3, RetryPeriod: lease * 2 / 15,
		WatchDog: watchdog, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(held context.Context) {
				defer release()
				work, stop := context.WithCancel(held)
				defer stop()
				defer context.AfterFunc(ctx, stop)()
				leading.Store(true)
				m.leading.Set(1)
				ended <- c.work(work, client, events, m)
				m.leading.Set(0)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return err
	}
	context.AfterFunc(ctx, func() {
		if !leading.Load() {
			release()
		}
	})
	released := make(chan struct{})
	go func() { elector.Run(holding); close(released) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	case <-released:
	}
	if leading.Load() {
		err = <-ended
	}
	if err == nil && ctx.Err() == nil {
		return errLost
	}
	return err
}

// handler answers the kubelet and Prometheus. An instance that waits is as ready as
// the one that works; one that should have lost its lease long ago is not healthy.
func handler(m *metrics, watchdog *leaderelection.HealthzAdaptor) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if err := watchdog.Check(r); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return mux
}

// work is what the instance that leads does, until the context ends.
func (c Config) work(ctx context.Context, client kubernetes.Interface, events record.EventRecorder, m *metrics) error {
	p := &provisioner{server: c.Server, path: path.Clean(c.Path), storage: c.Pool, metrics: m}
	limiter := func() workqueue.TypedRateLimiter[string] {
		return workqueue.NewTypedItemExponentialFailureRateLimiter[string](cmp.Or(c.Retry, time.Second), time.Minute)
	}
	factory := informers.NewSharedInformerFactory(client, 15*time.Minute)
	claims, volumes := factory.Core().V1().PersistentVolumeClaims().Informer(), factory.Core().V1().PersistentVolumes().Informer()
	var done sync.WaitGroup
	ctl := controller.NewProvisionController(ctx, client, c.Name, p,
		controller.LeaderElection(false), // that is ours
		controller.ClaimsInformer(claims), controller.VolumesInformer(volumes),
		controller.ClassesInformer(factory.Storage().V1().StorageClasses().Informer()),
		controller.RateLimiter(limiter()),
		// Storage that is away for an hour is no reason to give a claim up.
		controller.FailedProvisionThreshold(0), controller.FailedDeleteThreshold(0),
		// A volume whose object cannot be written is written later, and not removed.
		controller.CreateProvisionedPVLimiter(limiter()),
		controller.AddFinalizer(true), // a volume that is deleted before its claim is removed too
		controller.ProvisionTimeout(operationTimeout), controller.DeletionTimeout(operationTimeout),
	)
	ctl.ControllerWaitGroup(&done)
	r, err := newResizer(c.Name, p, client, claims, volumes, events, limiter())
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	for what, ok := range factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return fmt.Errorf("the watch of %v ended before it had begun", what)
		}
	}
	r.run(ctx, 4, &done)
	done.Go(func() {
		survey(ctx, cmp.Or(c.Survey, time.Minute), c.Pool, p, corelisters.NewPersistentVolumeLister(volumes.GetIndexer()), m)
	})
	ctl.Run(ctx) // until the context ends
	done.Wait()
	return nil
}

// survey looks at the pool again and again: whether anybody serves, how full it is,
// and whether there are volumes that the cluster knows nothing of. Those are told
// of and never removed: they may be what somebody has retained on purpose.
func survey(ctx context.Context, every time.Duration, s storage, p *provisioner, volumes corelisters.PersistentVolumeLister, m *metrics) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var told string
	for {
		if all, err := s.List(ctx); err != nil {
			m.reached.Set(0)
			klog.FromContext(ctx).Error(err, "The storage cannot be asked")
		} else {
			m.reached.Set(1)
			orphans := m.count(all, p, volumes)
			if text := strings.Join(orphans, " "); text != told && text != "" {
				klog.FromContext(ctx).Info("Volumes of the pool that no persistent volume is for", "names", orphans)
				told = text
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// count notes what is in the pool, and returns what nobody is for.
func (m *metrics) count(all []pool.Volume, p *provisioner, volumes corelisters.PersistentVolumeLister) []string {
	known := map[string]bool{}
	if list, err := volumes.List(labels.Everything()); err == nil {
		for _, v := range list {
			if name, err := p.nameOf(v); err == nil {
				known[name] = true
			}
		}
	}
	var size, use int64
	var orphans []string
	for _, v := range all {
		size, use = size+v.Size, use+v.Use
		if !known[v.Name] {
			orphans = append(orphans, v.Name)
		}
	}
	slices.Sort(orphans)
	m.volumes.Set(float64(len(all)))
	m.promised.Set(float64(pool.Bytes(size)))
	m.stored.Set(float64(pool.Bytes(use)))
	m.orphans.Set(float64(len(orphans)))
	return orphans
}
