package rotate_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/aws/smithy-go"
	"github.com/rediam/rediam/rotate"
)

// The defects of the rotation functions that AWS publishes as samples: for users, and
// for AUTH tokens. Each test is named after what those do.

func TestRotationDefectTestSecretNeverSignsIn(t *testing.T) {
	each(t, func(t *testing.T, strategy int) {
		f, r := rig(strategy)
		f.start(second)
		step(t, r, second, "createSecret")
		if err := r.Handle(t.Context(), event("testSecret", second)); err == nil {
			t.Error("testSecret passes with a password that the cache does not know")
		}
	})
}

func TestRotationDefectActiveBeforeTheChangeShows(t *testing.T) {
	each(t, func(t *testing.T, strategy int) {
		f, r := rig(strategy)
		f.lag = lag{busy: 3, blind: 3, behind: 9}
		f.start(second)
		step(t, r, second, "createSecret", "setSecret")
		if f.behind > 0 || !slices.Equal(f.kept, f.accepted) || len(f.accepted) != 2 {
			t.Error("setSecret returned before every node had the password")
		}
	})
}

func TestRotationDefectOldPasswordStaysValidUntilTheNextRotation(t *testing.T) {
	each(t, func(t *testing.T, strategy int) {
		f, r := rig(strategy)
		f.lag = lag{behind: 5}
		f.start(second)
		step(t, r, second, allSteps...)
		if slices.Contains(f.accepted, oldest) || slices.Contains(f.kept, oldest) {
			t.Error("finishSecret returned while the old password was valid")
		}
	})
}

func TestRotationDefectPasswordsWithForbiddenCharacters(t *testing.T) {
	for _, length := range []int{0, 32, 64} {
		f, r := rig(user)
		r.Length = length
		seen := map[string]bool{}
		for range 50 {
			if _, err := r.Rotate(t.Context(), secretName); err != nil {
				t.Fatal(err)
			}
			password := f.accepted[0]
			if want := map[int]int{0: 64}[length] + length; len(password) != want {
				t.Fatalf("a password of %d characters, want %d", len(password), want)
			}
			odd := func(r rune) bool {
				return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!&#$^<>-", r))
			}
			if strings.ContainsFunc(password, odd) || seen[password] {
				t.Fatal("a password has what AUTH tokens may not have, or came twice")
			}
			seen[password] = true
		}
	}
	for _, length := range []int{-1, 31, 65} {
		f, r := rig(user)
		r.Length = length
		if _, err := r.Rotate(t.Context(), secretName); err == nil || len(f.versions) != 1 {
			t.Errorf("Length %d is taken", length)
		}
	}
}

func TestRotationDefectOverwritesASecondUnrelatedPassword(t *testing.T) {
	for _, strategy := range []int{user, memoryUser} {
		f, r := rig(strategy)
		f.accepted = []string{oldest, "SomebodyElses"}
		f.kept = f.accepted
		_, err := r.Rotate(t.Context(), secretName)
		if err == nil || !strings.Contains(err.Error(), "would be lost") || !slices.Contains(f.accepted, "SomebodyElses") {
			t.Errorf("Rotate() = %v, want an error and no change", err)
		}
		r.Targets[secretName].(*rotate.User).Replace = true
		if _, err := r.Rotate(t.Context(), secretName); err != nil {
			t.Error(err)
		}
		rotated(t, f)
	}
}

func TestRotationDefectUserWithIAMIsFoundOutLate(t *testing.T) {
	for _, auth := range []string{"iam", "no-password"} {
		f, r := rig(user)
		f.auth = auth
		f.start(second)
		err := r.Handle(t.Context(), event("createSecret", second))
		if err == nil || !strings.Contains(err.Error(), auth) || f.versions[second].value != nil {
			t.Errorf("createSecret = %v, want an error about %s and no value", err, auth)
		}
	}
}

func TestRotationDefectMemoryDBUsersAreNotUnderstood(t *testing.T) {
	f, r := rig(memoryUser)
	value := `{"user_arn":"arn:aws:memorydb:eu-west-1:123456789012:user/orders-app","username":"orders-app","password":"` + oldest + `"}`
	f.versions[first].value = &value
	f.start(second)
	step(t, r, second, allSteps...)
	rotated(t, f)
}

func TestRotationDefectSecretWithoutUserName(t *testing.T) {
	f, r := rig(user)
	value := `{"password":"` + oldest + `"}`
	f.versions[first].value = &value
	f.start(second)
	step(t, r, second, allSteps...)
	rotated(t, f)

	f, r = rig(user)
	value = `{"username":"somebody-else","password":"` + oldest + `"}`
	f.versions[first].value = &value
	if _, err := r.Rotate(t.Context(), secretName); err == nil || f.modifies > 0 {
		t.Errorf("the secret of another user: %v", err)
	}
}

func TestRotationDefectFinishLeavesAStrayPending(t *testing.T) {
	f, r := rig(user)
	f.start(second)
	step(t, r, second, allSteps[:3]...)
	f.label(second, "AWSCURRENT") // the promotion of a run that went no further
	step(t, r, second, "finishSecret")
	rotated(t, f)
}

func TestRotationDefectSecretGivenByNameFails(t *testing.T) {
	f, r := rig(user)
	f.start(second)
	for _, s := range allSteps {
		if err := r.Handle(t.Context(), rotate.Event{Step: s, SecretID: secretName, ClientRequestToken: second}); err != nil {
			t.Fatal(err)
		}
	}
	rotated(t, f)
}

func TestRotationDefectWaitsForEver(t *testing.T) {
	each(t, func(t *testing.T, strategy int) {
		f, r := rig(strategy)
		f.start(second)
		step(t, r, second, "createSecret")
		f.busy = 1 << 30
		ctx, cancel := context.WithCancel(t.Context())
		r.Poll.Progress = func(what string) {
			if strings.HasPrefix(what, "waiting") {
				cancel()
			}
		}
		err := r.Handle(ctx, event("setSecret", second))
		if err == nil || !strings.Contains(err.Error(), "is modifying") || !strings.Contains(err.Error(), "the time is over") {
			t.Errorf("setSecret = %v, want what was waited for and that the time is over", err)
		}
	})
}

func TestRotationDefectSetSecretSetsTheCurrentPassword(t *testing.T) {
	each(t, func(t *testing.T, strategy int) {
		f, r := rig(strategy)
		f.start(second)
		step(t, r, second, "createSecret", "setSecret")
		if !slices.Contains(f.accepted, f.password(t, "AWSPENDING")) {
			t.Error("the cache does not accept the pending password")
		}
	})
}

// Of HashiCorp Vault's plugin for ElastiCache, which sets one password.
func TestRotationDefectCurrentPasswordDiesAtOnce(t *testing.T) {
	each(t, func(t *testing.T, strategy int) {
		f, r := rig(strategy)
		f.start(second)
		step(t, r, second, allSteps[:3]...)
		if !slices.Contains(f.accepted, oldest) {
			t.Error("the cache does not accept the password that the secret still has")
		}
	})
}

func TestRotationDefectShapeOfTheSecretFlips(t *testing.T) {
	f, r := rig(token)
	f.start(second)
	step(t, r, second, allSteps...)
	var value map[string]string
	if err := json.Unmarshal([]byte(*f.versions[second].value), &value); err != nil || value["replicationGroupId"] != "orders" || value["authToken"] != f.accepted[0] {
		t.Error("the secret has not the fields that it had")
	}
}

func TestRotationDefectSecretsInLogs(t *testing.T) {
	for _, fault := range []faultFunc{nil, func(n int, call string, _ bool) error {
		if n%40 == 0 {
			return lost(call)
		}
		return nil
	}} {
		each(t, func(t *testing.T, strategy int) {
			f, r := rig(strategy)
			f.at = fault
			var said strings.Builder
			r.Poll.Progress = func(what string) { fmt.Fprintln(&said, what) }
			f.start(second)
			for _, s := range allSteps {
				e := event(s, second)
				e.RotationToken = "rotation-token-0123456789"
				if err := r.Handle(t.Context(), e); err != nil {
					t.Fatal(err)
				}
				log := slog.New(slog.NewJSONHandler(&said, nil))
				log.Info("event", "event", e, "passwords", rotate.Passwords{New: f.accepted[0], Old: oldest})
				fmt.Fprintf(&said, "%v %+v %#v %s", e, e, e, e.RotationToken)
			}
			fmt.Fprintf(&said, "%v %+v %#v", rotate.Passwords{New: f.accepted[0]}, rotate.Passwords{New: f.accepted[0]}, rotate.Passwords{New: f.accepted[0]})
			for _, hidden := range []string{oldest, f.accepted[0], "rotation-token-0123456789"} {
				if strings.Contains(said.String(), hidden) {
					t.Error("a secret is in what is said")
				}
			}
			if !strings.Contains(said.String(), "createSecret") || !strings.Contains(said.String(), "[redacted]") {
				t.Error("nothing is said")
			}
		})
	}
}

// AWS may quote what it refuses, and Redis does what it does not know.
func TestRotationDefectPasswordsQuotedInErrors(t *testing.T) {
	each(t, func(t *testing.T, strategy int) {
		for _, refused := range []string{"ROTATE", "ModifyUser", "UpdateUser", "SET"} {
			f, r := rig(strategy)
			var secret string
			f.at = func(_ int, call string, done bool) error {
				if call != refused || done {
					return nil
				}
				var value struct{ Password, AuthToken string }
				json.Unmarshal([]byte(*f.versions[second].value), &value)
				secret = value.Password + value.AuthToken
				return &smithy.GenericAPIError{Code: "InvalidParameterValue", Message: fmt.Sprintf("Value '[%s, %s]' failed to satisfy constraint", secret, oldest)}
			}
			f.start(second)
			if err := lambda(t.Context(), r, second); secret != "" && (err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "[redacted]")) {
				t.Errorf("%s: the password is in the error, or there is none", refused)
			}
		}
	})
	for _, user := range []string{"", "orders-app"} {
		node, config := serveTLS(t, func(c net.Conn) {
			for lines := bufio.NewScanner(c); lines.Scan(); {
				switch lines.Text() {
				case "PING":
					io.WriteString(c, "-NOAUTH Authentication required.\r\n")
				case oldest:
					fmt.Fprintf(c, "-ERR unknown command 'AUTH', with args beginning with: '%s'\r\n", oldest)
				}
			}
		})
		_, err := rotate.TLSLogin(config)(t.Context(), []string{node}, user, oldest)
		if err == nil || strings.Contains(err.Error(), oldest[:20]) || !strings.Contains(err.Error(), "unknown command") {
			t.Errorf("Login() = %v", err)
		}
	}
}

func TestRotationDefectFailureIsSuccess(t *testing.T) {
	each(t, func(t *testing.T, strategy int) {
		f, r := rig(strategy)
		f.start(second)
		step(t, r, second, "createSecret")
		for _, s := range []string{"testSecret", "finishSecret"} {
			if err := r.Handle(t.Context(), event(s, second)); err == nil {
				t.Errorf("%s passes for a password that was never set", s)
			}
		}
		if f.password(t, "AWSCURRENT") != oldest || !slices.Equal(f.accepted, []string{oldest}) {
			t.Error("a password that does not work has become current")
		}
	})
}

func TestRotationDefectDeleteOnFailure(t *testing.T) {
	f, r := rig(token)
	f.start(second)
	step(t, r, second, "createSecret", "setSecret")
	f.at = func(_ int, call string, _ bool) error {
		if call == "login" {
			return fmt.Errorf("no")
		}
		return nil
	}
	if err := r.Handle(t.Context(), event("testSecret", second)); err == nil {
		t.Fatal("testSecret passes without a sign-in")
	}
	if slices.Contains(f.calls, "DELETE") || len(f.accepted) != 2 {
		t.Error("the failure has changed what the cache accepts")
	}
}

func TestRotationDefectSecondRotateDropsTheTokenInUse(t *testing.T) {
	f, r := rig(token)
	f.lag = lag{busy: 2, blind: 2, behind: 6}
	f.start(second)
	step(t, r, second, "createSecret", "setSecret")
	step(t, r, second, allSteps[:3]...) // Secrets Manager begins again
	if f.count("ROTATE") != 1 || !slices.Contains(f.accepted, oldest) {
		t.Errorf("%d ROTATEs, and the token in use must be accepted", f.count("ROTATE"))
	}
}

func TestRotationDefectRotateLeavesNoTokenValid(t *testing.T) {
	f, r := rig(token)
	f.accepted, f.open = nil, true
	f.start(second)
	if err := r.Handle(t.Context(), event("createSecret", second)); err == nil || !strings.Contains(err.Error(), "no AUTH token") {
		t.Errorf("createSecret = %v of a cache without a token", err)
	}
	f, r = rig(token)
	f.open = true // ROTATE without SET was done by hand: the token, or none
	f.start(second)
	step(t, r, second, allSteps...)
	rotated(t, f)
}

func TestRotationDefectSetBeforeThePromotion(t *testing.T) {
	each(t, func(t *testing.T, strategy int) {
		f, r := rig(strategy)
		f.start(second)
		step(t, r, second, allSteps[:3]...)
		f.at = func(_ int, call string, _ bool) error {
			if call == "UpdateSecretVersionStage" {
				return fmt.Errorf("no")
			}
			return nil
		}
		if err := r.Handle(t.Context(), event("finishSecret", second)); err == nil {
			t.Fatal("finishSecret passes without a promotion")
		}
		f.at = nil
		if !slices.Contains(f.accepted, oldest) {
			t.Error("the old password is dropped though the secret still has it")
		}
	})
}

func TestRotationDefectAnySecretIsTaken(t *testing.T) {
	f, r := rig(user)
	r.Targets = map[string]rotate.Target{"other": r.Targets[secretName]}
	f.start(second)
	for _, s := range allSteps {
		if err := r.Handle(t.Context(), event(s, second)); err == nil || !strings.Contains(err.Error(), "not among those") {
			t.Errorf("%s = %v of a secret that is not allowed", s, err)
		}
	}
	if slices.Contains(f.calls, "GetSecretValue") {
		t.Error("its value was read")
	}
}

// Bare bytes of a server, which is not to be believed.
func TestRotationLoginIsBounded(t *testing.T) {
	for name, answer := range map[string]string{
		"a bulk of a gigabyte":  "$1000000000\r\n",
		"an array of a billion": "*1000000000\r\n",
		"arrays in arrays":      strings.Repeat("*1\r\n", 1000),
		"a line without end":    strings.Repeat("x", 2<<20),
		"nonsense":              "HTTP/1.1 200 OK\r\n\r\n",
		"nothing":               "",
	} {
		t.Run(name, func(t *testing.T) {
			node, config := serveTLS(t, func(c net.Conn) { c.Read(make([]byte, 100)); c.Write([]byte(answer)) })
			_, err := rotate.TLSLogin(config)(t.Context(), []string{node}, "orders-app", oldest)
			if err == nil || strings.Contains(err.Error(), oldest) {
				t.Errorf("Login() = %v", err)
			}
		})
	}
}

func TestRotationLoginVerifiesTheCertificate(t *testing.T) {
	asked := make(chan []byte, 1)
	node, _ := serveTLS(t, func(c net.Conn) {
		b := make([]byte, 100)
		n, _ := c.Read(b)
		asked <- b[:n]
	})
	f, r := rig(user)
	target := r.Targets[secretName].(*rotate.User)
	target.Login, target.Nodes = rotate.TLSLogin(nil), []string{node}
	_, err := r.Rotate(t.Context(), secretName) // does not wait for another certificate
	if err == nil || !strings.Contains(err.Error(), "certificate") || f.modifies > 0 {
		t.Errorf("Rotate() = %v, want an error about the certificate", err)
	}
	if bytes.Contains(<-asked, []byte(oldest)) {
		t.Error("the password was sent")
	}
}
