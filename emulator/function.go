package emulator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// maxOutput bounds what is read and logged of a function's answer or output.
const maxOutput = 16 << 10

// openFunctions makes the functions of the configuration and begins to rotate.
func (s *Server) openFunctions() error {
	for name, where := range s.config.Functions {
		if isURL(where) {
			s.PutFunction(name, invokeURL(where))
			continue
		}
		if err := s.putFunctionRole(name); err != nil {
			return err
		}
		s.PutFunction(name, s.runCommand(name, where))
	}
	s.tasks.Go(s.serveRotations)
	return nil
}

// isFunction is whether something can be a function: a command, or a URL that has no
// password in it.
func isFunction(where string) bool {
	if !isURL(where) {
		return len(strings.Fields(where)) > 0
	}
	u, err := url.Parse(where)
	return err == nil && u.Host != "" && u.User == nil
}

func isURL(where string) bool {
	return strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://")
}

// putFunctionRole makes the role of a function that is a command, with the function's
// name, unless there is one: it may rotate users and AUTH tokens.
func (s *Server) putFunctionRole(name string) error {
	if _, ok := s.Role(name); ok {
		return nil
	}
	return s.PutRole(Role{Name: name, Trust: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}`,
		Inline: map[string]string{"rotate": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"*","Action":[
			"secretsmanager:DescribeSecret","secretsmanager:GetSecretValue","secretsmanager:ListSecretVersionIds","secretsmanager:PutSecretValue","secretsmanager:UpdateSecretVersionStage","secretsmanager:GetRandomPassword",
			"elasticache:Describe*","elasticache:ModifyUser","elasticache:ModifyReplicationGroup","memorydb:Describe*","memorydb:UpdateUser"]}]}`}})
}

// runCommand is a function that runs a command: the event is its standard input, its
// exit code says how it went, and what it prints is logged.
func (s *Server) runCommand(role, command string) Function {
	return func(ctx context.Context, event []byte) error {
		environ, err := s.StartWorkload(Workload{Kind: Lambda, Name: role, Role: role})
		if err != nil {
			return err
		}
		args := strings.Fields(command)
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		own := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") || strings.HasPrefix(v, "REDIAM_") })
		cmd.Env = append(append(own, environ...), "SECRETS_MANAGER_ENDPOINT="+s.url)
		output := &bounded{most: maxOutput}
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(event), output, output
		cmd.WaitDelay = 5 * time.Second
		err = cmd.Run()
		s.log.Info("function", "name", role, "output", output.String())
		return err
	}
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	bytes.Buffer
	most int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), b.most-b.Len())])
	return len(p), nil
}

// invokeURL is a function that runs behind a URL, as the runtime interface emulator of
// Lambda's images has it: the request is that of Invoke.
func invokeURL(where string) Function {
	return func(ctx context.Context, event []byte) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(where, "/")+"/2015-03-31/functions/function/invocations", bytes.NewReader(event))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(io.LimitReader(answer.Body, maxOutput))
		if err != nil {
			return fmt.Errorf("read the function's answer: %w", err)
		}
		var failure struct{ ErrorType, ErrorMessage string }
		json.Unmarshal(body, &failure) // what is no JSON object is no failure
		switch kind := answer.Header.Get("X-Amz-Function-Error"); {
		case answer.StatusCode != http.StatusOK:
			return fmt.Errorf("the function's answer has status %d", answer.StatusCode)
		case kind != "" || failure.ErrorMessage != "":
			return fmt.Errorf("the function failed: %.32s %.512s", cmp.Or(failure.ErrorType, kind), failure.ErrorMessage)
		}
		return nil
	}
}
