package world_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/world"
)

// id is the id of a version that tests call by a letter.
func id(letter string) string { return strings.Repeat(letter, 32) }

func valueOf(letter string) world.SecretValue {
	return world.SecretValue{Token: id(letter), Value: world.Secret("value-" + letter)}
}

// withSecret is a world with the secret demo, whose first version is a.
func withSecret(t *testing.T) (*world.World, world.StoredSecret) {
	t.Helper()
	w := world.New("", "")
	first := valueOf("a")
	s, err := w.CreateSecret(world.StoredSecret{Name: "demo"}, &first)
	must(t, err)
	return w, s
}

// labels are those of the secret demo, such as "a:AWSCURRENT,AWSPENDING"; a version in
// parentheses has no value.
func labels(t *testing.T, w *world.World) string {
	t.Helper()
	s, err := w.StoredSecret("demo")
	must(t, err)
	var all []string
	for _, v := range s.Versions {
		letter := v.ID[:1]
		if v.Value == "" {
			letter = "(" + letter + ")"
		}
		all = append(all, letter+":"+strings.Join(v.Stages, ","))
	}
	return strings.Join(all, " ")
}

func put(w *world.World, letter string, stages ...string) error {
	_, _, err := w.PutSecretValue("demo", valueOf(letter), stages)
	return err
}

func move(w *world.World, stage, from, to string) error {
	_, err := w.MoveStage("demo", stage, id(from), id(to))
	return err
}

func rotate(w *world.World, letter string) error {
	_, err := w.RotateSecret("demo", world.RotateSecret{Token: id(letter), Function: "arn:aws:lambda:us-east-1:123456789012:function:f"})
	return err
}

// Each row is what is done to a secret with the one version a, one call after another.
func TestLabelsOfTheVersionsOfASecret(t *testing.T) {
	type calls []func(*world.World) error
	puts := func(letter string, stages ...string) func(*world.World) error {
		return func(w *world.World) error { return put(w, letter, stages...) }
	}
	moves := func(stage, from, to string) func(*world.World) error {
		return func(w *world.World) error { return move(w, stage, from, to) }
	}
	rotates := func(letter string) func(*world.World) error {
		return func(w *world.World) error { return rotate(w, letter) }
	}
	ends := func(letter string, failed bool) func(*world.World) error {
		return func(w *world.World) error { return w.EndRotation("demo", id(letter), failed) }
	}
	cancels := func(w *world.World) error { _, _, err := w.CancelRotation("demo"); return err }
	for name, test := range map[string]struct {
		calls calls
		want  string
		code  string // of the last call
		text  string
	}{
		"a new value":               {calls{puts("b")}, "a:AWSPREVIOUS b:AWSCURRENT", "", ""},
		"two new values":            {calls{puts("b"), puts("c")}, "a: b:AWSPREVIOUS c:AWSCURRENT", "", ""},
		"a pending value":           {calls{puts("b", "AWSPENDING")}, "a:AWSCURRENT b:AWSPENDING", "", ""},
		"two pending values":        {calls{puts("b", "AWSPENDING"), puts("c", "AWSPENDING")}, "a:AWSCURRENT b: c:AWSPENDING", "", ""},
		"labels of one's own":       {calls{puts("b", "TWO", "ONE"), puts("c", "TWO")}, "a:AWSCURRENT b:ONE c:TWO", "", ""},
		"the same value again":      {calls{puts("b"), puts("c"), puts("b")}, "a: b:AWSPREVIOUS c:AWSCURRENT", "", ""},
		"an unnamed label":          {calls{puts("b", "")}, "a:AWSCURRENT", "InvalidParameterException", "label"},
		"a value takes pending":     {calls{rotates("b"), puts("c")}, "a:AWSPREVIOUS (b): c:AWSCURRENT", "", ""},
		"promotion":                 {calls{puts("b", "AWSPENDING"), moves("AWSCURRENT", "a", "b")}, "a:AWSPREVIOUS b:AWSCURRENT,AWSPENDING", "", ""},
		"what comes after that":     {calls{puts("b", "AWSPENDING"), moves("AWSCURRENT", "a", "b"), puts("c")}, "a: b:AWSPREVIOUS c:AWSCURRENT", "", ""},
		"promotion in a rotation":   {calls{rotates("b"), puts("b", "AWSPENDING"), moves("AWSCURRENT", "a", "b")}, "a:AWSPREVIOUS b:AWSCURRENT", "", ""},
		"promotion twice":           {calls{puts("b", "AWSPENDING"), moves("AWSCURRENT", "a", "b"), moves("AWSCURRENT", "", "b")}, "a:AWSPREVIOUS b:AWSCURRENT,AWSPENDING", "", ""},
		"the way back":              {calls{puts("b"), moves("AWSCURRENT", "b", "a")}, "a:AWSCURRENT b:AWSPREVIOUS", "", ""},
		"a label taken away":        {calls{puts("b", "AWSPENDING"), moves("AWSPENDING", "b", "")}, "a:AWSCURRENT b:", "", ""},
		"a label nobody has":        {calls{puts("b"), moves("GOOD", "", "b")}, "a:AWSPREVIOUS b:AWSCURRENT,GOOD", "", ""},
		"from is needed":            {calls{puts("b", "AWSPENDING"), moves("AWSCURRENT", "", "b")}, "a:AWSCURRENT b:AWSPENDING", "InvalidParameterException", "The parameter RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently attached to version " + id("a") + ", so you must explicitly reference that version in RemoveFromVersionId."},
		"from another":              {calls{puts("b", "AWSPENDING"), moves("AWSCURRENT", "b", "b")}, "a:AWSCURRENT b:AWSPENDING", "InvalidParameterException", "must be set to the version that currently has the staging label AWSCURRENT"},
		"to nowhere":                {calls{moves("AWSCURRENT", "a", "c")}, "a:AWSCURRENT", "ResourceNotFoundException", id("c")},
		"neither from nor to":       {calls{moves("AWSCURRENT", "", "")}, "a:AWSCURRENT", "InvalidParameterException", "MoveToVersionId"},
		"no AWSCURRENT":             {calls{moves("AWSCURRENT", "a", "")}, "a:AWSCURRENT", "InvalidParameterException", "AWSCURRENT"},
		"nothing current":           {calls{rotates("b"), moves("AWSCURRENT", "a", "b")}, "a:AWSCURRENT (b):AWSPENDING", "InvalidRequestException", "no value"},
		"a rotation begins":         {calls{rotates("b")}, "a:AWSCURRENT (b):AWSPENDING", "", ""},
		"the same once more":        {calls{rotates("b"), rotates("b")}, "a:AWSCURRENT (b):AWSPENDING", "", ""},
		"another meanwhile":         {calls{rotates("b"), rotates("c")}, "a:AWSCURRENT (b):AWSPENDING", "InvalidRequestException", "A previous rotation isn't complete. That rotation will be reattempted."},
		"another after a failure":   {calls{rotates("b"), ends("b", true), rotates("c")}, "a:AWSCURRENT (b):AWSPENDING", "InvalidRequestException", "A previous rotation isn't complete."},
		"another after cancelling":  {calls{rotates("b"), cancels, rotates("c")}, "a:AWSCURRENT (b):AWSPENDING", "InvalidRequestException", "A previous rotation isn't complete."},
		"the failed one again":      {calls{rotates("b"), ends("b", true), rotates("b")}, "a:AWSCURRENT (b):AWSPENDING", "", ""},
		"after cleaning up":         {calls{rotates("b"), ends("b", true), moves("AWSPENDING", "b", ""), rotates("c")}, "a:AWSCURRENT (b): (c):AWSPENDING", "", ""},
		"pending beside current":    {calls{puts("b", "AWSPENDING"), moves("AWSCURRENT", "a", "b"), rotates("c")}, "a:AWSPREVIOUS b:AWSCURRENT (c):AWSPENDING", "", ""},
		"one that is over":          {calls{rotates("b"), puts("b", "AWSPENDING"), moves("AWSCURRENT", "a", "b"), ends("b", false), rotates("b")}, "a:AWSPREVIOUS b:AWSCURRENT", "", ""},
		"a version of before":       {calls{puts("b"), rotates("a")}, "a:AWSPREVIOUS b:AWSCURRENT", "ResourceExistsException", "You can't use ClientRequestToken " + id("a")},
		"the value of the rotation": {calls{rotates("b"), puts("b", "AWSPENDING"), puts("b", "AWSPENDING")}, "a:AWSCURRENT b:AWSPENDING", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := withSecret(t)
			var err error
			for i, call := range test.calls {
				if err = call(w); err != nil && i < len(test.calls)-1 {
					t.Fatalf("call %d: %v", i+1, err)
				}
			}
			if test.code == "" {
				must(t, err)
			} else {
				refused(t, name, err, test.code, test.text)
			}
			if got := labels(t, w); got != test.want {
				t.Errorf("labels %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhatSecretsManagerRefuses(t *testing.T) {
	w, s := withSecret(t)
	other := valueOf("a")
	other.Value = "another"
	binary := valueOf("a")
	binary.Binary = true
	create := func(name string, v *world.SecretValue) error {
		return only(w.CreateSecret(world.StoredSecret{Name: name}, v))
	}
	replace := func(v world.SecretValue) error { _, _, err := w.PutSecretValue("demo", v, nil); return err }
	read := func(name, version, stage string) error { _, _, err := w.SecretValue(name, version, stage); return err }
	rules := func(r world.RotationRules) error {
		return only(w.RotateSecret("demo", world.RotateSecret{Token: id("r"), Function: "arn:f", Rules: &r}))
	}
	first := valueOf("a")
	must(t, create("demo", &first)) // the same call again
	for what, test := range map[string]struct {
		err        error
		code, text string
	}{
		"the name of another":    {create("demo", nil), "ResourceExistsException", "The operation failed because the secret demo already exists."},
		"another token":          {create("demo", &world.SecretValue{Token: id("z"), Value: "x"}), "ResourceExistsException", "demo already exists"},
		"another value":          {create("demo", &other), "ResourceExistsException", "You can't use ClientRequestToken " + id("a") + " because that value is already in use for a version of secret " + s.ARN},
		"a name with a space":    {create("de mo", nil), "ValidationException", "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!"},
		"no name":                {create("", nil), "ValidationException", "Invalid name"},
		"no token":               {create("new", &world.SecretValue{Value: "x"}), "InvalidRequestException", "You must provide a ClientRequestToken value."},
		"a short token":          {create("new", &world.SecretValue{Token: "x", Value: "x"}), "InvalidParameterException", "ClientRequestToken must be 32-64 characters long."},
		"a large value":          {create("new", &world.SecretValue{Token: id("a"), Value: world.Secret(strings.Repeat("x", 65537))}), "InvalidParameterException", "65536"},
		"a changed value":        {replace(other), "ResourceExistsException", "You can't use ClientRequestToken"},
		"no labels":              {func() error { _, _, err := w.PutSecretValue("demo", valueOf("b"), []string{}); return err }(), "InvalidParameterException", "VersionStages"},
		"a long label":           {move(w, strings.Repeat("x", 257), "", "a"), "InvalidParameterException", "256 characters"},
		"a binary one":           {replace(binary), "ResourceExistsException", "You can't use ClientRequestToken"},
		"an update of a version": {only(w.UpdateSecret("demo", &first, func(*world.StoredSecret) {})), "ResourceExistsException", "You can't use ClientRequestToken"},
		"a long description":     {only(w.UpdateSecret("demo", nil, func(s *world.StoredSecret) { s.Description = strings.Repeat("x", 2049) })), "InvalidParameterException", "2048"},
		"51 tags":                {w.TagSecret("demo", manyTags(51), nil), "InvalidParameterException", "at most 50 tags"},
		"an unknown secret":      {read("other", "", ""), "ResourceNotFoundException", "Secrets Manager can't find the specified secret."},
		"an unknown ARN":         {read("arn:aws:secretsmanager:eu-west-1:123456789012:secret:demo", "", ""), "ResourceNotFoundException", "specified secret."},
		"an impossible name":     {read("de mo", "", ""), "ValidationException", "Invalid name"},
		"an unknown version":     {read("demo", id("x"), ""), "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: " + id("x")},
		"an unknown label":       {read("demo", "", "AWSPENDING"), "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for staging label: AWSPENDING"},
		"a label of another":     {read("demo", id("a"), "AWSPENDING"), "InvalidRequestException", "You provided a VersionStage that is not associated to the provided VersionId."},
		"no function":            {only(w.RotateSecret("demo", world.RotateSecret{Token: id("r")})), "InvalidRequestException", "No Lambda rotation function ARN is associated with this secret."},
		"no token to rotate":     {only(w.RotateSecret("demo", world.RotateSecret{Function: "arn:f"})), "InvalidRequestException", "You must provide a ClientRequestToken value."},
		"too many days":          {rules(world.RotationRules{Days: 1001}), "InvalidParameterException", "RotationRules.AutomaticallyAfterDays must be within 1-1000."},
		"two schedules":          {rules(world.RotationRules{Days: 1, Schedule: "rate(1 day)"}), "InvalidParameterException", "both"},
		"too often":              {rules(world.RotationRules{Schedule: "rate(3 hours)"}), "InvalidParameterException", "4 hours"},
		"minutes":                {rules(world.RotationRules{Schedule: "rate(300 minutes)"}), "InvalidParameterException", "ScheduleExpression must be"},
		"an endless window":      {rules(world.RotationRules{Days: 1, Duration: "a day"}), "InvalidParameterException", "Duration"},
		"six days":               {only(w.DeleteSecret("demo", 6)), "InvalidParameterException", "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive)."},
	} {
		refused(t, what, test.err, test.code, test.text)
	}
	if got := labels(t, w); got != "a:AWSCURRENT" {
		t.Errorf("labels %q after calls that were refused", got)
	}
	must(t, rotate(w, "b"))
	refused(t, "a version without a value", read("demo", id("b"), "AWSPENDING"), "ResourceNotFoundException", "Secrets Manager can't find the specified secret value for VersionId: "+id("b"))
	refused(t, "a label without a value", read("demo", "", "AWSPENDING"), "ResourceNotFoundException", "for staging label: AWSPENDING")
}

func manyTags(n int) map[string]string {
	tags := map[string]string{}
	for i := range n {
		tags[fmt.Sprint(i)] = ""
	}
	return tags
}

func TestASecretIsFoundByNameAndARN(t *testing.T) {
	w, s := withSecret(t)
	must(t, only(w.CreateSecret(world.StoredSecret{Name: "ends-abcdef"}, nil)))
	const prefix = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
	if suffix, ok := strings.CutPrefix(s.ARN, prefix+"demo-"); !ok || len(suffix) != 6 {
		t.Errorf("the ARN is %s", s.ARN)
	}
	for _, id := range []string{"demo", s.ARN, prefix + "demo", "ends-abcdef"} {
		if found, err := w.StoredSecret(id); err != nil || !strings.HasPrefix(found.ARN, prefix) || w.SecretARN(id) != found.ARN {
			t.Errorf("%s is %s, %v", id, found.ARN, err)
		}
	}
	for _, id := range []string{"dem", "Demo", prefix + "demo-abcdef", prefix + "ends-abcdef", s.ARN + "x", strings.Replace(s.ARN, "us-east-1", "us-west-2", 1)} {
		refused(t, id, only(w.StoredSecret(id)), "ResourceNotFoundException", "can't find")
	}
}

func TestADeletedSecretCanBeRestored(t *testing.T) {
	w, s := withSecret(t)
	const day = 24 * time.Hour
	deleted, err := w.DeleteSecret("demo", 7)
	must(t, err)
	if left := deleted.Deleted.Sub(w.Now()); left > 7*day || left < 7*day-time.Minute {
		t.Errorf("it is gone in %v", left)
	}
	for what, err := range map[string]error{"put": put(w, "b"), "move": move(w, "X", "", "a"), "rotate": rotate(w, "b"), "tag": w.TagSecret("demo", nil, nil), "read": func() error { _, _, err := w.SecretValue("demo", "", ""); return err }()} {
		refused(t, what, err, "InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion.")
	}
	refused(t, "a second one", only(w.DeleteSecret("demo", 30)), "InvalidRequestException", "already scheduled for deletion")
	refused(t, "the same name", only(w.CreateSecret(world.StoredSecret{Name: "demo"}, nil)), "InvalidRequestException", "You can't create this secret because a secret with this name is already scheduled for deletion.")
	must(t, only(w.StoredSecret("demo")), only(w.RestoreSecret("demo")), put(w, "b"), only(w.DeleteSecret("demo", 7)))
	w.Advance(8 * day)
	refused(t, "one that is gone", only(w.RestoreSecret("demo")), "ResourceNotFoundException", "can't find")
	again, err := w.CreateSecret(world.StoredSecret{Name: "demo"}, nil)
	if err != nil || again.ARN == s.ARN {
		t.Errorf("the next of that name is %s, %v; the one before was %s", again.ARN, err, s.ARN)
	}
	must(t, only(w.DeleteSecret("demo", 0)), only(w.CreateSecret(world.StoredSecret{Name: "demo"}, nil)))
}

// A version is kept for a day, and then until there are a hundred.
func TestOldVersionsOfASecretGiveWay(t *testing.T) {
	w, _ := withSecret(t)
	number := func(i int) error {
		_, _, err := w.PutSecretValue("demo", world.SecretValue{Token: fmt.Sprintf("%032d", i), Value: "x"}, nil)
		return err
	}
	for i := range 99 {
		must(t, number(i))
	}
	refused(t, "the 101st", number(99), "LimitExceededException", "at most 100 versions")
	w.Advance(25 * time.Hour)
	must(t, number(99))
	s, err := w.StoredSecret("demo")
	must(t, err)
	if len(s.Versions) != 100 || s.Versions[0].ID != fmt.Sprintf("%032d", 0) || s.Labelled("AWSCURRENT").ID != fmt.Sprintf("%032d", 99) {
		t.Errorf("%d versions, the oldest %s", len(s.Versions), s.Versions[0].ID)
	}
	stages := []string{}
	for i := range 20 {
		stages = append(stages, fmt.Sprint(i))
	}
	refused(t, "more than 20 labels", put(w, "z", stages...), "LimitExceededException", "labels")
}

func TestRotationsAreDueByTheClock(t *testing.T) {
	for rules, every := range map[world.RotationRules]time.Duration{
		{}: 0, {Days: 30}: 30 * 24 * time.Hour, {Schedule: "rate(10 days)", Duration: "3h"}: 240 * time.Hour, {Schedule: "rate(4 hours)"}: 4 * time.Hour, {Schedule: "rate(1 day)"}: 24 * time.Hour,
	} {
		w, s := withSecret(t)
		must(t, only(w.RotateSecret("demo", world.RotateSecret{Token: id("b"), Function: "arn:f", Rules: &rules})), put(w, "b", "AWSPENDING"), move(w, "AWSCURRENT", "a", "b"))
		if under := w.Rotations(); len(under) != 1 || under[0].Rotation.Token != id("b") || under[0].ARN != s.ARN {
			t.Fatalf("under way: %+v", under)
		}
		must(t, w.EndRotation(s.ARN, id("b"), false), w.BeginRotations())
		if every == 0 {
			if next := w.NextRotation(); !next.IsZero() {
				t.Errorf("%+v: due at %v", rules, next)
			}
			continue
		}
		if in := w.NextRotation().Sub(w.Now()); in > every || in < every-time.Minute || len(w.Rotations()) != 0 {
			t.Errorf("%+v: due in %v, want %v", rules, in, every)
		}
		w.Advance(every)
		must(t, w.BeginRotations())
		under := w.Rotations()
		if len(under) != 1 || under[0].Rotation.Token == id("b") || !w.NextRotation().IsZero() {
			t.Fatalf("%+v: under way: %+v", rules, under)
		}
		token := under[0].Rotation.Token
		must(t, w.EndRotation(s.ARN, token, true))
		w.Advance(every)
		must(t, w.BeginRotations())
		if under := w.Rotations(); len(under) != 1 || under[0].Rotation.Token != token {
			t.Errorf("%+v: what has failed is not tried again: %+v", rules, under)
		}
		must(t, only3(w.CancelRotation("demo")))
		if !w.NextRotation().IsZero() || len(w.Rotations()) != 0 {
			t.Errorf("%+v: rotates although it is cancelled", rules)
		}
	}
}

func only3[A, B any](_ A, _ B, err error) error { return err }

func TestTestSecretSeesTheCurrentValueAndLeavesNothing(t *testing.T) {
	w, s := withSecret(t)
	must(t, only(w.RotateSecret("demo", world.RotateSecret{Token: id("b"), Function: "arn:f", Test: true})))
	if _, v, err := w.SecretValue("demo", id("b"), "AWSPENDING"); err != nil || v.Value != "value-a" {
		t.Errorf("the pending version: %v", err)
	}
	must(t, w.EndRotation(s.ARN, id("b"), true))
	if got := labels(t, w); got != "a:AWSCURRENT" {
		t.Errorf("labels %q", got)
	}
	if s, _ = w.StoredSecret("demo"); !s.Rotated.IsZero() || !s.Rotation.Enabled {
		t.Errorf("rotated %v, enabled %v", s.Rotated, s.Rotation.Enabled)
	}
}

func TestSecretsAreSavedAndDoNotPrint(t *testing.T) {
	w := world.New("", "")
	records := saved(w)
	first := valueOf("a")
	must(t, only(w.CreateSecret(world.StoredSecret{Name: "demo", Description: "d", Tags: map[string]string{"k": "v"}}, &first)), rotate(w, "b"))
	again := world.New("", "")
	must(t, again.Load(maps.Clone(records)))
	_, v, err := again.SecretValue("demo", "", "")
	if err != nil || v.Value != "value-a" || labels(t, again) != labels(t, w) || len(again.Rotations()) != 1 {
		t.Errorf("after loading: labels %q, %d rotations, %v", labels(t, again), len(again.Rotations()), err)
	}
	s, err := w.StoredSecret("demo")
	must(t, err)
	if got, err := again.StoredSecret("demo"); err != nil || !reflect.DeepEqual(got.Tags, s.Tags) || got.ARN != s.ARN || !got.Created.Equal(s.Created) {
		t.Errorf("%+v, want %+v", got, s)
	}
	for _, printed := range []any{s, &s, s.Versions, first, &first} {
		encoded, err := json.Marshal(printed)
		must(t, err)
		if text := fmt.Sprintf("%v %+v %#v %s", printed, printed, printed, encoded); strings.Contains(text, "value-a") {
			t.Errorf("%T prints its value", printed)
		}
	}
	for what, record := range map[string]string{"no values": `{"Name":"x","Versions":[{"ID":"y"}]}`, "no JSON": "{"} {
		if err := world.New("", "").Load(map[string][]byte{"secret/x": []byte(record)}); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	w.Save = func(map[string][]byte) error { return errors.New("the disk is full") }
	refused(t, "what cannot be saved", put(w, "c"), "InternalFailure", "disk")
	if stages := s.Versions[0].Stages; !slices.Equal(stages, []string{"AWSCURRENT"}) {
		t.Errorf("labels %q", stages)
	}
}
