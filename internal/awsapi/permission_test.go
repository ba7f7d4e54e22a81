package awsapi

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rediam/rediam/internal/world"
)

// fill gives a value to every member that an operation requires.
func fill(form url.Values, prefix string, t reflect.Type) {
	for _, m := range members(t) {
		f := t.Field(m.index).Type
		switch {
		case m.inline:
			fill(form, prefix, f)
		case !m.required:
		case f.Kind() == reflect.Slice && f.Elem().Kind() == reflect.Struct:
			before := len(form)
			fill(form, m.prefix(prefix)+".1.", f.Elem())
			if len(form) == before { // none of them is required
				form.Set(m.prefix(prefix)+".1."+members(f.Elem())[0].name, "sample")
			}
		case f.Kind() == reflect.Slice:
			form.Set(m.prefix(prefix)+".1", "sample")
		case f.Kind() == reflect.Struct:
			fill(form, prefix+m.name+".", f)
		case f.Kind() == reflect.Int || f.Kind() == reflect.Pointer && f.Elem().Kind() == reflect.Int:
			form.Set(prefix+m.name, "1")
		case f.Kind() == reflect.Bool || f.Kind() == reflect.Pointer && f.Elem().Kind() == reflect.Bool:
			form.Set(prefix+m.name, "true")
		default:
			form.Set(prefix+m.name, "sample")
		}
	}
}

func key(t *testing.T, w *world.World, u world.IAMUser) world.Key {
	t.Helper()
	if err := w.PutIAMUser(u); err != nil {
		t.Fatal(err)
	}
	k, err := w.CreateAccessKey(u.Name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func policyDocument(effect, action, resource string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Action":%q,"Resource":%q}]}`, effect, action, resource)
}

// Every operation asks for its permission before it looks at anything else.
func TestWhoHasNoPermissionIsDeniedEveryOperation(t *testing.T) {
	w := world.New("", "")
	boundary, err := w.PutPolicy("nothing", policyDocument("Allow", "none:None", "*"))
	if err != nil {
		t.Fatal(err)
	}
	everything := map[string]string{"all": policyDocument("Allow", "*", "*")}
	callers := map[string]world.Key{
		"because no identity-based policy allows the %s action": key(t, w, world.IAMUser{Name: "nobody"}),
		"because no permissions boundary allows the %s action":  key(t, w, world.IAMUser{Name: "limited", Inline: everything, Boundary: boundary}),
		"with an explicit deny in an identity-based policy":     key(t, w, world.IAMUser{Name: "denied", Inline: map[string]string{"all": everything["all"], "none": policyDocument("Deny", "*", "*")}}),
	}
	var open []string
	for name, s := range services {
		for operationName, o := range s.operations {
			action := name + ":" + operationName
			if o.free {
				open = append(open, action)
				continue
			}
			form := url.Values{"Action": {operationName}}
			fill(form, "", o.input)
			for because, caller := range callers {
				if strings.Contains(because, "%s") {
					because = fmt.Sprintf(because, action)
				}
				_, err := o.run(&call{world: w, caller: caller, action: action, source: "127.0.0.1"}, form)
				var e *world.Error
				start := "User: arn:aws:iam::123456789012:user/" + caller.Principal.Name + " is not authorized to perform: " + action + " on resource: "
				if !errors.As(err, &e) || e.Code != "AccessDenied" || !strings.HasPrefix(e.Message, start) || !strings.HasSuffix(e.Message, " "+because) {
					t.Errorf("%s: %v, want %s… %s", action, err, start, because)
				}
			}
		}
	}
	slices.Sort(open)
	if want := []string{"sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:AssumeRoleWithWebIdentity", "sts:GetCallerIdentity", "sts:GetSessionToken"}; !slices.Equal(open, want) {
		t.Errorf("need no permission: %s, want %s", open, want)
	}
}

// A principal of another account has no rights here, whatever its policies say.
func TestAnotherAccountMayDoNothingHere(t *testing.T) {
	w := world.New("", "")
	const other = "210987654321"
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}]}`
	everything := map[string]string{"all": policyDocument("Allow", "*", "*")}
	if err := w.PutRole(world.Role{Account: other, Name: "theirs", Trust: trust, Inline: everything}); err != nil {
		t.Fatal(err)
	}
	theirs, err := w.AssumeRole(key(t, w, world.IAMUser{Name: "ours", Inline: everything}), world.AssumeRole{RoleARN: "arn:aws:iam::" + other + ":role/theirs", Session: "test"})
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range services {
		for operationName, o := range s.operations {
			if o.free {
				continue
			}
			form := url.Values{"Action": {operationName}}
			fill(form, "", o.input)
			var e *world.Error
			if _, err := o.run(&call{world: w, caller: theirs, action: name + ":" + operationName, source: "127.0.0.1"}, form); !errors.As(err, &e) || e.Code != "AccessDenied" {
				t.Errorf("%s:%s: %v", name, operationName, err)
			}
		}
	}
	if _, err := w.SessionToken(theirs, world.DefaultSessionToken); err == nil {
		t.Error("a session has a session token")
	}
}
