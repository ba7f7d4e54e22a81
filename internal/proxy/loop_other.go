//go:build !linux

package proxy

import (
	"context"
	"errors"
	"net"
)

var loopDrivers []string

type (
	loops       struct{}
	systemCalls struct{}
)

func startLoops(systemCalls) (ls *loops, stop func(), err error) {
	return nil, nil, errors.ErrUnsupported
}

func (*loops) adopt(j *joint) (driver, error) { return j.driver, nil }

func openHalf(context.Context, string, string) (net.Conn, error) { return nil, errors.ErrUnsupported }
