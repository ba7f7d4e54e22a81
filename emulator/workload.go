package emulator

import (
	"cmp"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Where workloads ask for credentials, on the AWS endpoint.
const (
	ecsPath = "/v2/credentials/" // with the id of a task behind
	podPath = "/v1/credentials"
	ssoPath = "/federation/credentials"
)

// ssoLogin is how long the cached token of SSO says that it is good. It is good for
// as long as the workload is there.
const ssoLogin = 8 * time.Hour

// podToken is how long the token of a pod lives. On EKS it is a day, and the file has a
// new one in time; here it has one that lasts.
const podToken = 365 * 24 * time.Hour

// StartWorkload gives a role (DefaultRole if none is named) to a workload and returns
// the environment that it has then, in the form of os.Environ, with what Environ says
// besides the administrator's access key. Those of containers and pods can be used on
// this machine only. Started again, a workload has the same environment, but for
// Lambda's, which holds the credentials themselves. Files that it names go with the
// emulator.
func (s *Server) StartWorkload(l Workload) (environ []string, err error) {
	l.Role = cmp.Or(l.Role, DefaultRole)
	l, err = s.world.PutWorkload(l)
	if err != nil {
		return nil, err
	}
	if l.Kind != SSO { // the default profile of this machine would win over some
		environ = []string{"AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull}
	}
	own, err := s.workloadEnviron(l)
	if err != nil {
		return nil, err
	}
	return append(append(environ, own...), s.place()...), nil
}

func (s *Server) workloadEnviron(l Workload) ([]string, error) {
	switch l.Kind {
	case EC2:
		return s.instanceEnviron(l)
	case ECS:
		return []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + s.local(ecsPath+l.ID), "AWS_CONTAINER_AUTHORIZATION_TOKEN=" + string(l.Token)}, nil
	case Lambda:
		k, err := s.world.WorkloadSession(l)
		return []string{"AWS_LAMBDA_FUNCTION_NAME=" + l.Name, "AWS_ACCESS_KEY_ID=" + k.ID, "AWS_SECRET_ACCESS_KEY=" + string(k.Secret),
			"AWS_SESSION_TOKEN=" + string(k.SessionToken)}, err
	case IRSA:
		file, _, err := s.writeToken(l, "sts.amazonaws.com")
		if _, missing := s.world.OIDCProvider(s.world.OIDCProviderARN(s.Issuer())); missing != nil && err == nil {
			_, err = s.PutOIDCProvider(s.Issuer(), "sts.amazonaws.com")
		}
		// The Go SDK asks STS before it reads AWS_ENDPOINT_URL.
		return []string{"AWS_ENDPOINT_URL_STS=" + s.url, "AWS_ROLE_ARN=" + s.RoleARN(l.Role), "AWS_ROLE_SESSION_NAME=" + l.Name, "AWS_WEB_IDENTITY_TOKEN_FILE=" + file}, err
	case PodIdentity:
		file, token, err := s.writeToken(l, "pods.eks.amazonaws.com")
		if err == nil {
			l.Token = Secret(token)
			_, err = s.world.PutWorkload(l)
		}
		return []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + s.local(podPath), "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=" + file}, err
	}
	return s.ssoEnviron(l)
}

// writeToken writes a token of a pod's service account, as Kubernetes does.
func (s *Server) writeToken(l Workload, audience string) (file, token string, err error) {
	token, err = s.WebIdentityToken("system:serviceaccount:"+l.Namespace+":"+l.ServiceAccount, audience, map[string]any{
		"exp": s.Now().Add(podToken).Unix(),
		"kubernetes.io": map[string]any{"namespace": l.Namespace, "serviceaccount": map[string]string{"name": l.ServiceAccount},
			"pod": map[string]string{"name": l.Name, "uid": l.ID}},
	})
	name := "token-" + l.ID
	return s.dir.file(name), token, errors.Join(err, s.dir.write(name, []byte(token))) // no newline, which SDKs refuse
}

// instanceEnviron launches the instance of a workload, unless it runs.
func (s *Server) instanceEnviron(l Workload) (environ []string, err error) {
	if role, _ := s.world.InstanceRole(l.Instance); role != l.Role || s.MetadataURL(l.Instance) == "" {
		if l.Instance, err = s.RunInstance(l.Role); err != nil {
			return nil, err
		}
		if _, err := s.world.PutWorkload(l); err != nil {
			return nil, err
		}
	}
	return []string{"AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + s.MetadataURL(l.Instance)}, nil
}

// ssoEnviron writes what `aws configure sso` and `aws sso login` leave behind.
func (s *Server) ssoEnviron(l Workload) ([]string, error) {
	const profile, start = "demo", "https://demo.awsapps.com/start"
	home := s.dir.file("home-" + l.ID)
	sum := sha1.Sum([]byte(start)) // names the file of the token
	cached, err := json.Marshal(map[string]string{"startUrl": start, "region": s.Region(), "accessToken": string(l.Token), "expiresAt": stamp(s.Now().Add(ssoLogin))})
	if err != nil {
		return nil, err
	}
	cache := filepath.Join(home, ".aws", "sso", "cache")
	config := filepath.Join(home, ".aws", "config")
	return []string{"AWS_ENDPOINT_URL_SSO=" + s.url, "HOME=" + home, "AWS_CONFIG_FILE=" + config, "AWS_PROFILE=" + profile}, errors.Join(
		os.MkdirAll(cache, 0o700),
		os.WriteFile(filepath.Join(cache, hex.EncodeToString(sum[:])+".json"), cached, 0o600),
		os.WriteFile(config, fmt.Appendf(nil, "[profile %s]\nsso_start_url = %s\nsso_region = %s\nsso_account_id = %s\nsso_role_name = %s\n",
			profile, start, s.Region(), s.Account(), l.Role), 0o600))
}

// local is a path of the AWS endpoint under a loopback address: SDKs take container
// credentials over http from nowhere else.
func (s *Server) local(path string) string {
	if s.config.Expose == "" {
		return s.url + path
	}
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(s.url, "http://"))
	return "http://127.0.0.1:" + port + path
}

func (s *Server) handleWorkloads(mux *http.ServeMux) {
	authorization := func(r *http.Request) string { return r.Header.Get("Authorization") }
	mux.HandleFunc("GET "+ecsPath+"{id}", s.handOut(ECS, authorization, func(l Workload, k Key) any {
		return containerCredentials{s.RoleARN(l.Role), k.ID, string(k.Secret), string(k.SessionToken), "", stamp(k.Expires)}
	}))
	mux.HandleFunc("GET "+podPath, s.handOut(PodIdentity, authorization, func(_ Workload, k Key) any {
		return containerCredentials{"", k.ID, string(k.Secret), string(k.SessionToken), s.Account(), stamp(k.Expires)}
	}))
	mux.HandleFunc("GET "+ssoPath, s.handOut(SSO, func(r *http.Request) string { return r.Header.Get("X-Amz-Sso_bearer_token") }, func(_ Workload, k Key) any {
		return map[string]ssoCredentials{"roleCredentials": {k.ID, string(k.Secret), string(k.SessionToken), k.Expires.UnixMilli()}}
	}))
}

// containerCredentials is what the agents of ECS and of EKS Pod Identity answer (SDKs
// and Tools Reference Guide, "Container credential provider").
type containerCredentials struct {
	RoleArn         string `json:",omitempty"` // of ECS
	AccessKeyId     string
	SecretAccessKey string
	Token           string
	AccountId       string `json:",omitempty"` // of EKS
	Expiration      string
}

// ssoCredentials is what GetRoleCredentials of the SSO portal answers.
type ssoCredentials struct {
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
	SessionToken    string `json:"sessionToken"`
	Expiration      int64  `json:"expiration"` // in milliseconds
}

// handOut answers workloads of a kind, which prove with a token who they are, from
// this machine only.
func (s *Server) handOut(kind WorkloadKind, token func(*http.Request) string, shape func(Workload, Key) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		l, ok := s.world.WorkloadWith(kind, strings.TrimSpace(token(r)))
		refuse := func(status int, e *Error) {
			s.refused("AssumeRole", host, e)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("X-Amzn-Errortype", e.Code)
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(map[string]string{"code": e.Code, "message": e.Message})
		}
		switch query := r.URL.Query(); {
		case !isLoopback(host) || !s.ownName(r.Host):
			refuse(http.StatusForbidden, &Error{Code: "AccessDenied", Message: "credentials are for this machine only"})
			return
		case !ok:
			refuse(http.StatusUnauthorized, &Error{Code: "UnauthorizedException", Message: "the token is missing or not that of a workload"})
			return
		case kind == ECS && r.PathValue("id") != l.ID:
			refuse(http.StatusBadRequest, &Error{Code: "InvalidIdInRequest", Message: "the token is that of another task"})
			return
		case kind == SSO && (query.Get("role_name") != l.Role || query.Get("account_id") != s.Account()):
			refuse(http.StatusForbidden, &Error{Code: "ForbiddenException", Message: "No access"})
			return
		}
		k, err := s.world.WorkloadSession(l)
		switch e := (*Error)(nil); {
		case errors.As(err, &e):
			refuse(http.StatusForbidden, e)
		case err != nil:
			refuse(http.StatusInternalServerError, &Error{Code: "InternalServerError", Message: err.Error()})
		default:
			answer(w, shape(l, k))
		}
	}
}

// refused logs and notes that credentials were refused.
func (s *Server) refused(action, source string, e *Error) {
	s.log.Info("credentials refused", "action", action, "source", source, "reason", e.Code, "detail", cmp.Or(e.Detail, e.Message))
	s.noteRefused(action, source, e)
}

func (s *Server) noteRefused(action, source string, e *Error) {
	s.record(Event{Time: s.Now(), Service: "sts", Action: action, Region: s.Region(), Source: source, Reason: e.Code, Detail: cmp.Or(e.Detail, e.Message)})
}

// refusedCall notes those calls of the AWS API, which has logged them, in which somebody
// wanted a role.
func (s *Server) refusedCall(action, address string, e *Error) {
	if strings.HasPrefix(action, "AssumeRole") {
		source, _, _ := net.SplitHostPort(address)
		s.noteRefused(action, source, e)
	}
}
