package gate

import (
	"context"
	"errors"
	"net"
)

// joinEngine opens the connection to the engine if there is none.
func (s *session) joinEngine(ctx context.Context) error {
	if s.engine != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, SignInTime)
	defer cancel()
	engine, err := s.node.Engine.Dial(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.engine, s.pumped, s.pairing = engine, make(chan struct{}), pairing{}
	ended := s.ended
	s.mu.Unlock()
	if ended {
		engine.Close()
	}
	go s.pump(engine)
	return nil
}

// leaveEngine closes the connection to the engine and waits for the last of its
// replies. Only run calls it.
func (s *session) leaveEngine() {
	s.mu.Lock()
	engine, pumped := s.engine, s.pumped
	s.engine, s.pairing = nil, pairing{}
	s.mu.Unlock()
	if engine != nil {
		engine.Close()
		<-pumped
	}
}

// pump passes the engine's replies on to the client.
func (s *session) pump(engine net.Conn) {
	defer close(s.pumped)
	buf := make([]byte, bufferSize)
	for {
		n, err := engine.Read(buf)
		if n > 0 {
			err = errors.Join(s.passOn(engine, buf[:n]), err)
		}
		if err != nil {
			s.lost(engine)
			return
		}
	}
}

func (s *session) passOn(engine net.Conn, b []byte) error {
	s.out.Lock()
	defer s.out.Unlock()
	s.mu.Lock()
	if s.engine != engine { // left by RESET
		s.mu.Unlock()
		return errEnded
	}
	parts, err := s.pairing.feed(b)
	greeted := s.greeted
	s.greeted = false
	s.answered.Broadcast()
	s.mu.Unlock()
	s.wait()
	if greeted {
		s.leave()
	}
	for _, part := range parts {
		if _, err := s.client.Write(part); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining != nil {
		s.draining.Reset(closeTime)
	}
	return err
}

// lost ends the session if its engine has gone away.
func (s *session) lost(engine net.Conn) {
	s.mu.Lock()
	current := s.engine == engine
	s.mu.Unlock()
	if current {
		s.close()
	}
}
