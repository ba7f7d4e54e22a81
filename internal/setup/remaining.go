package setup

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/rediam/rediam/internal/account"
)

// Remaining is what is left to whoever runs the workload, after Apply or Plan.
func (s *Setup) Remaining(ctx context.Context) []string {
	all := s.remainingOfTrust(ctx)
	if s.otherTrust {
		all = append(all, fmt.Sprintf("see that the trust policy of role %s, which setup has not made, lets %s use it", s.Spec.Role, s.trust.describe()))
	}
	if s.cache != nil && len(s.cache.securityGroups) > 0 {
		_, port, _ := net.SplitHostPort(s.cache.endpoint)
		all = append(all, fmt.Sprintf("let the workload's security group reach the cache: aws ec2 authorize-security-group-ingress --group-id %s --protocol tcp --port %s --source-group sg-OF-THE-WORKLOAD", s.cache.securityGroups[0], cmp.Or(port, "6379")))
	} else {
		all = append(all, "let the workload's security group reach the port of the cache, in the cache's security group")
	}
	return all
}

func (s *Setup) remainingOfTrust(ctx context.Context) []string {
	role := s.RoleARN()
	if s.trust == nil {
		return nil
	}
	switch t := s.trust; t.kind {
	case "ec2":
		return []string{"give the instance its profile: aws ec2 associate-iam-instance-profile --instance-id i-INSTANCE --iam-instance-profile Name=" + s.Spec.Role}
	case "lambda":
		return []string{"give the function its role: aws lambda update-function-configuration --function-name NAME --role " + role,
			"let the function into the VPC and its log: aws iam attach-role-policy --role-name " + s.Spec.Role + " --policy-arn arn:" + s.partition + ":iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole"}
	case "ecs":
		return []string{`give the task its role, in the task definition: "taskRoleArn": "` + role + `"`}
	case "irsa":
		all := []string{fmt.Sprintf("give the pods their role, and start them anew: kubectl annotate serviceaccount --namespace %s %s eks.amazonaws.com/role-arn=%s", t.namespace, t.account, role)}
		if _, err := s.Clients.IAM.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: aws.String(s.iamARN("oidc-provider", t.of))}); gone(err) {
			all = append(all, "IAM does not know the cluster's issuer: aws iam create-open-id-connect-provider --url https://"+t.of+" --client-id-list sts.amazonaws.com")
		}
		return all
	case "pod-identity":
		return []string{fmt.Sprintf("give the pods their role, and start them anew: aws eks create-pod-identity-association --cluster-name %s --namespace %s --service-account %s --role-arn %s", t.of, t.namespace, t.account, role)}
	}
	return []string{s.trust.of + " needs this statement in its own policies too, unless it has it: " + compact(account.Statement{Sid: "AssumeRole", Effect: "Allow", Action: "sts:AssumeRole", Resource: []string{role}})}
}

// Assumable is whether the role is for a role, user or account, which have to assume it.
func (s *Setup) Assumable() bool { return s.trust != nil && s.trust.kind == "arn" }

// Mine is whether the role trusts who runs this.
func (s *Setup) Mine() bool {
	if !s.Assumable() {
		return false
	}
	caller := s.caller
	if _, session, ok := strings.Cut(caller, ":assumed-role/"); ok {
		role, _, _ := strings.Cut(session, "/")
		caller = s.iamARN("role", role)
	}
	of := s.trust.of // a session tells no path of its role
	if before, name, ok := strings.Cut(of, ":role/"); ok {
		of = before + ":role/" + name[strings.LastIndexByte(name, '/')+1:]
	}
	return of == caller || of == "arn:"+s.partition+":iam::"+s.account+":root"
}
