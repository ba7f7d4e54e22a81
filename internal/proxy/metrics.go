package proxy

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what a Proxy counts, for prometheus.Registry.MustRegister. They are
// safe for many goroutines.
//
//	rediam_proxy_clients                        connections of clients that are open
//	rediam_proxy_clients_total                  and those that have been
//	rediam_proxy_refused_clients_total{reason}  those that could not be served: max_connections, sign_in, protocol before they had said anything else; and passwords that were wrong
//	rediam_proxy_held_clients                   those that have asked for something and wait for a sign-in
//	rediam_proxy_renewals_total{outcome}        renewals: renewed; inserted, behind what was not answered yet; unconfirmed, with replies switched off; refused; unanswered in time; unsigned, without a token; busy, at no moment at which one could go in
//	rediam_proxy_late_renewals_total{state}     renewals that could not go in by the age at which every connection should be renewed, and what state of the connection kept them
//	rediam_proxy_spare_connections              connections that clients have left, signed in, and that wait for others
//	rediam_proxy_handed_over_total              clients that got a connection which another had left, signed in
//	rediam_proxy_bytes_total{direction}         bytes passed on: to_cache, to_client
//	rediam_proxy_open_seconds                   how long it took to open and sign in a connection
type Metrics struct {
	connections       prometheus.Counter
	reused            prometheus.Counter
	open, held, spare prometheus.Gauge
	refused, renewals *prometheus.CounterVec
	late, bytes       *prometheus.CounterVec
	toCache, toClient prometheus.Counter // of bytes
	opening           prometheus.Histogram
	everything        []prometheus.Collector
}

var _ prometheus.Collector = (*Metrics)(nil)

// NewMetrics makes metrics that are all zero.
func NewMetrics() *Metrics {
	m := &Metrics{
		open:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "rediam_proxy_clients", Help: "Connections of clients that are open."}),
		connections: prometheus.NewCounter(prometheus.CounterOpts{Name: "rediam_proxy_clients_total", Help: "Connections of clients."}),
		spare:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "rediam_proxy_spare_connections", Help: "Connections that wait, signed in, for another client."}),
		reused:      prometheus.NewCounter(prometheus.CounterOpts{Name: "rediam_proxy_handed_over_total", Help: "Clients that got a connection which another had left."}),
		held:        prometheus.NewGauge(prometheus.GaugeOpts{Name: "rediam_proxy_held_clients", Help: "Clients that wait for a sign-in or a renewal."}),
		refused:     vec("refused_clients_total", "Clients that got no connection to the cache.", "reason"),
		renewals:    vec("renewals_total", "Renewals of connections.", "outcome"),
		late:        vec("late_renewals_total", "Renewals that could not go in by the latest age planned.", "state"),
		bytes:       vec("bytes_total", "Bytes passed on.", "direction"),
		opening: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "rediam_proxy_open_seconds", Help: "Time to open and sign in a connection.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)}),
	}
	for _, reason := range []string{"max_connections", "sign_in", "password", "protocol"} {
		m.refused.WithLabelValues(reason)
	}
	for _, outcome := range outcomes {
		m.renewals.WithLabelValues(outcome)
	}
	m.toCache, m.toClient = m.bytes.WithLabelValues("to_cache"), m.bytes.WithLabelValues("to_client")
	m.everything = []prometheus.Collector{m.open, m.connections, m.spare, m.reused, m.held, m.refused, m.renewals, m.late, m.bytes, m.opening}
	return m
}

func vec(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "rediam_proxy_" + name, Help: help}, []string{label})
}

// Describe sends the description of every metric.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, c := range m.everything {
		c.Describe(out)
	}
}

// Collect sends the values of now.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	for _, c := range m.everything {
		c.Collect(out)
	}
}
