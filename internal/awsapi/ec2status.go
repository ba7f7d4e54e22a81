package awsapi

import "github.com/rediam/rediam/internal/world"

type describeStatusRequest struct {
	dryRun              `aws:",inline"`
	ec2Span             `aws:",inline"`
	InstanceIds         []string    `aws:"InstanceId,flat"`
	Filters             []ec2Filter `aws:"Filter,flat"`
	IncludeAllInstances bool
}

type instanceStatus struct {
	InstanceID string        `aws:"instanceId"`
	Zone       string        `aws:"availabilityZone"`
	State      instanceState `aws:"instanceState"`
	Instance   statusChecks  `aws:"instanceStatus"`
	System     statusChecks  `aws:"systemStatus"`
}

type statusChecks struct {
	Status  string        `aws:"status"`
	Details []statusCheck `aws:"details.item"`
}

type statusCheck struct {
	Name   string `aws:"name"`
	Status string `aws:"status"`
}

type instanceStatuses struct {
	Statuses  []instanceStatus `aws:"instanceStatusSet.item"`
	NextToken string           `aws:"nextToken"`
}

// describeStatus tells of instances that run, all of which are well, and of the others if
// it is asked to.
func describeStatus(c *call, in describeStatusRequest) (out instanceStatuses, err error) {
	if err := in.end(); err != nil {
		return out, err
	}
	instances, err := c.instancesOf(in.InstanceIds, in.MaxResults)
	if err != nil {
		return out, err
	}
	var list []instanceStatus
	for _, i := range instances {
		checks := statusChecks{Status: "not-applicable"}
		if i.State == world.Running {
			checks = statusChecks{"ok", []statusCheck{{"reachability", "passed"}}}
		} else if !in.IncludeAllInstances {
			continue
		}
		list = append(list, instanceStatus{i.ID, c.world.Network().Zone, ec2State(string(i.State)), checks, checks})
	}
	list, err = chosen(list, in.Filters, func(s instanceStatus, name string) []string {
		switch name {
		case "availability-zone":
			return []string{s.Zone}
		case "instance-state-name":
			return []string{s.State.Name}
		case "instance-status.status", "system-status.status":
			return []string{s.Instance.Status}
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	list, out.NextToken, err = ec2Window(in.ec2Span, 5, list, func(s instanceStatus) string { return s.InstanceID })
	out.Statuses = append([]instanceStatus{}, list...)
	return out, err
}
