package world

import (
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/rediam/rediam/internal/policy"
)

// A Workload is a program to which AWS hands credentials of a role.
type Workload struct {
	Kind           WorkloadKind
	Role           string // of the world's account
	Name           string // of the task, function, pod or person; zero means demo
	Namespace      string // of a pod; zero means default
	ServiceAccount string // of a pod, which is associated with the role; zero means demo

	ID       string // a UUID; set by the world
	Token    Secret // that it shows to whoever hands out credentials; zero means the one before, or any
	Instance string // on which it runs, if on EC2; zero means the one before
}

// WorkloadKind is where a workload runs.
type WorkloadKind string

const (
	EC2         WorkloadKind = "ec2"
	ECS         WorkloadKind = "ecs"
	Lambda      WorkloadKind = "lambda"
	IRSA        WorkloadKind = "irsa"         // a pod on EKS that asks STS itself
	PodIdentity WorkloadKind = "pod-identity" // a pod on EKS that asks an agent
	SSO         WorkloadKind = "sso"          // a person's own machine, signed in to IAM Identity Center
)

// How trust policies name those who hand out credentials.
const (
	ServiceEC2    = "ec2.amazonaws.com"
	ServiceECS    = "ecs-tasks.amazonaws.com"
	ServiceLambda = "lambda.amazonaws.com"
	ServicePods   = "pods.eks.amazonaws.com"
)

// EC2 is how trust policies of the world's partition name EC2 (kubernetes/kops#27: China
// takes no other).
func (w *World) EC2() string {
	if w.Partition == "aws-cn" {
		return ServiceEC2 + ".cn"
	}
	return ServiceEC2
}

// cluster is the one of ECS and EKS in which tasks and pods run.
const cluster = "demo"

// renewBefore is when new credentials are there before the old ones end, or when two
// thirds of a shorter life are over. AWS promises 5 minutes for instances; the AWS CLI
// looks for them from 15 minutes on.
const renewBefore = 20 * time.Minute

var kubernetesName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

// savedWorkload is a Workload with its token in the open.
type savedWorkload struct {
	Workload
	Token string
}

func packWorkload(l Workload) any { return savedWorkload{l, string(l.Token)} }

func unpackWorkload(record []byte) (Workload, error) {
	saved, err := fromJSON[savedWorkload](record)
	saved.Workload.Token = Secret(saved.Token)
	return saved.Workload, err
}

// key is what there is one of at a time.
func (l Workload) key() string { return string(l.Kind) + "/" + l.Namespace + "/" + l.Name }

func (l *Workload) check() error {
	l.Name, l.Namespace, l.ServiceAccount = cmp.Or(l.Name, "demo"), cmp.Or(l.Namespace, "default"), cmp.Or(l.ServiceAccount, "demo")
	switch l.Kind {
	case EC2, ECS, Lambda, IRSA, PodIdentity, SSO:
	default:
		return errorf("InvalidParameterValue", "there is no kind of workload %.32q", l.Kind)
	}
	if !sessionName.MatchString(l.Name) || !kubernetesName.MatchString(l.Namespace) || !kubernetesName.MatchString(l.ServiceAccount) {
		return errorf("InvalidParameterValue", "the name of a workload is 2 to 64 letters, digits and _+=,.@-, namespace and service account are names of Kubernetes")
	}
	return nil
}

// PutWorkload makes a workload, or changes the one of its kind, namespace and name.
func (w *World) PutWorkload(l Workload) (Workload, error) {
	if err := l.check(); err != nil {
		return l, err
	}
	l.ID = uuid()
	err := w.change(func() error {
		if _, ok := w.roles.get(named(w.Account, l.Role)); !ok {
			return noRole(l.Role)
		}
		old, ok := w.workloads.get(l.key())
		if ok {
			l.ID, l.Instance = old.ID, cmp.Or(l.Instance, old.Instance)
		}
		if l.ServiceAccount != old.ServiceAccount {
			delete(w.holding, l.ID) // a session with other tags
		}
		l.Token = cmp.Or(l.Token, old.Token, Secret(random32(30)))
		w.workloads.put(l.key(), l)
		return nil
	})
	return l, err
}

// uuid is a random UUID.
func uuid() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// WorkloadWith finds the workload of a kind that has a token.
func (w *World) WorkloadWith(kind WorkloadKind, token string) (found Workload, ok bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	for _, l := range w.workloads.rows {
		if l.Kind == kind && subtle.ConstantTimeCompare([]byte(l.Token), []byte(token)) == 1 {
			found, ok = l, true
		}
	}
	return found, ok
}

// WorkloadSession gives a workload credentials of its role.
func (w *World) WorkloadSession(l Workload) (Key, error) {
	g := grant{holder: l.ID, role: l.Role, session: l.Name}
	switch l.Kind {
	case ECS:
		g.service = ServiceECS
		g.source = w.arn("ecs", w.Region, w.Account, "task/"+cluster+"/"+l.Name)
	case Lambda:
		g.service = ServiceLambda
	case PodIdentity:
		g.service = ServicePods
		g.source = w.arn("eks", w.Region, w.Account, "cluster/"+cluster)
		g.session = "eks-" + cluster + "-" + l.Name[:min(len(l.Name), 18)] + "-" + l.ID
		// EKS User Guide, "Grant Pods access to AWS resources based on tags".
		g.tags = map[string]string{"eks-cluster-arn": g.source, "eks-cluster-name": cluster, "kubernetes-namespace": l.Namespace,
			"kubernetes-service-account": l.ServiceAccount, "kubernetes-pod-name": l.Name, "kubernetes-pod-uid": l.ID}
	}
	return w.granted(g)
}

// InstanceSession gives an instance credentials of its role.
func (w *World) InstanceSession(instance string) (Key, error) {
	role, ok := w.InstanceRole(instance)
	if !ok {
		return Key{}, noRole(role)
	}
	k, err := w.granted(grant{holder: instance, service: w.EC2(), role: role, session: instance})
	if e := (*Error)(nil); errors.As(err, &e) && e.Code == "AccessDenied" {
		return k, &Error{"AssumeRoleUnauthorizedAccess", "EC2 cannot assume the role " + role + ".", e.Detail}
	}
	return k, err
}

// A grant is a session of a role that a service of AWS takes on behalf of another.
type grant struct {
	holder  string // by id
	service string // that the role must trust; empty where AWS makes the trust policy itself
	source  string // ARN of that for which the service asks, if it says
	role    string // by name
	session string
	tags    map[string]string // of the session
}

// granted gives the credentials of a grant: the same until it is time for others.
func (w *World) granted(g grant) (k Key, err error) {
	if k, ok := w.holds(g); ok {
		return k, nil
	}
	err = w.change(func() error {
		var ok bool
		if k, ok = w.held(g); ok {
			return nil
		}
		r, ok := w.roles.get(named(w.Account, g.role))
		if !ok {
			return noRole(g.role)
		}
		if err := w.trusts(r, g); err != nil {
			return err
		}
		k = Key{Principal: sessionOf(r.Role, g.session), Context: policy.Context{}}
		for name, value := range g.tags {
			k.Context.Set("aws:PrincipalTag/"+name, value)
		}
		k = w.addSession(k, min(time.Hour, r.MaxSession))
		w.holding[g.holder] = k.ID
		return nil
	})
	return k, err
}

// holds is held for those that only look.
func (w *World) holds(g grant) (Key, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.held(g)
}

// held is the session that a holder has got before, unless it is time for another.
func (w *World) held(g grant) (Key, bool) {
	k, ok := w.keys.get(w.holding[g.holder])
	life := k.Expires.Sub(k.Created)
	return k, ok && k.Principal == sessionOf(w.roles.rows[named(w.Account, g.role)].Role, g.session) &&
		w.now().Before(k.Expires.Add(-min(renewBefore, life/3)))
}

// trusts is whether the role's trust policy lets the service take the session.
func (w *World) trusts(r role, g grant) error {
	if g.service == "" {
		return nil
	}
	context := policy.Context{}
	if g.source != "" { // IAM User Guide, "The confused deputy problem"
		context.Set("aws:SourceArn", g.source)
		context.Set("aws:SourceAccount", w.Account)
	}
	actions := []string{"sts:AssumeRole"}
	if len(g.tags) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	var keys []string
	for k, v := range g.tags {
		context.Set("aws:RequestTag/"+k, v)
		keys = append(keys, k)
	}
	context.Set("aws:TagKeys", keys...)
	for _, action := range actions {
		decision := r.trust.DecideTrust(policy.Request{Principal: g.service, Action: action, Resource: w.roleARN(r.Account, r.Path, r.Name), Context: context})
		if decision.Effect != policy.Allow {
			e := errorf("AccessDenied", "%s is not authorized to perform %s on the role %s.", g.service, action, r.Name)
			e.Detail = decision.Reason()
			return e
		}
	}
	return nil
}
