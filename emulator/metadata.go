package emulator

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rediam/rediam/internal/world"
)

// What the EC2 User Guide says of the instance metadata service ("Use the Instance
// Metadata Service", "Retrieve security credentials from instance metadata").
const (
	tokenHeader    = "X-Aws-Ec2-Metadata-Token"
	tokenTTLHeader = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	maxMetadataTTL = 21600
)

// metadata is the instance metadata service of one instance.
type metadata struct {
	server   *Server
	instance string
	url      string
	http     *http.Server
	served   sync.WaitGroup
	key      [sha256.Size]byte // that makes its session tokens
}

// MetadataURL is the instance metadata service of an instance, for
// AWS_EC2_METADATA_SERVICE_ENDPOINT; empty if the instance does not run or has its
// metadata disabled.
func (s *Server) MetadataURL(instance string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.metadata[instance]; ok {
		return m.url
	}
	return ""
}

// reconcileMetadata makes the metadata services fit the world: it runs after every
// change, as reconcile does.
func (s *Server) reconcileMetadata() error {
	wanted, there := map[string]bool{}, map[string]bool{}
	var problems []error
	for _, i := range s.world.Instances() {
		there[i.ID] = i.State != world.Terminated
		if i.State == world.Running && i.Metadata.Endpoint == "enabled" {
			wanted[i.ID] = true
			if err := s.serveMetadata(i.ID); err != nil {
				problems = append(problems, fmt.Errorf("metadata of instance %s: %w", i.ID, err))
			}
		}
	}
	s.mu.Lock()
	var gone []*metadata
	for id, m := range s.metadata {
		if !wanted[id] {
			gone = append(gone, m)
			delete(s.metadata, id)
		}
	}
	s.mu.Unlock()
	for _, m := range gone {
		m.stop()
		if !there[m.instance] {
			problems = append(problems, s.state.put(ofMetadata+m.instance, nil))
		}
	}
	return errors.Join(problems...)
}

// serveMetadata starts the metadata service of an instance unless it runs. It has the
// port that it had before.
func (s *Server) serveMetadata(instance string) error {
	if s.MetadataURL(instance) != "" {
		return nil
	}
	port, kept := saved[int](s.state, ofMetadata+instance)
	listener, err := s.listen(net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return errTaken(err, kept)
	}
	if err := s.state.put(ofMetadata+instance, listener.Addr().(*net.TCPAddr).Port); err != nil {
		listener.Close()
		return err
	}
	// The AWS CLI before 2.13 needs the slash at the end.
	m := &metadata{server: s, instance: instance, url: "http://" + s.address(listener) + "/"}
	rand.Read(m.key[:])
	m.http = &http.Server{
		Handler:           m,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelInfo),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ctx.Err(); err != nil { // Close does not wait for what is not there yet
		listener.Close()
		return err
	}
	s.metadata[instance] = m
	m.served.Go(func() {
		if err := m.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.fail(err)
		}
	})
	s.log.Info("instance metadata ready", "instance", instance, "endpoint", m.url)
	return nil
}

// stop returns when the port is free again.
func (m *metadata) stop() {
	m.http.Close()
	m.served.Wait()
}

// ServeHTTP answers as 169.254.169.254 does. Doubled slashes count as one: the AWS
// CLI makes them of an endpoint that ends in one.
func (m *metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	instance, ok := m.server.world.Instance(m.instance)
	asked := path.Clean("/" + r.URL.Path)
	w.Header().Set("Server", "EC2ws")
	switch {
	case !ok || !m.server.ownName(r.Host): // one that was rebound to this machine
		page(w, http.StatusForbidden)
	case r.Method == http.MethodPut && asked == "/latest/api/token":
		m.putToken(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		page(w, http.StatusMethodNotAllowed)
	case !m.mayRead(w, r, instance.Metadata.Tokens):
		page(w, http.StatusUnauthorized)
	default:
		m.get(w, instance, asked)
	}
}

// page answers with an error, as a web page.
func page(w http.ResponseWriter, status int) {
	title := strconv.Itoa(status) + " - " + http.StatusText(status)
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="iso-8859-1"?>
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head><title>%s</title></head>
 <body><h1>%s</h1></body>
</html>
`, title, title)
}

// putToken begins a session of IMDSv2.
func (m *metadata) putToken(w http.ResponseWriter, r *http.Request) {
	ttl, err := strconv.Atoi(r.Header.Get(tokenTTLHeader))
	switch {
	case len(r.Header.Values("X-Forwarded-For")) > 0: // it came through a proxy
		page(w, http.StatusForbidden)
	case err != nil || ttl < 1 || ttl > maxMetadataTTL:
		page(w, http.StatusBadRequest)
	default:
		w.Header().Set(tokenTTLHeader, strconv.Itoa(ttl))
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, m.token(m.server.Now().Add(time.Duration(ttl)*time.Second)))
	}
}

// token is a session token: when it ends, and proof that we made it.
func (m *metadata) token(ends time.Time) string {
	at := binary.BigEndian.AppendUint64(nil, uint64(ends.UnixMilli()))
	proof := hmac.New(sha256.New, m.key[:])
	proof.Write(at)
	return base64.URLEncoding.EncodeToString(proof.Sum(at))
}

// mayRead is whether a request has a token that counts, or needs none.
func (m *metadata) mayRead(w http.ResponseWriter, r *http.Request, tokens string) bool {
	token := r.Header.Get(tokenHeader)
	if token == "" {
		return tokens == "optional"
	}
	content, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(content) != 8+sha256.Size {
		return false
	}
	ends := time.UnixMilli(int64(binary.BigEndian.Uint64(content)))
	left := ends.Sub(m.server.Now())
	if !hmac.Equal([]byte(m.token(ends)), []byte(token)) || left <= 0 {
		return false
	}
	w.Header().Set(tokenTTLHeader, strconv.Itoa(int(left/time.Second)))
	return true
}

// get answers what stands at a path, or the names of what lies below it.
func (m *metadata) get(w http.ResponseWriter, i world.Instance, asked string) {
	w.Header().Set("Content-Type", "text/plain")
	all := m.categories(i)
	if content, ok := all[asked]; ok {
		body, err := content()
		if err != nil {
			m.server.log.Info("instance metadata failed", "instance", i.ID, "path", asked, "error", err)
			page(w, http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, body)
		return
	}
	var names []string
	for name := range all {
		if below, ok := strings.CutPrefix(name, strings.TrimSuffix(asked, "/")+"/"); ok {
			first, _, deeper := strings.Cut(below, "/")
			if deeper {
				first += "/"
			}
			names = append(names, first)
		}
	}
	if len(names) == 0 {
		page(w, http.StatusNotFound)
		return
	}
	slices.Sort(names)
	fmt.Fprint(w, strings.Join(slices.Compact(names), "\n"))
}

// categories is what there is, by path.
func (m *metadata) categories(i world.Instance) map[string]func() (string, error) {
	all := map[string]func() (string, error){}
	put := func(name, value string) {
		all["/latest/"+name] = func() (string, error) { return value, nil }
	}
	s, here := m.server, m.server.world.Network()
	host := m.server.world.PrivateName(i)
	for name, value := range map[string]string{
		"ami-id": i.Image, "ami-launch-index": strconv.Itoa(i.Index), "hostname": host, "instance-action": "none", "instance-id": i.ID,
		"instance-life-cycle": "on-demand", "instance-type": i.Type, "local-hostname": host, "local-ipv4": i.Address,
		"placement/availability-zone": here.Zone, "placement/region": s.Region(), "reservation-id": i.Reservation,
		"security-groups": "default", "services/partition": s.Partition(),
	} {
		put("meta-data/"+name, value)
	}
	if i.Metadata.Tags == "enabled" {
		for k, v := range i.Tags {
			put("meta-data/tags/instance/"+k, v)
		}
	}
	if data, err := base64.StdEncoding.DecodeString(i.UserData); err == nil && i.UserData != "" {
		put("user-data", string(data))
	}
	all["/latest/dynamic/instance-identity/document"] = func() (string, error) { return m.identity(i) }
	if i.Association.ID != "" {
		all["/latest/meta-data/iam/info"] = func() (string, error) { return m.profile(i) }
	}
	if role, ok := s.world.InstanceRole(i.ID); ok {
		all["/latest/meta-data/iam/security-credentials/"+role] = func() (string, error) { return m.credentials() }
	}
	return all
}

func indented(v any) (string, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return string(b), err
}

// identity is the instance identity document (EC2 User Guide).
func (m *metadata) identity(i world.Instance) (string, error) {
	return indented(map[string]any{
		"accountId": m.server.Account(), "architecture": "x86_64", "availabilityZone": m.server.world.Network().Zone, "billingProducts": nil,
		"devpayProductCodes": nil, "imageId": i.Image, "instanceId": i.ID, "instanceType": i.Type, "kernelId": nil, "marketplaceProductCodes": nil,
		"pendingTime": stamp(i.Launched), "privateIp": i.Address, "ramdiskId": nil, "region": m.server.Region(), "version": "2017-09-30",
	})
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// A report is what the service says about the role of its instance. Code is Success
// or what is wrong.
type report struct {
	Code               string
	LastUpdated        string
	Message            string `json:",omitempty"`
	InstanceProfileArn string `json:",omitempty"`
	InstanceProfileId  string `json:",omitempty"`
	Type               string `json:",omitempty"`
	AccessKeyId        string `json:",omitempty"`
	SecretAccessKey    string `json:",omitempty"`
	Token              string `json:",omitempty"`
	Expiration         string `json:",omitempty"`
}

// profile reports on the instance profile, which may be gone (IAM User Guide,
// "Troubleshoot IAM and Amazon EC2").
func (m *metadata) profile(i world.Instance) (string, error) {
	r := report{Code: "Success", LastUpdated: stamp(m.server.Now()), InstanceProfileArn: i.Association.ARN, InstanceProfileId: i.Association.ProfileID}
	if p, ok := m.server.world.InstanceProfile(i.Association.Profile); !ok || p.ID != i.Association.ProfileID {
		r = report{Code: "InstanceProfileNotFound", LastUpdated: r.LastUpdated, Message: "Instance Profile with the name " + i.Association.Profile + " was not found."}
	}
	return indented(r)
}

// credentials gives those of the role.
func (m *metadata) credentials() (string, error) {
	k, err := m.server.world.InstanceSession(m.instance)
	if e := (*Error)(nil); errors.As(err, &e) && e.Code == "AssumeRoleUnauthorizedAccess" {
		m.server.refused("AssumeRole", world.ServiceEC2, e)
		return indented(report{Code: e.Code, LastUpdated: stamp(m.server.Now()), Message: e.Message + " Its trust policy must let ec2.amazonaws.com call sts:AssumeRole."})
	}
	if err != nil {
		return "", err
	}
	return indented(report{Code: "Success", LastUpdated: stamp(k.Created), Type: "AWS-HMAC", AccessKeyId: k.ID,
		SecretAccessKey: string(k.Secret), Token: string(k.SessionToken), Expiration: stamp(k.Expires)})
}
