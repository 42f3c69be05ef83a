package provisioner

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/halinux/halinux/components/volumes/pool"
)

// metrics are what the program tells of itself and of the pool. Those of the
// library are left aside: it serves them from the instance that leads alone, in a
// server of its own.
type metrics struct {
	registry   *prometheus.Registry
	operations *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	leading    prometheus.Gauge
	reached    prometheus.Gauge
	volumes    prometheus.Gauge
	promised   prometheus.Gauge
	stored     prometheus.Gauge
	orphans    prometheus.Gauge
}

func newMetrics() *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "nfs_provisioner_" + name, Help: help})
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "nfs_provisioner_operations_total", Help: "Commands to the storage, by operation (create, grow, remove) and outcome (done, no-room, refused, failed).",
		}, []string{"operation", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "nfs_provisioner_operation_seconds", Help: "How long they took, whatever came of them.", Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
		}, []string{"operation"}),
		leading:  gauge("leading", "1 for the instance that does the work."),
		reached:  gauge("storage_up", "1 if a storage host serves and answers this instance."),
		volumes:  gauge("pool_volumes", "Volumes of the pool."),
		promised: gauge("pool_promised_bytes", "Sum of their quotas."),
		stored:   gauge("pool_used_bytes", "Sum of what is stored in them."),
		orphans:  gauge("pool_orphans", "Volumes of the pool that no persistent volume of the cluster is for."),
	}
	m.registry.MustRegister(m.operations, m.seconds, m.leading, m.reached, m.volumes, m.promised, m.stored, m.orphans)
	return m
}

// begin notes the beginning of a command, and what it returns its end.
func (m *metrics) begin(operation string) func(error) {
	began := time.Now()
	return func(err error) {
		outcome := "failed"
		switch {
		case err == nil:
			outcome = "done"
		case errors.Is(err, pool.ErrNoRoom):
			outcome = "no-room"
		case errors.Is(err, pool.ErrRefused):
			outcome = "refused"
		}
		m.operations.WithLabelValues(operation, outcome).Inc()
		m.seconds.WithLabelValues(operation).Observe(time.Since(began).Seconds())
	}
}
