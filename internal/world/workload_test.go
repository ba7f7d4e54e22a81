package world_test

import (
	"slices"
	"testing"

	"github.com/rediam/rediam/internal/world"
)

// A pod that is associated by another service account has a session that says so.
func TestTheSessionOfAPodHasItsServiceAccount(t *testing.T) {
	w := world.New("", "")
	must(t, w.PutRole(world.Role{Name: "app", Trust: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"pods.eks.amazonaws.com"},"Action":["sts:AssumeRole","sts:TagSession"]}]}`}))
	var before world.Key
	for _, account := range []string{"orders", "orders", "payments"} {
		pod, err := w.PutWorkload(world.Workload{Kind: world.PodIdentity, Role: "app", ServiceAccount: account})
		must(t, err)
		k, err := w.WorkloadSession(pod)
		must(t, err)
		if got := k.Context["aws:principaltag/kubernetes-service-account"]; !slices.Equal(got, []string{account}) {
			t.Errorf("the session of a pod of %s has %q", account, got)
		}
		if before.ID != "" && (k.ID == before.ID) != (account == "orders") {
			t.Errorf("%s: the access key is %s, after %s", account, k.ID, before.ID)
		}
		before = k
	}
}
