// Package metrics shows to Prometheus what rediam.SignIns has counted.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rediam/rediam"
)

// A Collector is for prometheus.Registry.MustRegister. Its metrics are
//
//	rediam_sign_ins_total                  connections that have signed in
//	rediam_renewals_total                  sign-ins of connections that were signed in already
//	rediam_sign_in_failures_total{cause}   sign-ins and renewals that came to nothing; a series for each rediam.Cause
//	rediam_connections                     connections that are signed in now
//	rediam_oldest_connection_seconds       age of the oldest sign-in of these: AWS closes it at 43,200
//
// It holds no secret and no goroutine.
type Collector struct{ signIns *rediam.SignIns }

var _ prometheus.Collector = Collector{}

// New makes the collector of one SignIns. To register several, wrap each with
// labels of its own: prometheus.WrapRegistererWith.
func New(s *rediam.SignIns) Collector { return Collector{s} }

var (
	signIns     = describe("sign_ins_total", "Connections that have signed in.")
	renewals    = describe("renewals_total", "Sign-ins of connections that were signed in already.")
	failures    = describe("sign_in_failures_total", "Sign-ins and renewals that came to nothing.", "cause")
	connections = describe("connections", "Connections that are signed in.")
	oldest      = describe("oldest_connection_seconds", "Age of the oldest sign-in of a connection. AWS closes it at 43200.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("rediam_"+name, help, labels, nil)
}

// Describe sends the description of every metric.
func (Collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{signIns, renewals, failures, connections, oldest} {
		out <- d
	}
}

// Collect sends the values of now.
func (c Collector) Collect(out chan<- prometheus.Metric) {
	counts := c.signIns.Counts()
	out <- prometheus.MustNewConstMetric(signIns, prometheus.CounterValue, float64(counts.SignIns))
	out <- prometheus.MustNewConstMetric(renewals, prometheus.CounterValue, float64(counts.Renewals))
	for _, cause := range rediam.Causes() {
		out <- prometheus.MustNewConstMetric(failures, prometheus.CounterValue, float64(counts.Failures[cause]), string(cause))
	}
	out <- prometheus.MustNewConstMetric(connections, prometheus.GaugeValue, float64(counts.Connections))
	out <- prometheus.MustNewConstMetric(oldest, prometheus.GaugeValue, counts.Oldest.Seconds())
}
