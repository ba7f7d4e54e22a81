package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"
)

// askEvery is how often wait asks.
const askEvery = 100 * time.Millisecond

type waitCommand struct {
	Admin   string        `required:"" placeholder:"HOST:PORT" help:"The proxy's --admin."`
	Timeout time.Duration `default:"30s" help:"How long to wait."`
}

func (waitCommand) Help() string {
	return `Returns when the proxy takes connections. Exit status 1: it did not in time.

Example:

  rediam wait --admin 127.0.0.1:9736 && exec ./app`
}

func (c *waitCommand) Run(ctx context.Context, t *terminal) error {
	if _, _, err := net.SplitHostPort(c.Admin); err != nil {
		return usageError{fmt.Errorf("--admin: %s is not HOST:PORT", c.Admin)}
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	for {
		err := c.ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return hinted{fmt.Errorf("no proxy at %s takes connections after %v: %w", c.Admin, c.Timeout, err), "start it with rediam proxy --admin " + c.Admin}
		case <-time.After(askEvery):
		}
	}
}

func (c *waitCommand) ask(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.Admin+"/startup", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", answer.Status)
	}
	return nil
}
