package awsapi_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/awsapi"
	"github.com/rediam/rediam/internal/federation"
	"github.com/rediam/rediam/internal/world"
)

// FuzzHandler sends what a holder of a good key could sign, and without a service what
// anybody could send. Whatever it is, the answer is well formed and within bounds, the
// signature is never at fault, and without one there is an answer for the subject of the
// issuer's token alone.
func FuzzHandler(f *testing.F) {
	everything := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	f.Add("sts", whoAmI, "", "")
	f.Add("sts", "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/app&RoleSessionName=ab&DurationSeconds=900&PolicyArns.member.1.arn=x", "", "")
	f.Add("sts", "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/app&RoleSessionName=ab&Policy={}", "", "")
	f.Add("iam", "Action=CreateRole&RoleName=web&AssumeRolePolicyDocument="+`{"Statement":{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole"}}`+"&Tags.member.1.Key=a&Tags.member.1.Value=b", "", "")
	f.Add("iam", "Action=CreatePolicy&PolicyName=p&PolicyDocument="+everything+"&Path=/x/", "", "")
	f.Add("iam", "Action=AttachRolePolicy&RoleName=web&PolicyArn=arn:aws:iam::123456789012:policy/x/p", "", "")
	f.Add("iam", "Action=ListEntitiesForPolicy&PolicyArn=arn:aws:iam::123456789012:policy/x/p&MaxItems=1&Marker=MA", "", "")
	f.Add("iam", "Action=SimulateCustomPolicy&ActionNames.member.1=a:b&PolicyInputList.member.1="+everything+"&ContextEntries.member.1.ContextKeyName=a:b", "", "")
	f.Add("iam", "Action=UpdateUser&UserName=admin&NewUserName=admin&NewPath=/x/", "", "")
	f.Add("iam", "Action=CreateAccessKey", "", "")
	for _, body := range []string{
		"Action=CreateUser&UserId=a&UserName=a&Engine=redis&AccessString=on+~*&AuthenticationMode.Type=iam&Tags.Tag.1.Key=k&Tags.Tag.1.Value=v",
		"Action=CreateUserGroup&UserGroupId=g&Engine=redis&UserIds.member.1=default", "Action=ModifyUserGroup&UserGroupId=g&UserIdsToAdd.member.1=a",
		"Action=CreateCacheSubnetGroup&CacheSubnetGroupName=n&CacheSubnetGroupDescription=d&SubnetIds.SubnetIdentifier.1=subnet-1",
		"Action=CreateReplicationGroup&ReplicationGroupId=r&ReplicationGroupDescription=d&TransitEncryptionEnabled=true&UserGroupIds.member.1=g&CacheSubnetGroupName=n&NumNodeGroups=3",
		"Action=ModifyReplicationGroup&ReplicationGroupId=r&AuthToken=sixteen-letters!&AuthTokenUpdateStrategy=ROTATE&RemoveUserGroups=true",
		"Action=CreateCacheCluster&CacheClusterId=c&Engine=redis&NumCacheNodes=1", "Action=DescribeCacheClusters&ShowCacheNodeInfo=true&MaxRecords=20&Marker=c",
		"Action=CreateServerlessCache&ServerlessCacheName=s&Engine=valkey&MajorEngineVersion=8", "Action=DescribeUsers&Filters.member.1.Name=UserId&Filters.member.1.Values.member.1=a",
		"Action=AddTagsToResource&ResourceName=arn:aws:elasticache:us-east-1:123456789012:user:a&Tags.Tag.1.Key=k",
	} {
		f.Add("elasticache", body, "", "")
	}
	f.Add("ec2", "Action=<&>\x00\xff", "", "a=b&c")
	f.Add("ec2", "Action=RunInstances&MinCount=1&MaxCount=2&ImageId=ami-1&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=a", "", "")
	f.Add("ec2", "Action=DescribeInstances&Filter.1.Name=tag:a&Filter.1.Value.1=[*\\", "", "")
	f.Add("memorydb", `{"UserName":"a","AuthenticationMode":{"Type":"iam"},"AccessString":"on ~* +@all","Tags":[{"Key":"k"}]}`, "AmazonMemoryDB.CreateUser", "")
	f.Add("memorydb", `{"ACLName":"a","UserNames":["a"]}`, "AmazonMemoryDB.CreateACL", "")
	f.Add("memorydb", `{"ClusterName":"m","NodeType":"n","ACLName":"a","NumShards":3}`, "AmazonMemoryDB.CreateCluster", "")
	f.Add("memorydb", `{"ShowShardDetails":true,"MaxResults":1,"NextToken":"m"}`, "AmazonMemoryDB.DescribeClusters", "")
	f.Add("memorydb", `{"ResourceArn":"arn:aws:memorydb:us-east-1:123456789012:user/a","TagKeys":[]}`, "AmazonMemoryDB.UntagResource", "")
	f.Add("ec2/", "Action=DescribeInstances", "", "")
	f.Add("memorydb,", "{}", "", "")
	f.Add("sts", "Action=Signature", "", "")
	f.Add("", "", ".", "%zz")
	w := world.New("", "")
	issuer, err := federation.NewIssuer()
	if err != nil {
		f.Fatal(err)
	}
	const iss = "https://issuer.example.com"
	token, err := issuer.Sign(map[string]any{"iss": iss, "sub": "me", "aud": "sts.amazonaws.com", "iat": 0, "exp": 99999999999})
	if err != nil {
		f.Fatal(err)
	}
	keys, err := issuer.Keys()
	if err != nil {
		f.Fatal(err)
	}
	provider := world.OIDCProvider{URL: iss, ClientIDs: []string{"sts.amazonaws.com"}}
	trust := `{"Statement":{"Effect":"Allow","Principal":{"Federated":"` + w.OIDCProviderARN(iss) + `"},"Action":"sts:AssumeRoleWithWebIdentity"}}`
	saml := base64.StdEncoding.EncodeToString([]byte(`<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"><Assertion xmlns="urn:oasis:names:tc:SAML:2.0:assertion"/></samlp:Response>`))
	pod := "RoleArn=arn:aws:iam::123456789012:role/pod"
	f.Add("", "Action=AssumeRoleWithWebIdentity&RoleSessionName=ab&"+pod+"&WebIdentityToken="+token, "", "")
	f.Add("", "Action=AssumeRoleWithWebIdentity&RoleSessionName=ab&"+pod+"&DurationSeconds=900&Policy={}&WebIdentityToken="+token+"A", "", "")
	f.Add("", "Action=AssumeRoleWithSAML&"+pod+"&PrincipalArn=arn:aws:iam::123456789012:saml-provider/idp&SAMLAssertion="+url.QueryEscape(saml), "", "")
	f.Add("", "Action=AssumeRole&RoleSessionName=ab&"+pod, "", "")
	f.Add("", whoAmI, "AmazonMemoryDB.DescribeUsers", "")
	if err := w.PutIAMUser(world.IAMUser{Name: "admin", Inline: map[string]string{"everything": everything}}); err != nil {
		f.Fatal(err)
	}
	if err := errors.Join(w.PutRole(world.Role{Name: "app"}), w.PutIssuer(iss, keys), w.PutOIDCProvider(provider), w.PutRole(world.Role{Name: "pod", Trust: trust})); err != nil {
		f.Fatal(err)
	}
	key, err := w.CreateAccessKey("admin")
	if err != nil {
		f.Fatal(err)
	}
	handler := &awsapi.Handler{World: w, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	f.Fuzz(func(t *testing.T, service, body, target, query string) {
		r := request(t, "POST", "http://127.0.0.1/", body, target)
		r.URL.RawQuery = query
		if service != "" {
			sign(t, r, body, key, service, w.Now())
		}
		r.Header.Set("Content-Length", strconv.Itoa(len(body))) // signed, and a server finds it there
		r.RequestURI = r.URL.RequestURI()
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, r)
		answer := recorder.Body.String()
		switch recorder.Code {
		case 200, 400, 403, 404, 409, 412, 413:
		case 401: // of EC2, for a signature: that of a service such as ec2/ does not read so
			if service == "ec2" || !strings.Contains(answer, "AuthFailure") {
				t.Errorf("service %q: %s", service, answer)
			}
		default:
			t.Errorf("status %d: %s", recorder.Code, answer)
		}
		var document any = &struct{ XMLName xml.Name }{}
		err := xml.Unmarshal([]byte(answer), document)
		inJSON := recorder.Header().Get("Content-Type") == "application/x-amz-json-1.1"
		if inJSON {
			err = json.Unmarshal([]byte(answer), &document)
		}
		if (target != "" || service == "memorydb") && !inJSON || err != nil || len(answer) > 1<<20 || strings.Contains(answer, string(key.Secret)) {
			t.Errorf("%v in %s", err, answer)
		}
		if service == "" && recorder.Code == 200 && !strings.Contains(answer, "<SubjectFromWebIdentityToken>me</SubjectFromWebIdentityToken>") {
			t.Errorf("%q gets %s", body, answer)
		}
		if service == "sts" && target == "" && query == "" && (strings.Contains(answer, "Signature</Code>") || strings.Contains(answer, "SignatureDoesNotMatch</Code>")) {
			t.Errorf("service %q, body %q: %s", service, body, answer)
		}
	})
}
