package web

import (
	"cmp"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/felixge/httpsnoop"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/halinux/halinux/app/todo/store"
)

// metrics are what Prometheus learns beside the state of the process.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	running  prometheus.Gauge
	received prometheus.Counter
	signIns  *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, s *store.Store) metrics {
	m := metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "todo_http_requests_total", Help: "Requests that were answered."}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "todo_http_request_duration_seconds", Help: "Time from a request's header to the end of its answer.",
			Buckets: []float64{.002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60}}, []string{"route"}),
		running:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "todo_http_requests_running", Help: "Requests that are being answered."}),
		received: prometheus.NewCounter(prometheus.CounterOpts{Name: "todo_attachment_received_bytes_total", Help: "Bytes of attached files that were kept."}),
		signIns:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "todo_sign_ins_total", Help: "Attempts to sign in, by how they ended."}, []string{"result"}),
	}
	r.MustRegister(m.requests, m.seconds, m.running, m.received, m.signIns,
		collectors.NewDBStatsCollector(s.DB(), "todo"),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "todo_database_retries_total", Help: "Transactions that were repeated since the database refused them."},
			func() float64 { return float64(s.Retries()) }))
	return m
}

// probes are too many to be logged and traced.
func probe(r *http.Request) bool { return r.URL.Path == "/healthz" || r.URL.Path == "/readyz" }

// route is what a request was matched with, not its path: there are few, and
// they have no ids in them.
func route(r *http.Request) string {
	_, pattern, _ := strings.Cut(r.Pattern, " ")
	return r.Method + " " + cmp.Or(pattern, "none")
}

// observe measures, logs and traces each request.
func (a *App) observe(next http.Handler) http.Handler {
	measured := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.metrics.running.Inc()
		defer a.metrics.running.Dec()
		span := trace.SpanFromContext(r.Context())
		traced := span.SpanContext().HasTraceID()
		if traced {
			w.Header().Set("X-Trace-Id", span.SpanContext().TraceID().String())
		}
		m := httpsnoop.CaptureMetrics(next, w, r)
		a.metrics.requests.WithLabelValues(route(r), strconv.Itoa(m.Code)).Inc()
		a.metrics.seconds.WithLabelValues(route(r)).Observe(m.Duration.Seconds())
		if probe(r) {
			return
		}
		attributes := []slog.Attr{
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Int("status", m.Code),
			slog.Duration("duration", m.Duration), slog.Int64("bytes", m.Written), slog.String("edge", r.Header.Get("X-Edge")),
		}
		if traced {
			attributes = append(attributes, slog.String("trace", span.SpanContext().TraceID().String()))
		}
		a.Log.LogAttrs(r.Context(), slog.LevelInfo, "request", attributes...)
	})
	return otelhttp.NewHandler(measured, "request",
		otelhttp.WithFilter(func(r *http.Request) bool { return !probe(r) }),
		otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string { return route(r) }))
}
