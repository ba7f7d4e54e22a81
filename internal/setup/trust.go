package setup

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// A trust is who may use the role.
type trust struct {
	kind               string // ec2, lambda, ecs, irsa, pod-identity or arn
	of                 string // issuer without https://, EKS cluster or ARN
	namespace, account string // of Kubernetes
}

// services are the principals of those that hand roles to what they run (IAM user
// guide, "AWS service principals"; EKS user guide, "Create IAM role with trust policy
// required by EKS Pod Identity").
var services = map[string]string{"ec2": "ec2.amazonaws.com", "lambda": "lambda.amazonaws.com", "ecs": "ecs-tasks.amazonaws.com", "pod-identity": "pods.eks.amazonaws.com"}

var (
	principal = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:(root|(role|user)/[\w+=,.@/-]+)$`)
	// Names of Kubernetes, which are labels of DNS, and of EKS clusters.
	label = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
)

func parseTrust(text string) (*trust, error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch {
	case text == "":
		return nil, nil
	case kind == "arn" && principal.MatchString(text):
		return &trust{kind: "arn", of: text}, nil
	case kind == "arn":
		return nil, fmt.Errorf("the trust must be for the ARN of a role, a user or an account, such as arn:aws:iam::123456789012:role/NAME")
	case kind == "irsa" || kind == "pod-identity":
		t := &trust{kind: kind, of: strings.TrimPrefix(rest, "https://")}
		for _, into := range []*string{&t.account, &t.namespace} {
			i := strings.LastIndexByte(t.of, ':')
			*into, t.of = t.of[i+1:], t.of[:max(i, 0)]
		}
		if !label.MatchString(t.account) || !label.MatchString(t.namespace) || t.of == "" || kind == "pod-identity" && !label.MatchString(t.of) {
			return nil, fmt.Errorf("the trust must be irsa:ISSUER:NAMESPACE:SERVICEACCOUNT or pod-identity:CLUSTER:NAMESPACE:SERVICEACCOUNT")
		}
		return t, nil
	case services[kind] != "" && rest == "":
		return &trust{kind: kind}, nil
	}
	return nil, fmt.Errorf("the trust must be ec2, lambda, ecs, irsa:ISSUER:NAMESPACE:SERVICEACCOUNT, pod-identity:CLUSTER:NAMESPACE:SERVICEACCOUNT or the ARN of a role, user or account")
}

// policyStatement is one of a trust policy.
type policyStatement struct {
	Effect    string
	Principal map[string]string
	Action    []string
	Condition map[string]map[string]string `json:",omitempty"`
}

// document is the trust policy. In China, EC2 goes by another name (kubernetes/kops#27:
// "Invalid principal in policy" for the other).
func (t *trust) document(partition, account string) string {
	s := policyStatement{Effect: "Allow", Action: []string{"sts:AssumeRole"}, Principal: map[string]string{"Service": services[t.kind]}}
	switch t.kind {
	case "ec2":
		if partition == "aws-cn" {
			s.Principal["Service"] += ".cn"
		}
	case "irsa":
		s.Action = []string{"sts:AssumeRoleWithWebIdentity"}
		s.Principal = map[string]string{"Federated": "arn:" + partition + ":iam::" + account + ":oidc-provider/" + t.of}
		s.Condition = map[string]map[string]string{"StringEquals": {
			t.of + ":aud": "sts.amazonaws.com",
			t.of + ":sub": "system:serviceaccount:" + t.namespace + ":" + t.account}}
	case "pod-identity":
		s.Action = append(s.Action, "sts:TagSession")
		s.Condition = map[string]map[string]string{"StringEquals": {
			"aws:RequestTag/eks-cluster-name":           t.of,
			"aws:RequestTag/kubernetes-namespace":       t.namespace,
			"aws:RequestTag/kubernetes-service-account": t.account}}
	case "arn":
		s.Principal = map[string]string{"AWS": t.of}
	}
	return compact(map[string]any{"Version": "2012-10-17", "Statement": []policyStatement{s}})
}

// describe is the trust in a few words.
func (t *trust) describe() string {
	switch t.kind {
	case "irsa", "pod-identity":
		return fmt.Sprintf("service account %s:%s of %s (%s)", t.namespace, t.account, t.of, t.kind)
	case "arn":
		return t.of
	}
	return services[t.kind]
}

func compact(v any) string {
	text, _ := json.Marshal(v) // of strings, lists and maps
	return string(text)
}

// sameDocument is whether two policies say the same: the order of members does not
// count, nor whether a single value is in a list.
func sameDocument(a, b string) bool { return a == b || canonical(a) == canonical(b) }

func canonical(document string) string {
	var v any
	if json.Unmarshal([]byte(document), &v) != nil {
		return document
	}
	return compact(unlisted(v))
}

func unlisted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Collect(maps.Keys(v)) {
			v[key] = unlisted(v[key])
		}
	case []any:
		for i := range v {
			v[i] = unlisted(v[i])
		}
		if len(v) == 1 {
			return v[0]
		}
		slices.SortFunc(v, func(a, b any) int { return strings.Compare(compact(a), compact(b)) })
	}
	return v
}
