package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/rediam/rediam/emulator"
	"github.com/rediam/rediam/internal/installed"
)

const (
	oldPassword   = "OldPassword0000000000000000000000000000"
	rotationToken = "rotation-token-0123456789-0123456789"
	most          = 15 << 20 // bytes of the zip file
	mostMemory    = 40 << 10 // KiB
)

// lambdaService is Lambda as far as its runtime API goes: invoke hands an event to the
// program that asks for the next.
type lambdaService struct {
	url    string
	asked  chan struct{} // once an event is waited for
	events chan []byte
	answer chan error
}

func newLambdaService(t testing.TB) *lambdaService {
	l := &lambdaService{asked: make(chan struct{}, 1), events: make(chan []byte), answer: make(chan error, 1)}
	const root = "/2018-06-01/runtime/invocation/"
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+root+"next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case l.asked <- struct{}{}:
		default:
		}
		select {
		case event := <-l.events:
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", "1")
			w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(time.Minute).UnixMilli(), 10))
			w.Write(event)
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("POST "+root+"1/response", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		l.answer <- nil
	})
	mux.HandleFunc("POST "+root+"1/error", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusAccepted)
		l.answer <- errors.New(string(body))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	l.url = strings.TrimPrefix(server.URL, "http://")
	return l
}

func (l *lambdaService) invoke(ctx context.Context, event []byte) error {
	select {
	case l.events <- event:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-l.answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// build builds the function as make lambda does, for this machine.
func build(t testing.TB) (program, archive string) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(installed.Path(t, "make"), "-C", "../..", "lambda", "LAMBDA_ARCH="+runtime.GOARCH, "LAMBDA_OUT="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make lambda: %v\n%s", err, out)
	}
	return filepath.Join(dir, "lambda", "bootstrap"), filepath.Join(dir, "rediam-rotate.zip")
}

func TestRotationFunctionIsBuiltTheSameEachTime(t *testing.T) {
	first, archive := build(t)
	_, again := build(t)
	one, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	two, err := os.ReadFile(again)
	if err != nil || !bytes.Equal(one, two) {
		t.Errorf("two builds differ, or %v", err)
	}
	if len(one) > most {
		t.Errorf("the zip file has %d bytes, want %d at most", len(one), most)
	}
	program, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil || bytes.Contains(program, []byte(here)) {
		t.Errorf("the program has the folder it was built in, or %v", err)
	}
	z, err := zip.NewReader(bytes.NewReader(one), int64(len(one)))
	if err != nil || len(z.File) != 1 || z.File[0].Name != "bootstrap" || z.File[0].Mode() != 0o755 {
		t.Errorf("the zip file is not a program named bootstrap, or %v", err)
	}
}

func TestRotationByTheFunctionInLambda(t *testing.T) {
	program, _ := build(t)
	srv := emulator.Start(t, emulator.Config{Empty: true, StateDelay: 50 * time.Millisecond})
	for _, err := range []error{
		srv.PutUser(emulator.User{ID: "off", Name: "default", Auth: emulator.AuthNoPassword, Access: "off -@all"}),
		srv.PutUser(emulator.User{Name: "orders-app", Auth: emulator.AuthPassword, Passwords: []emulator.Secret{oldPassword}, Access: "on ~* +@all"}),
		srv.PutGroup(emulator.Group{ID: "people", Users: []string{"off", "orders-app"}}),
		srv.PutCache(emulator.Cache{Name: "orders", Group: "people"}),
		srv.PutRole(emulator.Role{Name: "operator", Inline: map[string]string{"all": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	secrets := secretsmanager.New(secretsmanager.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: srv.Credentials("operator")})
	value := fmt.Sprintf(`{"username":"orders-app","password":%q}`, oldPassword)
	if _, err := secrets.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("orders/password"), SecretString: &value}); err != nil {
		t.Fatal(err)
	}

	service := newLambdaService(t)
	log, err := os.Create(filepath.Join(t.TempDir(), "log")) // a file has it before the service has the answer
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	said := func() string {
		text, err := os.ReadFile(log.Name())
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	cmd := exec.Command(program)
	cmd.Env = append(srv.Environ(), "AWS_LAMBDA_RUNTIME_API="+service.url, "REDIAM_ROTATE_KIND=elasticache-user", "REDIAM_ROTATE_SECRETS=orders/password=orders-app",
		"REDIAM_ROTATE_NODES="+srv.Cache("orders").Addr, "REDIAM_ROTATE_GRACE=100ms")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	over := make(chan struct{}, 1)
	srv.PutFunction("rotate", func(ctx context.Context, event []byte) error {
		var e map[string]string
		if err := json.Unmarshal(event, &e); err != nil {
			return err
		}
		if e["Step"] != "createSecret" { // to PutSecretValue the emulator takes none
			e["RotationToken"] = rotationToken
		}
		event, _ = json.Marshal(e)
		err := service.invoke(ctx, event)
		if err == nil && e["Step"] == "finishSecret" {
			over <- struct{}{}
		}
		return err
	})
	passwords := []string{oldPassword}
	for range 2 {
		if _, err := secrets.RotateSecret(t.Context(), &secretsmanager.RotateSecretInput{SecretId: aws.String("orders/password"), RotationLambdaARN: aws.String(srv.FunctionARN("rotate"))}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-over:
		case <-time.After(time.Minute):
			t.Fatalf("the rotation does not end:\n%s", said())
		}
		out, err := secrets.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("orders/password")})
		if err != nil {
			t.Fatal(err)
		}
		var now struct{ Password string }
		if err := json.Unmarshal([]byte(*out.SecretString), &now); err != nil || now.Password == passwords[len(passwords)-1] {
			t.Fatalf("the password has not changed, or %v", err)
		}
		passwords = append(passwords, now.Password)
	}
	// A secret that is not in its environment.
	other := fmt.Appendf(nil, `{"Step":"createSecret","SecretId":"other","ClientRequestToken":"1","RotationToken":%q}`, rotationToken)
	if err := service.invoke(t.Context(), other); err == nil {
		t.Error("another secret is taken")
	}
	if runtime.GOOS == "linux" {
		checkMemory(t, cmd.Process.Pid)
	}
	cmd.Process.Kill()
	cmd.Wait() // all that it has said is there
	for _, hidden := range append(passwords, rotationToken) {
		if strings.Contains(said(), hidden) {
			t.Error("a secret is in the log")
		}
	}
	if !strings.Contains(said(), `"msg":"done"`) || !strings.Contains(said(), `"msg":"failed"`) {
		t.Errorf("the log lacks what was done:\n%s", said())
	}
}

func checkMemory(t *testing.T, pid int) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	peak, err := strconv.Atoi(regexp.MustCompile(`VmHWM:\s+([0-9]+) kB`).FindStringSubmatch(string(status) + "VmHWM: 0 kB")[1])
	if err != nil || peak == 0 || peak > mostMemory {
		t.Errorf("the function took %d KiB, want %d at most; %v", peak, mostMemory, err)
	}
	t.Logf("%d KiB", peak)
}

func TestRotationFunctionRefusesItsConfiguration(t *testing.T) {
	t.Setenv("AWS_REGION", "eu-west-1")
	good := map[string]string{"REDIAM_ROTATE_KIND": "auth-token", "REDIAM_ROTATE_SECRETS": "a=b=orders,arn:aws:secretsmanager:eu-west-1:1:secret:c-AbCdEf=other"}
	newWith := func(name, value string) error {
		_, err := newFunction(t.Context(), func(n string) string {
			if n == name {
				return value
			}
			return good[n]
		}, slog.New(slog.DiscardHandler))
		return err
	}
	if err := newWith("", ""); err != nil {
		t.Error(err)
	}
	for variable, values := range map[string][]string{
		"REDIAM_ROTATE_SECRETS": {"", "orders", "=orders", "a=", ","},
		"REDIAM_ROTATE_KIND":    {"", "password", "elasticache-user"}, // of which the nodes are missing
		"REDIAM_ROTATE_GRACE":   {"5", "-1s"},
		"REDIAM_ROTATE_POLL":    {"5", "0s", "-1s"},
		"REDIAM_CA":             {"nowhere.pem", "main.go"},
	} {
		for _, value := range values {
			if err := newWith(variable, value); err == nil || !strings.Contains(err.Error(), variable) {
				t.Errorf("%s=%q: %v", variable, value, err)
			}
		}
	}
	f := &function{log: slog.New(slog.DiscardHandler)}
	if err := f.read(t.Context(), strings.NewReader("no event")); err == nil {
		t.Error("standard input that is no event is taken")
	}
}

// From the start of the program until it asks Lambda for the first event.
func BenchmarkColdStart(b *testing.B) {
	program, archive := build(b)
	service := newLambdaService(b)
	zip, err := os.Stat(archive)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), "AWS_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=x", "AWS_SECRET_ACCESS_KEY=x", "AWS_LAMBDA_RUNTIME_API="+service.url,
			"REDIAM_ROTATE_KIND=auth-token", "REDIAM_ROTATE_SECRETS=orders/token=orders")
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		<-service.asked
		b.StopTimer()
		cmd.Process.Kill()
		cmd.Wait()
		b.StartTimer()
	}
	b.ReportMetric(float64(zip.Size())/1e6, "MB-zip")
}
