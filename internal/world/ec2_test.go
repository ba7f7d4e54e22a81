package world_test

import (
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/world"
)

const trustsEC2 = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}`

// withProfile is a world with a role app that EC2 may assume, in a profile web.
func withProfile(t *testing.T) *world.World {
	t.Helper()
	w := world.New("", "")
	must(t, w.PutRole(world.Role{Name: "app", Trust: trustsEC2}))
	_, err := w.CreateInstanceProfile(world.InstanceProfile{Name: "web"})
	must(t, err, w.AddRoleToInstanceProfile("web", "app"))
	return w
}

func run(t *testing.T, w *world.World, r world.RunInstances) []world.Instance {
	t.Helper()
	r.Image, r.Count = "ami-1", max(r.Count, 1)
	launched, err := w.RunInstances(r)
	must(t, err)
	return launched
}

func refusal(t *testing.T, what string, err error, code, message string) {
	t.Helper()
	var e *world.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, message) {
		t.Errorf("%s: %v, want %s: …%s…", what, err, code, message)
	}
}

func TestInstancesHaveAddressesOfTheirOwn(t *testing.T) {
	w := world.New("eu-west-1", "")
	first := run(t, w, world.RunInstances{Count: 2})
	if first[0].Address != "172.31.0.4" || first[1].Address != "172.31.0.5" || first[0].Reservation != first[1].Reservation || first[0].ID == first[1].ID || first[1].Index != 1 {
		t.Errorf("launched %+v", first)
	}
	if name := w.PrivateName(first[0]); name != "ip-172-31-0-4.eu-west-1.compute.internal" {
		t.Error(name)
	}
	_, err := w.SetInstanceState([]string{first[0].ID}, world.Terminated)
	must(t, err)
	if again := run(t, w, world.RunInstances{}); again[0].Address != "172.31.0.4" {
		t.Errorf("the address of a terminated instance is not given again: %s", again[0].Address)
	}
	_, err = w.RunInstances(world.RunInstances{InstanceSpec: world.InstanceSpec{Image: "ami-1"}, Count: world.MaxInstances - 1})
	refusal(t, "too many", err, "InstanceLimitExceeded", "")
	if n := len(w.Instances()); n != 3 {
		t.Errorf("%d instances after a launch that failed", n)
	}
}

func TestATerminatedInstanceIsShownForAnHour(t *testing.T) {
	w := withProfile(t)
	i := run(t, w, world.RunInstances{Profile: "web"})[0]
	for range 2 { // it may be terminated again
		_, err := w.SetInstanceState([]string{i.ID}, world.Terminated)
		must(t, err)
	}
	_, err := w.SetInstanceState([]string{i.ID}, world.Running)
	refusal(t, "start", err, "IncorrectInstanceState", "not in a state from which it can be started")
	_, err = w.Associate(i.ID, "web")
	refusal(t, "associate", err, "IncorrectInstanceState", i.ID)
	if _, err := w.InstanceSession(i.ID); err == nil {
		t.Error("it has credentials")
	}
	w.Advance(59 * time.Minute)
	if got, ok := w.Instance(i.ID); !ok || got.State != world.Terminated {
		t.Errorf("after 59 minutes: %+v, %t", got, ok)
	}
	w.Advance(time.Minute)
	_, err = w.FindInstances([]string{i.ID})
	refusal(t, "after an hour", err, "InvalidInstanceID.NotFound", "The instance ID '"+i.ID+"' does not exist")
	_, err = w.FindInstances([]string{i.ID, "i-0123456789abcdef0"})
	refusal(t, "several", err, "InvalidInstanceID.NotFound", "The instance IDs '"+i.ID+", i-0123456789abcdef0' do not exist")
}

func TestALaunchWithAClientTokenHappensOnce(t *testing.T) {
	w := withProfile(t)
	first := run(t, w, world.RunInstances{Token: "one", Count: 2})
	again := run(t, w, world.RunInstances{Token: "one", Count: 2})
	if len(again) != 2 || again[0].Reservation != first[0].Reservation || len(w.Instances()) != 2 {
		t.Errorf("the same request has launched %+v, before %+v", again, first)
	}
	_, err := w.RunInstances(world.RunInstances{InstanceSpec: world.InstanceSpec{Image: "ami-1"}, Token: "one", Count: 1})
	refusal(t, "another request", err, "IdempotentParameterMismatch", "inconsistent")
	run(t, w, world.RunInstances{Token: "two", Count: 1})
	run(t, w, world.RunInstances{Count: 1})
	run(t, w, world.RunInstances{Count: 1})
	if n := len(w.Instances()); n != 5 {
		t.Errorf("%d instances, want 5", n)
	}
}

func TestWhatIsNotThereCannotBeLaunchedWith(t *testing.T) {
	w := withProfile(t)
	_, err := w.CreateInstanceProfile(world.InstanceProfile{Name: "empty"})
	must(t, err)
	good := world.InstanceSpec{Image: "ami-1"}
	with := func(change func(*world.InstanceSpec)) world.RunInstances {
		r := world.RunInstances{InstanceSpec: good, Count: 1}
		change(&r.InstanceSpec)
		return r
	}
	for want, r := range map[string]world.RunInstances{
		"InvalidParameterValue: Value (none) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name":    {InstanceSpec: good, Count: 1, Profile: "none"},
		`InvalidParameterValue: IAM Instance Profile "arn:aws:iam::123456789012:instance-profile/empty" has no associated IAM Roles`: {InstanceSpec: good, Count: 1, Profile: "empty"},
		"InvalidSubnetID.NotFound: The subnet ID 'subnet-1' does not exist":                                                          {InstanceSpec: good, Count: 1, Subnet: "subnet-1"},
		"InvalidGroup.NotFound: The security group 'sg-1' does not exist":                                                            {InstanceSpec: good, Count: 1, Groups: []string{"sg-1"}},
		"InvalidParameterValue: MaxCount must be at least 1":                                                                         {InstanceSpec: good},
		"MissingParameter: The request must contain the parameter ImageId":                                                           {Count: 1},
		`InvalidAMIID.Malformed: Invalid id: "image"`:                                                                                with(func(s *world.InstanceSpec) { s.Image = "image" }),
		"InvalidParameterValue: Invalid value 'large' for InstanceType.":                                                             with(func(s *world.InstanceSpec) { s.Type = "large" }),
		"InvalidParameterValue: Invalid value 'never' for HttpTokens.":                                                               with(func(s *world.InstanceSpec) { s.Metadata.Tokens = "never" }),
		"InvalidParameterValue: Invalid value 'on' for HttpEndpoint.":                                                                with(func(s *world.InstanceSpec) { s.Metadata.Endpoint = "on" }),
		"InvalidParameterValue: Invalid value 'on' for InstanceMetadataTags.":                                                        with(func(s *world.InstanceSpec) { s.Metadata.Tags = "on" }),
		"InvalidParameterValue: HttpPutResponseHopLimit must be from 1 to 64":                                                        with(func(s *world.InstanceSpec) { s.Metadata.Hops = 65 }),
		"InvalidParameterValue: User data is limited to 16384 bytes":                                                                 with(func(s *world.InstanceSpec) { s.UserData = strings.Repeat("a", 1<<15) }),
		"InvalidParameterValue: Tag keys starting with 'aws:' are reserved for internal use":                                         with(func(s *world.InstanceSpec) { s.Tags = map[string]string{"aws:x": ""} }),
		"InvalidParameterValue: A tag key has 1 to 128 characters, a value at most 256":                                              with(func(s *world.InstanceSpec) { s.Tags = map[string]string{"": "x"} }),
	} {
		if _, err := w.RunInstances(r); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if n := len(w.Instances()); n != 0 {
		t.Errorf("%d instances", n)
	}
}

func TestAnAssociationIsReplacedWhileTheInstanceRuns(t *testing.T) {
	w := withProfile(t)
	_, err := w.CreateInstanceProfile(world.InstanceProfile{Name: "other"})
	must(t, err, w.AddRoleToInstanceProfile("other", "app"))
	i := run(t, w, world.RunInstances{})[0]
	if _, ok := w.InstanceRole(i.ID); ok {
		t.Error("an instance without a profile has a role")
	}
	first, err := w.Associate(i.ID, "web")
	must(t, err)
	_, err = w.Associate(i.ID, "other")
	refusal(t, "a second profile", err, "IncorrectState", "There is an existing association for instance "+i.ID)
	_, second, err := w.Reassociate(first.ID, "other")
	must(t, err)
	if got, _ := w.Instance(i.ID); got.Association != second || second.ID == first.ID || second.Profile != "other" {
		t.Errorf("association %+v, want %+v", got.Association, second)
	}
	_, _, err = w.Reassociate(first.ID, "web")
	refusal(t, "an association that is over", err, "InvalidAssociationID.NotFound", "An invalid association-id of '"+first.ID+"' was given")
	_, _, err = w.Reassociate("", "")
	refusal(t, "no association", err, "InvalidAssociationID.NotFound", "")
	_, err = w.SetInstanceState([]string{i.ID}, world.Stopped)
	must(t, err)
	_, _, err = w.Reassociate(second.ID, "web")
	refusal(t, "a stopped instance", err, "IncorrectState", "is not the active association")
	_, over, err := w.Reassociate(second.ID, "")
	must(t, err)
	if got, _ := w.Instance(i.ID); got.Association.ID != "" || over != second {
		t.Errorf("association %+v after its end, which gave %+v", got.Association, over)
	}
}

func TestAnInstanceHasTheRoleThatItsProfileHasNow(t *testing.T) {
	w := withProfile(t)
	i := run(t, w, world.RunInstances{Profile: "web"})[0]
	k, err := w.InstanceSession(i.ID)
	must(t, err)
	if arn := w.PrincipalARN(k.Principal); arn != "arn:aws:sts::123456789012:assumed-role/app/"+i.ID {
		t.Error(arn)
	}
	must(t, w.PutRole(world.Role{Name: "untrusting"}), w.RemoveRoleFromInstanceProfile("web", "app"))
	if role, ok := w.InstanceRole(i.ID); ok {
		t.Errorf("role %s of a profile without one", role)
	}
	must(t, w.AddRoleToInstanceProfile("web", "untrusting"))
	_, err = w.InstanceSession(i.ID)
	refusal(t, "a role that does not trust EC2", err, "AssumeRoleUnauthorizedAccess", "EC2 cannot assume the role untrusting.")
	must(t, w.RemoveRoleFromInstanceProfile("web", "untrusting"), w.DeleteInstanceProfile("web"))
	_, err = w.CreateInstanceProfile(world.InstanceProfile{Name: "web"})
	must(t, err, w.AddRoleToInstanceProfile("web", "app"))
	if role, ok := w.InstanceRole(i.ID); ok {
		t.Errorf("role %s of another profile under the name of the first", role)
	}
}

func TestTagsOfInstances(t *testing.T) {
	w := world.New("", "")
	i := run(t, w, world.RunInstances{InstanceSpec: world.InstanceSpec{Tags: map[string]string{"Name": "a"}}})[0]
	must(t, w.TagInstances([]string{i.ID}, map[string]string{"name": "b"}, nil)) // keys differ by case
	if got, _ := w.Instance(i.ID); !reflect.DeepEqual(got.Tags, map[string]string{"Name": "a", "name": "b"}) {
		t.Errorf("tags %v", got.Tags)
	}
	refusal(t, "reserved", w.TagInstances([]string{i.ID}, map[string]string{"AWS:x": ""}, nil), "InvalidParameterValue", "reserved")
	refusal(t, "one of two is missing", w.TagInstances([]string{i.ID, "i-0123456789abcdef0"}, map[string]string{"x": ""}, nil), "InvalidInstanceID.NotFound", "i-0123456789abcdef0")
	must(t, w.TagInstances([]string{i.ID}, nil, func(key, _ string) bool { return key == "Name" }))
	if got, _ := w.Instance(i.ID); !reflect.DeepEqual(got.Tags, map[string]string{"name": "b"}) {
		t.Errorf("tags %v", got.Tags)
	}
}

func TestInstancesAreSaved(t *testing.T) {
	w := withProfile(t)
	records := saved(w)
	run(t, w, world.RunInstances{Profile: "web", Count: 2, Token: "one", InstanceSpec: world.InstanceSpec{UserData: "eA==", Tags: map[string]string{"a": "b"}}})
	again := world.New("", "")
	must(t, again.Load(maps.Clone(records)))
	if got, want := again.Instances(), w.Instances(); len(got) != 2 || !reflect.DeepEqual(got, want) {
		t.Errorf("instances %+v, want %+v", got, want)
	}
	heard := 0
	w.OnChange(func() error { heard++; return nil })
	_, err := w.SetInstanceState([]string{w.Instances()[0].ID}, world.Stopped)
	must(t, err)
	if heard != 1 {
		t.Errorf("heard of %d changes", heard)
	}
}
