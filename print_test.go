package rediam_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/rediam/rediam"
)

const secret = "s3cr3t-token"

func TestTokenAndConfigNeverPrintTheirPassword(t *testing.T) {
	token := rediam.Token{User: "orders-app", Password: secret, Expires: time.Now()}
	config := rediam.Config{Host: "localhost", Username: "orders-app", Password: secret}
	signer := &rediam.Signer{User: "orders-app", Credentials: credentials.NewStaticCredentialsProvider("AKID", secret, secret)}
	values := map[string]any{
		"signer": signer, "signer in a struct": struct{ S *rediam.Signer }{signer},
		"token": token, "pointer to a token": &token, "token in a slice": []rediam.Token{token},
		"token in a map": map[string]rediam.Token{"t": token}, "token in a struct": struct{ T rediam.Token }{token},
		"config": config, "pointer to a config": &config, "config in a struct": struct{ C *rediam.Config }{&config},
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			checkShown(t, name+" under "+verb, fmt.Sprintf(verb, v), verb != "%#v" || !strings.Contains(name, " "))
		}
		if strings.HasPrefix(name, "signer") { // it is not for JSON: its credentials are a function
			continue
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		checkShown(t, name+" in JSON", string(encoded), true)
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v)
		checkShown(t, name+" in slog", log.String(), true)
		checkShown(t, name+" in an error", fmt.Errorf("wrapped: %w", errors.New(fmt.Sprint(v))).Error(), true)
	}
}

// checkShown wants the user name to be there, so that the test sees that
// something was printed, and the secret not.
func checkShown(t *testing.T, where, got string, wantUser bool) {
	t.Helper()
	if strings.Contains(got, secret) || strings.Contains(got, fmt.Sprintf("%x", secret)) {
		t.Errorf("%s shows the password: %s", where, got)
	}
	if wantUser && !strings.Contains(got, "orders-app") {
		t.Errorf("%s does not show the user: %s", where, got)
	}
}
