package world

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of EC2.
const (
	// MaxInstances stands in for the quotas of an account; each instance that runs
	// has a listener.
	MaxInstances = 100
	// keepTerminated is how long one that was terminated is still shown (EC2 User
	// Guide, "Terminate Amazon EC2 instances").
	keepTerminated = time.Hour
	maxEC2Tags     = 50
	maxHops        = 64
	maxUserData    = 16 << 10
)

// An Instance is the record of an EC2 instance: nothing runs.
type Instance struct {
	ID           string
	Reservation  string
	Index        int // among those of the reservation
	State        InstanceState
	Launched     time.Time
	Terminated   time.Time // zero until it is
	Address      string    // private IPv4 address
	Subnet       string
	Groups       []string
	ClientToken  string
	Request      string // what the client token was given with, hashed
	InstanceSpec        // what it was asked to be
	Association  Association
}

// InstanceState is EC2's name of a state that lasts. Those on the way there
// (pending, stopping, shutting-down) are over at once.
type InstanceState string

const (
	Running    InstanceState = "running"
	Stopped    InstanceState = "stopped"
	Terminated InstanceState = "terminated"
)

// An InstanceSpec is what instances that are launched together have in common.
type InstanceSpec struct {
	Image    string // ami-…
	Type     string // zero means m1.small
	KeyName  string // not looked up: there are no key pairs
	UserData string // in base64
	Metadata MetadataOptions
	Tags     map[string]string
}

// MetadataOptions say how an instance's metadata is reached.
type MetadataOptions struct {
	Tokens   string // required (also when empty), or optional, which allows IMDSv1
	Endpoint string // enabled (also when empty) or disabled
	Tags     string // enabled, or disabled (also when empty)
	Hops     int    // zero means 2
}

// An Association hands an instance profile to an instance.
type Association struct {
	ID        string // iip-assoc-…; empty if the instance has none
	Profile   string // name of the instance profile
	ProfileID string
	ARN       string
	Since     time.Time
}

// RunInstances is a request for instances.
type RunInstances struct {
	InstanceSpec
	Count   int
	Profile string   // name of the instance profile; zero means none
	Subnet  string   // zero means the default one
	Groups  []string // security groups; none means the default one
	Token   string   // the same request with it again launches nothing; zero means none
}

// A Network is the default VPC with its one subnet and security group. Their ids are
// made of the account and the region, and so the same each time.
type Network struct{ VPC, Subnet, Group, Zone string }

// Addresses of the default VPC (VPC User Guide, "Default VPC components").
const (
	VPCAddresses    = "172.31.0.0/16"
	SubnetAddresses = "172.31.0.0/20"
	firstAddress    = "172.31.0.4" // AWS keeps those below
)

// Network is where all instances are.
func (w *World) Network() Network {
	id := func(prefix string) string {
		sum := sha256.Sum256([]byte(prefix + w.Account + w.Region))
		return prefix + hex.EncodeToString(sum[:])[:17]
	}
	return Network{id("vpc-"), id("subnet-"), id("sg-"), w.Region + "a"}
}

// PrivateName is the host name of an instance within the VPC (VPC User Guide, "DNS
// attributes for your VPC").
func (w *World) PrivateName(i Instance) string {
	domain := w.Region + ".compute.internal"
	if w.Region == DefaultRegion {
		domain = "ec2.internal"
	}
	return "ip-" + strings.ReplaceAll(i.Address, ".", "-") + "." + domain
}

// EC2ARN is the ARN of a resource of EC2, such as instance/i-….
func (w *World) EC2ARN(resource string) string { return w.arn("ec2", w.Region, w.Account, resource) }

var (
	imageID      = regexp.MustCompile(`^ami-[0-9a-z]{1,17}$`)
	imageAlias   = regexp.MustCompile(`^resolve:ssm:[\w/.:-]{1,512}$`)
	instanceType = regexp.MustCompile(`^[a-z0-9-]{1,32}\.[a-z0-9-]{1,32}$`)
	instanceID   = regexp.MustCompile(`^i-[0-9a-f]{8,17}$`)
)

// check fills in what was left out.
func (s *InstanceSpec) check() error {
	if imageAlias.MatchString(s.Image) { // a parameter of Systems Manager that holds an image id
		sum := sha256.Sum256([]byte(s.Image))
		s.Image = "ami-" + hex.EncodeToString(sum[:])[:17]
	}
	if s.Type == "" {
		s.Type = "m1.small"
	}
	m := &s.Metadata
	m.Tokens, m.Endpoint, m.Tags = orElse(m.Tokens, "required"), orElse(m.Endpoint, "enabled"), orElse(m.Tags, "disabled")
	if m.Hops == 0 {
		m.Hops = 2
	}
	switch {
	case s.Image == "":
		return errorf("MissingParameter", "The request must contain the parameter ImageId")
	case !imageID.MatchString(s.Image):
		return errorf("InvalidAMIID.Malformed", `Invalid id: "%.64s"`, s.Image)
	case !instanceType.MatchString(s.Type):
		return errorf("InvalidParameterValue", "Invalid value '%.64s' for InstanceType.", s.Type)
	case m.Tokens != "required" && m.Tokens != "optional":
		return errorf("InvalidParameterValue", "Invalid value '%.64s' for HttpTokens.", m.Tokens)
	case m.Endpoint != "enabled" && m.Endpoint != "disabled":
		return errorf("InvalidParameterValue", "Invalid value '%.64s' for HttpEndpoint.", m.Endpoint)
	case m.Tags != "enabled" && m.Tags != "disabled":
		return errorf("InvalidParameterValue", "Invalid value '%.64s' for InstanceMetadataTags.", m.Tags)
	case m.Hops < 1 || m.Hops > maxHops:
		return errorf("InvalidParameterValue", "HttpPutResponseHopLimit must be from 1 to %d", maxHops)
	case len(s.UserData) > maxUserData*4/3+4:
		return errorf("InvalidParameterValue", "User data is limited to 16384 bytes")
	}
	return checkEC2Tags(s.Tags)
}

func orElse(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}

func checkEC2Tags(tags map[string]string) error {
	if len(tags) > maxEC2Tags {
		return errorf("TagLimitExceeded", "The maximum number of tags for a resource is %d", maxEC2Tags)
	}
	for k, v := range tags {
		switch {
		case k == "" || utf8.RuneCountInString(k) > maxTagKey || utf8.RuneCountInString(v) > maxTagValue:
			return errorf("InvalidParameterValue", "A tag key has 1 to %d characters, a value at most %d", maxTagKey, maxTagValue)
		case strings.HasPrefix(strings.ToLower(k), "aws:"):
			return errorf("InvalidParameterValue", "Tag keys starting with 'aws:' are reserved for internal use")
		}
	}
	return nil
}

// RunInstances launches instances, or gives those that the same request has launched
// before with its client token.
func (w *World) RunInstances(r RunInstances) (launched []Instance, err error) {
	asked, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(asked)
	here := w.Network()
	r.Subnet = orElse(r.Subnet, here.Subnet)
	if len(r.Groups) == 0 {
		r.Groups = []string{here.Group}
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	switch {
	case r.Count < 1:
		return nil, errorf("InvalidParameterValue", "MaxCount must be at least 1")
	case r.Subnet != here.Subnet:
		return nil, errorf("InvalidSubnetID.NotFound", "The subnet ID '%.64s' does not exist", r.Subnet)
	}
	for _, g := range r.Groups {
		if g != here.Group {
			return nil, errorf("InvalidGroup.NotFound", "The security group '%.64s' does not exist", g)
		}
	}
	err = w.change(func() (err error) {
		launched, err = w.launch(r, hex.EncodeToString(digest[:]))
		return err
	})
	return launched, err
}

func (w *World) launch(r RunInstances, digest string) (launched []Instance, err error) {
	now := time.Now().Add(w.clock.rows[""]).UTC().Truncate(time.Second)
	var addresses []string
	for _, id := range w.instances.keys() {
		i := w.instances.rows[id]
		switch {
		case i.gone(now):
			w.instances.delete(id)
			continue
		case r.Token != "" && i.ClientToken == r.Token && i.Request != digest:
			return nil, errorf("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
		case r.Token != "" && i.ClientToken == r.Token:
			launched = append(launched, i.copy())
		}
		if i.State != Terminated {
			addresses = append(addresses, i.Address)
		}
	}
	if launched != nil {
		return launched, nil
	}
	if len(addresses)+r.Count > MaxInstances {
		return nil, errorf("InstanceLimitExceeded", "You have requested more instances (%d) than your current instance limit of %d allows for the specified instance type.", len(addresses)+r.Count, MaxInstances)
	}
	reservation, address := "r-"+randomHex(), netip.MustParseAddr(firstAddress)
	for index := range r.Count {
		i := Instance{ID: "i-" + randomHex(), Reservation: reservation, Index: index, State: Running, Launched: now,
			Subnet: r.Subnet, Groups: r.Groups, ClientToken: r.Token, Request: digest, InstanceSpec: r.InstanceSpec}
		for slices.Contains(addresses, address.String()) {
			address = address.Next()
		}
		i.Address = address.String()
		addresses = append(addresses, i.Address)
		if r.Profile != "" {
			if i.Association, err = w.associate(r.Profile, now); err != nil {
				return nil, err
			}
		}
		i = i.copy()
		w.instances.put(i.ID, i)
		launched = append(launched, i.copy())
	}
	return launched, nil
}

// associate makes an association with an instance profile.
func (w *World) associate(profile string, now time.Time) (Association, error) {
	p, ok := w.profiles.get(profile)
	switch {
	case !ok:
		return Association{}, NoInstanceProfile("name", profile)
	case p.Role == "":
		return Association{}, errorf("InvalidParameterValue", `IAM Instance Profile "%s" has no associated IAM Roles`, w.InstanceProfileARN(p))
	}
	return Association{"iip-assoc-" + randomHex(), p.Name, p.ID, w.InstanceProfileARN(p), now}, nil
}

// NoInstanceProfile is EC2's error for an instance profile that is not there, by its
// name or its arn.
func NoInstanceProfile(by, value string) error {
	return errorf("InvalidParameterValue", "Value (%.256s) for parameter iamInstanceProfile.%s is invalid. Invalid IAM Instance Profile %s", value, by, map[string]string{"name": "name", "arn": "ARN"}[by])
}

func randomHex() string {
	sum := sha256.Sum256([]byte(random32(20)))
	return hex.EncodeToString(sum[:])[:17]
}

func (i Instance) copy() Instance {
	i.Groups, i.Tags = slices.Clone(i.Groups), maps.Clone(i.Tags)
	return i
}

// gone is whether it is no longer shown.
func (i Instance) gone(now time.Time) bool {
	return i.State == Terminated && now.Sub(i.Terminated) >= keepTerminated
}

// Instances are all that are shown, by id.
func (w *World) Instances() []Instance {
	now := w.Now()
	w.mu.RLock()
	defer w.mu.RUnlock()
	var all []Instance
	for _, id := range w.instances.keys() {
		if i := w.instances.rows[id]; !i.gone(now) {
			all = append(all, i.copy())
		}
	}
	return all
}

// Instance finds one that is shown.
func (w *World) Instance(id string) (Instance, bool) {
	now := w.Now()
	w.mu.RLock()
	defer w.mu.RUnlock()
	i, ok := w.instances.get(id)
	return i.copy(), ok && !i.gone(now)
}

// FindInstances finds them all, or none with EC2's error.
func (w *World) FindInstances(ids []string) (found []Instance, err error) {
	var missing []string
	for _, id := range ids {
		i, ok := w.Instance(id)
		switch {
		case !instanceID.MatchString(id):
			return nil, errorf("InvalidInstanceID.Malformed", `Invalid id: "%.64s"`, id)
		case !ok:
			missing = append(missing, id)
		}
		found = append(found, i)
	}
	switch len(missing) {
	case 0:
		return found, nil
	case 1:
		return nil, errorf("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", missing[0])
	}
	return nil, errorf("InvalidInstanceID.NotFound", "The instance IDs '%s' do not exist", strings.Join(missing, ", "))
}

// SetInstanceState starts, stops or terminates instances, all or none, and gives them
// as they were.
func (w *World) SetInstanceState(ids []string, to InstanceState) (before []Instance, err error) {
	verb := map[InstanceState]string{Running: "started", Stopped: "stopped"}[to]
	now := w.stamp()
	err = w.changeInstances(ids, func(i *Instance) error {
		before = append(before, i.copy())
		switch {
		case i.State == Terminated && to != Terminated:
			return errorf("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be %s.", i.ID, verb)
		case i.State != to && to == Terminated:
			i.Terminated, i.Association = now, Association{}
		}
		i.State = to
		return nil
	})
	return before, err
}

// changeInstances changes each of them, or none.
func (w *World) changeInstances(ids []string, change func(*Instance) error) error {
	if _, err := w.FindInstances(ids); err != nil {
		return err
	}
	return w.change(func() error {
		for _, id := range ids {
			i, ok := w.instances.get(id)
			if !ok { // launch has taken it away meanwhile
				return errorf("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
			}
			i = i.copy()
			if err := change(&i); err != nil {
				return err
			}
			w.instances.put(id, i)
		}
		return nil
	})
}

// TagInstances adds tags to instances and takes those away for which without is true.
func (w *World) TagInstances(ids []string, tags map[string]string, without func(key, value string) bool) error {
	return w.changeInstances(ids, func(i *Instance) error {
		if i.Tags == nil {
			i.Tags = map[string]string{}
		}
		if without != nil {
			maps.DeleteFunc(i.Tags, without)
		}
		maps.Copy(i.Tags, tags)
		return checkEC2Tags(i.Tags)
	})
}

// Associate hands an instance profile to an instance that has none.
func (w *World) Associate(instance, profile string) (made Association, err error) {
	now := w.stamp()
	err = w.changeInstances([]string{instance}, func(i *Instance) (err error) {
		switch {
		case i.State == Terminated:
			return errorf("IncorrectInstanceState", "The instance '%s' is not in the 'running' or 'stopped' states.", i.ID)
		case i.Association.ID != "":
			return errorf("IncorrectState", "There is an existing association for instance %s", i.ID)
		}
		made, err = w.associate(profile, now)
		i.Association = made
		return err
	})
	return made, err
}

// InstanceOf finds the instance of an association.
func (w *World) InstanceOf(association string) (Instance, error) {
	for _, i := range w.Instances() {
		if i.Association.ID == association && association != "" {
			return i, nil
		}
	}
	return Instance{}, noAssociation(association)
}

func noAssociation(id string) error {
	return errorf("InvalidAssociationID.NotFound", "An invalid association-id of '%.64s' was given", id)
}

// Reassociate puts an instance profile in the place of that of an association of a
// running instance, which gets a new one. Without a profile it ends the association,
// whatever the instance does, and gives it as it was.
func (w *World) Reassociate(association, profile string) (instance Instance, a Association, err error) {
	if instance, err = w.InstanceOf(association); err != nil {
		return instance, a, err
	}
	now := w.stamp()
	err = w.changeInstances([]string{instance.ID}, func(i *Instance) (err error) {
		switch {
		case i.Association.ID != association:
			return noAssociation(association)
		case profile == "":
			a, i.Association = i.Association, Association{}
			return nil
		case i.State != Running:
			return errorf("IncorrectState", "The association %s is not the active association", association)
		}
		a, err = w.associate(profile, now)
		i.Association = a
		return err
	})
	return instance, a, err
}

// InstanceRole is the role that an instance has through its profile, as they are now,
// by name; ok is false if it has none. A profile that was made anew under the same
// name is another one.
func (w *World) InstanceRole(instance string) (role string, ok bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	a := w.instances.rows[instance].Association
	p, ok := w.profiles.get(a.Profile)
	return p.Role, ok && a.ID != "" && p.ID == a.ProfileID && p.Role != ""
}
