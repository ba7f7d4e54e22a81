// Package app is a key-value store over HTTP whose data lie in ElastiCache or
// MemoryDB: the client that signs in with IAM, the handler and the server.
package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/rediam/rediam"
	"github.com/redis/go-redis/v9"
)

// AWS closes a connection 12 hours after it has signed in (ElastiCache and
// MemoryDB user guides, "Authenticating with IAM"). Replacing each after 7 to 11
// hours, which is what the spread means, keeps clear of that and of all signing
// in at once.
const (
	connectionAge    = 9 * time.Hour
	connectionSpread = 2 * time.Hour
)

const (
	maxBody     = 1 << 20
	commandTime = 5 * time.Second  // for one command, with the retries of the client
	drainTime   = 10 * time.Second // for requests under way when the server is told to stop
)

// NewClient is a client of the cache at addr that signs in with a fresh token of
// tokens whenever it opens a connection; the caller must Close it. cluster is
// whether the cache is in cluster mode.
func NewClient(addr string, cluster bool, trust *tls.Config, tokens rediam.TokenSource) redis.UniversalClient {
	return redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs:                      []string{addr},
		IsClusterMode:              cluster,
		TLSConfig:                  trust,
		CredentialsProviderContext: rediam.BasicAuth(tokens),
		ConnMaxLifetime:            connectionAge,
		ConnMaxLifetimeJitter:      connectionSpread,
		ContextTimeoutEnabled:      true,
	})
}

// Serve answers requests on listener until ctx is done, then lets those under way
// finish and returns nil. It closes listener.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      20 * time.Second,
		IdleTimeout:       time.Minute,
	}
	defer server.Close() // of what outlives the drain
	drained := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		drained <- server.Shutdown(grace)
	})
	if err := server.Serve(listener); stop() {
		return err // not told to stop: the listener has failed
	}
	if err := <-drained; err != nil {
		return fmt.Errorf("requests were cut off: %w", err)
	}
	return nil
}

// NewHandler answers POST /, GET /{key} and GET /healthz. Clients hear that the
// cache has failed, log hears why.
func NewHandler(cache redis.Cmdable, log *slog.Logger) http.Handler {
	s := &store{cache, log}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", s.put)
	mux.HandleFunc("GET /{key...}", s.get)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	// put takes any Content-Type, so a form on a foreign web page could post to it.
	return http.NewCrossOriginProtection().Handler(mux)
}

type store struct {
	cache redis.Cmdable
	log   *slog.Logger
}

// A pair is what goes in and comes out. Value is nil if it was left out.
type pair struct {
	Key   string  `json:"key"`
	Value *string `json:"value"`
}

func (s *store) put(w http.ResponseWriter, r *http.Request) {
	var p pair
	err := decode(http.MaxBytesReader(w, r.Body, maxBody), &p)
	switch tooLarge := (*http.MaxBytesError)(nil); {
	case errors.As(err, &tooLarge):
		fail(w, http.StatusRequestEntityTooLarge, "the body is larger than 1 MiB")
		return
	case err != nil || p.Key == "" || p.Value == nil:
		fail(w, http.StatusBadRequest, `the body must be JSON like {"key":"foo1","value":"bar1"}`)
		return
	case p.Key == "healthz":
		fail(w, http.StatusBadRequest, "GET /healthz means something else: choose another key")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), commandTime)
	defer cancel()
	if err := s.cache.Set(ctx, p.Key, *p.Value, 0).Err(); err != nil {
		s.failed(w, r, err)
		return
	}
	reply(w, http.StatusOK, p)
}

// decode reads one JSON value with the members of v and nothing behind it.
func decode(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.Join(errors.New("more than one value"), err)
	}
	return nil
}

func (s *store) get(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), commandTime)
	defer cancel()
	key := r.PathValue("key")
	switch value, err := s.cache.Get(ctx, key).Result(); {
	case errors.Is(err, redis.Nil):
		fail(w, http.StatusNotFound, "no such key")
	case err != nil:
		s.failed(w, r, err)
	default:
		reply(w, http.StatusOK, pair{key, &value})
	}
}

// failed tells the client which side of the cache's door the error came from.
func (s *store) failed(w http.ResponseWriter, r *http.Request, err error) {
	s.log.ErrorContext(r.Context(), "cache", "method", r.Method, "error", err)
	if refused := redis.Error(nil); errors.As(err, &refused) {
		fail(w, http.StatusBadGateway, "the cache refused the request")
		return
	}
	fail(w, http.StatusServiceUnavailable, "the cache cannot be reached")
}

func fail(w http.ResponseWriter, status int, text string) {
	reply(w, status, map[string]string{"error": text})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // the client may have gone; there is nobody to tell
}
