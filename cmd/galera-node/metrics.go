package main

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/halinux/halinux/components/galera/recovery"
)

// metric is one of what a node tells Prometheus.
type metric struct {
	*prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("galera_node_"+name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string) metric {
	return metric{prometheus.NewDesc("galera_node_"+name+"_total", help, nil, nil), prometheus.CounterValue}
}

var (
	nodes          = gauge("nodes", "Nodes that the cluster is to have.")
	up             = gauge("up", "1 if the server has answered within the last ten seconds.")
	member         = gauge("member", "1 for a member of the primary component.")
	serving        = gauge("serving", "1 for a node that clients may be sent to.")
	isWriter       = gauge("writer", "1 for the member that clients write to.")
	stopped        = gauge("stopped", "1 for a node that waits for a person's word; /ready says why.")
	componentSize  = gauge("component_size", "Members of the component that the node is in (wsrep_cluster_size).")
	localState     = gauge("local_state", "1 joining, 2 donor, 3 joined, 4 synced (wsrep_local_state).")
	receiveQueue   = gauge("receive_queue", "Transactions that wait to be applied here (wsrep_local_recv_queue).")
	lastCommitted  = gauge("last_committed", "The last transaction of the cluster that is here (wsrep_last_committed).")
	paused         = counter("flow_control_paused_seconds", "For how long all writes have waited for a node that lags behind (wsrep_flow_control_paused_ns).")
	conflicts      = counter("certification_failures", "Transactions that lost against another node's (wsrep_local_cert_failures).")
	certificateEnd = gauge("certificate_end_time_seconds", "When the node's certificate ends.")
	scheduled      = gauge("backup_schedule_time_seconds", "When a CronJob of backups was last to run, 0 for never.", "cronjob")
	succeeded      = gauge("backup_success_time_seconds", "When one last came to its end, 0 for never.", "cronjob")
)

// Describe and Collect make a node a prometheus.Collector.
func (n *node) Describe(descriptions chan<- *prometheus.Desc) {
	prometheus.DescribeByCollect(n, descriptions)
}

// Collect tells how the node is. What a server says that does not answer is left out.
func (n *node) Collect(values chan<- prometheus.Metric) {
	n.mu.Lock()
	self, decision, isServing, writes, st, answered, jobs := n.self, n.decision, n.serving, n.writes, n.status, n.answered, n.backups
	n.mu.Unlock()
	tell := func(m metric, value float64, labels ...string) {
		values <- prometheus.MustNewConstMetric(m.Desc, m.kind, value, labels...)
	}
	truth := func(m metric, is bool) {
		value := 0.0
		if is {
			value = 1
		}
		tell(m, value)
	}
	answers := !answered.IsZero() && time.Since(answered) < 10*n.settings.interval
	tell(nodes, float64(len(n.settings.peers)))
	truth(up, answers)
	truth(member, answers && self.Phase == recovery.Primary)
	truth(serving, isServing)
	truth(isWriter, writes && isServing)
	truth(stopped, decision.Action == recovery.Stop)
	if answers {
		tell(componentSize, float64(st.size))
		tell(localState, float64(st.local))
		tell(receiveQueue, float64(st.queue))
		tell(lastCommitted, float64(st.seqno))
		tell(paused, st.paused.Seconds())
		tell(conflicts, float64(st.conflicts))
	}
	if certificate, _, err := credentials(n.settings.tls); err == nil {
		tell(certificateEnd, float64(certificate.Leaf.NotAfter.Unix()))
	}
	for _, j := range jobs {
		tell(scheduled, seconds(j.scheduled), j.name)
		tell(succeeded, seconds(j.succeeded), j.name)
	}
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

// watchBackups asks how the CronJobs of backups are, until the context ends.
func (n *node) watchBackups(ctx context.Context) error {
	for ctx.Err() == nil {
		jobs, err := n.api.cronJobs(ctx, n.settings.backups)
		if err != nil && ctx.Err() == nil {
			n.log.Warn("how backups are cannot be told", "error", err)
		} else {
			n.set(func() { n.backups = jobs })
		}
		pause(ctx, 30*n.settings.interval)
	}
	return nil
}

// registry has all that a node tells, with the cluster's name.
func (n *node) registry() (*prometheus.Registry, error) {
	r := prometheus.NewRegistry()
	if err := prometheus.WrapRegistererWith(prometheus.Labels{"cluster": n.settings.cluster}, r).Register(n); err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return r, nil
}
