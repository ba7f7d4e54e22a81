package metrics_test

import (
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/metrics"
)

func TestPrometheusSeesWhatIsCounted(t *testing.T) {
	signIns := rediam.Follow(&rediam.Signer{})
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.New(signIns))

	first, second := signIns.Open(), signIns.Open()
	for _, c := range []*rediam.Connection{first, first, second} {
		c.Begin(t.Context())
		c.End(nil)
	}
	second.Close()
	signIns.Failed(errors.New("WRONGPASS invalid username-password pair or user is disabled."))

	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"\nrediam_sign_ins_total 2\n", "\nrediam_renewals_total 1\n", "\nrediam_connections 1\n", "\nrediam_oldest_connection_seconds ",
		`rediam_sign_in_failures_total{cause="refused"} 1`, `rediam_sign_in_failures_total{cause="throttled"} 0`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("there is no %q in\n%s", want, text)
		}
	}
}
