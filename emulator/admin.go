package emulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// maxAdminBody bounds a request to the emulator itself.
const maxAdminBody = 64 << 10

// admin answers what is asked of the emulator itself, beside the AWS API on the
// same address, so that programs in any language can look and steer:
//
//	GET  /_rediam/events             the last sign-ins, oldest first
//	GET  /_rediam/sessions           live connections by cache
//	GET  /_rediam/instances          EC2 instances: state, role and where their metadata are
//	GET  /_rediam/ca.pem             the authority of the caches' certificates
//	GET  /_rediam/environ            what Environ returns, as a JSON array; only if exposed
//	POST /_rediam/fault              {"cache":"demo","signIn":"ERR …","signInsPerSecond":5,"signInsAtOnce":10,"latency":"50ms"}
//	POST /_rediam/cut                {"cache":"demo","connections":2}; without a number all of them
//	POST /_rediam/advance            {"by":"9h"}
//	GET  /_rediam/oidc/.well-known/openid-configuration
//	GET  /_rediam/oidc/keys          the own issuer of web identity tokens, and its keys
//	POST /_rediam/token              {"subject":"me","audience":"sts.amazonaws.com","claims":{}}: a token of it
//	POST /_rediam/issuer             {"url":"https://issuer.example.com","jwks":{"keys":[]}}: the keys of another
//
// An empty or missing cache means every cache. Web pages cannot call it: requests
// must name the emulator's own host and come from no other origin.
func (s *Server) admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_rediam/events", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Events()) })
	mux.HandleFunc("GET /_rediam/sessions", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.allSessions()) })
	mux.HandleFunc("GET /_rediam/instances", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.allInstances()) })
	mux.HandleFunc("GET /_rediam/ca.pem", func(w http.ResponseWriter, _ *http.Request) { w.Write(s.ca.pem) })
	if s.config.Expose != "" {
		mux.HandleFunc("GET /_rediam/environ", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Environ()) })
	}
	handle(mux, "POST /_rediam/fault", s.postFault)
	handle(mux, "POST /_rediam/cut", s.postCut)
	handle(mux, "POST /_rediam/advance", s.postAdvance)
	s.handleIssuer(mux)
	protected := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.ownName(r.Host) { // one that was rebound to this machine
			http.Error(w, "the emulator answers under its own names only", http.StatusForbidden)
			return
		}
		protected.ServeHTTP(w, r)
	})
}

// handle decodes the JSON body of a request and encodes what call returns.
func handle[In, Out any](mux *http.ServeMux, pattern string, call func(In) (Out, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var in In
		decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAdminBody))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&in); err != nil {
			http.Error(w, "the body is not the JSON that this call takes: "+err.Error(), http.StatusBadRequest)
			return
		}
		out, err := call(in)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, out)
	})
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

// ownName is whether a Host header names the emulator.
func (s *Server) ownName(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	return name == s.config.Expose && name != "" || isLoopback(name)
}

type faultRequest struct {
	Cache   string `json:"cache"`
	Latency string `json:"latency"`
	Fault
}

func (s *Server) postFault(r faultRequest) (Fault, error) {
	if r.Latency != "" {
		latency, err := time.ParseDuration(r.Latency)
		if err != nil {
			return Fault{}, fmt.Errorf("latency must be a duration such as 50ms")
		}
		r.Fault.Latency = latency
	}
	return r.Fault, s.Fault(r.Cache, r.Fault)
}

type cutRequest struct {
	Cache       string `json:"cache"`
	Connections *int   `json:"connections"`
}

func (s *Server) postCut(r cutRequest) (map[string]int, error) {
	n := -1
	if r.Connections != nil {
		n = max(*r.Connections, 0)
	}
	ended, err := s.Cut(r.Cache, n)
	return map[string]int{"ended": ended}, err
}

type advanceRequest struct {
	By string `json:"by"`
}

func (s *Server) postAdvance(r advanceRequest) (map[string]time.Time, error) {
	by, err := time.ParseDuration(r.By)
	if err != nil || by < 0 {
		return nil, fmt.Errorf("by must be a duration such as 9h, and time runs forwards only")
	}
	s.Advance(by)
	return map[string]time.Time{"now": s.Now()}, nil
}

// Fault makes trouble on a cache, or on every one that runs if name is empty, in
// place of what was made before; the zero Fault ends it.
func (s *Server) Fault(name string, f Fault) error {
	if f.SignInsPerSecond < 0 || f.SignInsAtOnce < 0 || f.Latency < 0 {
		return errors.New("a fault has neither a negative limit nor a negative latency")
	}
	_, err := s.each(name, func(c *cache) int {
		c.gate.SetFault(f)
		return 0
	})
	return err
}

// Cut ends up to n connections of each cache, oldest first, or all if n is
// negative; an empty name means every cache. It returns how many it has ended,
// when they have.
func (s *Server) Cut(name string, n int) (ended int, err error) {
	return s.each(name, func(c *cache) int { return c.gate.Cut(n) })
}

// each calls f for the cache of that name, or for all, and adds up.
func (s *Server) each(name string, f func(*cache) int) (sum int, err error) {
	chosen, err := s.named(name)
	for _, c := range chosen {
		sum += f(c)
	}
	return sum, err
}

func (s *Server) named(name string) ([]*cache, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var chosen []*cache
	for n, c := range s.caches {
		if name == "" || n == name {
			chosen = append(chosen, c)
		}
	}
	if name != "" && len(chosen) == 0 {
		return nil, fmt.Errorf("there is no cache %.64q", name)
	}
	return chosen, nil
}

func (s *Server) allSessions() map[string][]Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string][]Session{}
	for name, c := range s.caches {
		all[name] = c.gate.Sessions()
	}
	return all
}

// instance is what is told about an EC2 instance.
type instance struct {
	ID       string `json:"id"`
	State    string `json:"state"`
	Profile  string `json:"profile,omitempty"`
	Role     string `json:"role,omitempty"`
	Metadata string `json:"metadata,omitempty"` // URL
}

func (s *Server) allInstances() []instance {
	all := []instance{}
	for _, i := range s.world.Instances() {
		role, _ := s.world.InstanceRole(i.ID)
		all = append(all, instance{i.ID, string(i.State), i.Association.ARN, role, s.MetadataURL(i.ID)})
	}
	return all
}
