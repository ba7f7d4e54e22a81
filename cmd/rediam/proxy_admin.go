package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rediam/rediam/metrics"
)

// readyTime bounds how long /readyz may look for itself.
const readyTime = 5 * time.Second

// serveAdmin serves what operators look at, and what restarts programs, until stop is
// called. Every target listens.
func (c *proxyCommand) serveAdmin(targets []*served) (stop func() error, err error) {
	if c.Admin == "" {
		return func() error { return nil }, nil
	}
	listener, err := net.Listen("tcp", c.Admin)
	if err != nil {
		return nil, fmt.Errorf("--admin: %w", err)
	}
	server := &http.Server{
		Handler:        adminPages(targets),
		ReadTimeout:    10 * time.Second,
		WriteTimeout:   time.Minute,
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	go server.Serve(listener)
	return server.Close, nil
}

func adminPages(targets []*served) http.Handler {
	mux := http.NewServeMux()
	ok := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }
	mux.HandleFunc("GET /livez", ok)
	mux.HandleFunc("GET /startup", ok)
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTime)
		defer cancel()
		for _, s := range targets {
			if err := s.proxy.Ready(ctx); err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
				fmt.Fprintf(w, "%s: %v\n", s.config.CacheName, err)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", measured(targets))
	return mux
}

// measured shows the metrics of all targets, each with its cache and the place
// where clients find it.
func measured(targets []*served) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "rediam_build_info", Help: "Always 1; the labels are the version.",
		ConstLabels: prometheus.Labels{"version": version(), "go_version": runtime.Version()},
	}, func() float64 { return 1 }))
	for _, s := range targets {
		of := prometheus.WrapRegistererWith(prometheus.Labels{"cache": s.config.CacheName, "listen": s.where()}, registry)
		of.MustRegister(metrics.New(s.proxy.SignIns), s.proxy.Metrics)
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}
