package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/semconv/v1.37.0"

	"github.com/halinux/halinux/app/todo/config"
	"github.com/halinux/halinux/app/todo/files"
	"github.com/halinux/halinux/app/todo/password"
	"github.com/halinux/halinux/app/todo/web"
)

// serve answers requests until ctx ends, and then until those that run have
// ended.
func serve(ctx context.Context, p *process) (err error) {
	if p.Profile == config.Standalone {
		if err := migrate(ctx, p); err != nil {
			return err
		}
	}
	stopTraces, err := p.startTraces(ctx)
	if err != nil {
		return err
	}
	folder, err := p.openFiles()
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	app, err := web.New(web.Options{
		Store: p.store, Files: folder, Hasher: password.New(password.Recommended), Log: p.log, Metrics: registry,
		URL: p.URL, TrustedProxies: p.TrustedProxies, Pod: p.Pod, Node: p.Node,
	})
	if err != nil {
		return err
	}

	metrics := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	pages := http.NewServeMux()
	pages.Handle("/", app.Handler())
	if p.MetricsListen == "" {
		pages.Handle("GET /metrics", metrics)
	}
	servers := []*http.Server{{Addr: p.Listen, Handler: pages}}
	if p.MetricsListen != "" {
		inside := http.NewServeMux()
		inside.Handle("GET /metrics", metrics)
		inside.HandleFunc("GET /healthz", app.Healthz)
		inside.HandleFunc("GET /readyz", app.Readyz)
		servers = append(servers, &http.Server{Addr: p.MetricsListen, Handler: inside})
	}

	failed := make(chan error, len(servers))
	for _, s := range servers {
		// No ReadTimeout: an upload has as long as something comes.
		s.ReadHeaderTimeout, s.IdleTimeout = 10*time.Second, 2*time.Minute
		listener, err := net.Listen("tcp", s.Addr)
		if err != nil {
			return fmt.Errorf("%w; choose another port with TODO_LISTEN or TODO_METRICS_LISTEN", err)
		}
		go func() { failed <- s.Serve(listener) }()
	}
	p.log.Info("ready to answer", "url", p.URL.String(), "listen", p.Listen, "metrics", p.MetricsListen, "profile", string(p.Profile),
		"data", p.Data, "attachments", p.Attachments)

	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		p.sweepRegularly(background, folder)
	}()

	select {
	case err = <-failed:
	case <-ctx.Done():
		err = p.shutDown(app, servers)
	}
	stopBackground()
	<-swept
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return errors.Join(err, stopTraces(end), folder.Close())
}

// shutDown first says that the process is not ready, and goes on serving while
// those who send requests notice; then takes no more, and lets those that run
// finish.
func (p *process) shutDown(app *web.App, servers []*http.Server) error {
	p.log.Info("ending", "drain", p.Drain, "shutdown", p.Shutdown)
	app.Drain()
	drained := time.NewTimer(p.Drain)
	<-drained.C
	ctx, cancel := context.WithTimeout(context.Background(), p.Shutdown)
	defer cancel()
	for _, s := range servers {
		if err := s.Shutdown(ctx); err != nil {
			return fmt.Errorf("requests were cut off after %s: %w", p.Shutdown, err)
		}
	}
	p.log.Info("all requests have been answered")
	return nil
}

// sweepRegularly sweeps now and then until ctx ends.
func (p *process) sweepRegularly(ctx context.Context, folder *files.Folder) {
	if p.SweepEvery == 0 {
		return
	}
	ticker := time.NewTicker(p.SweepEvery)
	defer ticker.Stop()
	for {
		if err := p.sweepOnce(ctx, folder); err != nil && ctx.Err() == nil {
			p.log.Warn("sweeping failed; it will be tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (p *process) sweepOnce(ctx context.Context, folder *files.Folder) error {
	if err := p.store.Sweep(ctx, time.Now().Add(-24*time.Hour)); err != nil {
		return err
	}
	removed, err := folder.Sweep(ctx, p.store.KnownKeys)
	p.log.Info("swept", "files", removed)
	return err
}

// startTraces exports traces where an endpoint is set; the exporter reads
// OTEL_EXPORTER_OTLP_* itself.
func (p *process) startTraces(ctx context.Context) (stop func(context.Context) error, err error) {
	otel.SetTextMapPropagator(propagation.TraceContext{})
	if !p.Traces {
		return func(context.Context) error { return nil }, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	described, err := resource.New(ctx, resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("todo"), semconv.K8SPodName(p.Pod), semconv.K8SNodeName(p.Node)),
		resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(described))
	otel.SetTracerProvider(provider)
	return provider.Shutdown, nil
}
