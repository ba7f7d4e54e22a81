package emulator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rediam/rediam/internal/world"
)

// A Function stands in for a Lambda function. It gets the event, as JSON; an error
// means that it has failed, and is logged.
type Function func(ctx context.Context, event []byte) error

const (
	// functionTimeout is Lambda's longest.
	functionTimeout = 15 * time.Minute
	// rotationTries is how often a rotation is tried. AWS says "multiple times".
	rotationTries = 5
)

// PutFunction makes a function, or takes the place of the one of that name. Rotations
// find it by the name in RotationLambdaARN.
func (s *Server) PutFunction(name string, f Function) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.functions[name] = f
}

// FunctionARN is the ARN of a function, for RotateSecret.
func (s *Server) FunctionARN(name string) string {
	return "arn:" + s.Partition() + ":lambda:" + s.Region() + ":" + s.Account() + ":function:" + name
}

// function finds a function by its ARN, which may have a version or alias behind.
func (s *Server) function(arn string) (Function, error) {
	name := arn[strings.LastIndex(arn, ":")+1:]
	if _, qualified, ok := strings.Cut(arn, ":function:"); ok {
		name, _, _ = strings.Cut(qualified, ":")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.functions[name]; f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("there is no function %.64q: name it with --function or PutFunction", name)
}

// beginRotations has rotations looked for. It does not wait.
func (s *Server) beginRotations() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// serveRotations runs rotations, those of the emulator before among them, until the
// emulator ends. Two secrets may rotate at the same time, one does so once.
func (s *Server) serveRotations() {
	var running sync.Map // by ARN
	for {
		if err := s.world.BeginRotations(); err != nil {
			s.log.Error("rotations cannot begin", "error", err)
		}
		for _, secret := range s.world.Rotations() {
			if _, twice := running.LoadOrStore(secret.ARN, true); twice {
				continue
			}
			s.tasks.Go(func() {
				s.rotate(secret.ARN)
				running.Delete(secret.ARN)
				s.beginRotations() // it may have been wanted again
			})
		}
		due := make(<-chan time.Time)
		if next := s.world.NextRotation(); !next.IsZero() {
			due = time.After(max(next.Sub(s.Now()), time.Second)) // at once, but not all the time if the disk is full
		}
		select {
		case <-s.ctx.Done():
			return
		case <-s.wake:
		case <-due:
		}
	}
}

// rotate runs one rotation to its end, good or bad: the whole of it again after a
// failure, as AWS does.
func (s *Server) rotate(arn string) {
	secret, err := s.world.StoredSecret(arn)
	token := secret.Rotation.Token
	if err != nil || token == "" { // it has ended since it was looked for
		return
	}
	log := s.log.With("secret", secret.Name, "function", secret.Rotation.Function)
	pause := cmp.Or(s.config.RotationRetry, time.Second)
	for try := 0; try < rotationTries && s.ctx.Err() == nil; try++ {
		if try > 0 {
			log.Warn("rotation failed, will be tried again", "after", pause, "error", err)
			s.pause(pause)
			pause *= 2
		}
		if err = s.tryRotation(secret); err == nil || errors.Is(err, errCancelled) {
			break
		}
	}
	if s.ctx.Err() != nil { // the next emulator goes on
		return
	}
	if err := s.world.EndRotation(arn, token, err != nil); err != nil {
		log.Error("the end of a rotation cannot be saved: it begins again", "error", err)
		s.pause(pause)
		return
	}
	switch {
	case errors.Is(err, errCancelled):
		log.Info("rotation cancelled")
	case err != nil:
		log.Error("rotation failed: no other begins until AWSPENDING is taken away", "error", err)
	default:
		log.Info("rotation done")
	}
}

// pause waits for some time, or for the end of the emulator.
func (s *Server) pause(d time.Duration) {
	select {
	case <-s.ctx.Done():
	case <-time.After(d):
	}
}

var errCancelled = errors.New("cancelled")

// tryRotation calls the function for each step.
func (s *Server) tryRotation(secret world.StoredSecret) error {
	arn, token := secret.ARN, secret.Rotation.Token
	f, err := s.function(secret.Rotation.Function)
	if err != nil {
		return err
	}
	steps := []string{"createSecret", "setSecret", "testSecret", "finishSecret"}
	if secret.Rotation.Test {
		steps = []string{"testSecret"}
	}
	for _, step := range steps {
		if now, err := s.world.StoredSecret(arn); err != nil || now.Rotation.Token != token {
			return errCancelled
		}
		event, err := json.Marshal(struct{ Step, SecretId, ClientRequestToken string }{step, arn, token})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(s.ctx, functionTimeout)
		err = f(ctx, event)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", step, err)
		}
	}
	if !secret.Rotation.Test && !s.world.RotationDone(arn) {
		return errors.New("finishSecret: AWSCURRENT has not moved to the version with AWSPENDING")
	}
	return nil
}
