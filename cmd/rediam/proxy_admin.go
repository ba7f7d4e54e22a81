package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rediam/rediam/metrics"
)

// readyTime bounds how long /readyz may look for itself.
const readyTime = 5 * time.Second

// admin is where operators, and what restarts programs, look.
type admin struct {
	server *http.Server // nil if nobody wants it
	ready  atomic.Bool
}

func (c *proxyCommand) openAdmin(targets []*served) (*admin, error) {
	a := &admin{}
	if c.Admin == "" {
		return a, nil
	}
	listener, err := net.Listen("tcp", c.Admin)
	if err != nil {
		return nil, fmt.Errorf("--admin: %w", err)
	}
	a.server = &http.Server{Handler: a.pages(targets), ReadHeaderTimeout: 10 * time.Second}
	go a.server.Serve(listener)
	return a, nil
}

// started is called when every target listens.
func (a *admin) started() { a.ready.Store(true) }

func (a *admin) Close() error {
	if a.server == nil {
		return nil
	}
	return a.server.Close()
}

func (a *admin) pages(targets []*served) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /startup", func(w http.ResponseWriter, _ *http.Request) {
		if !a.ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, "starting")
			return
		}
		fmt.Fprintln(w, "ok")
	})
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
