package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// link is how a long-running command reaches NATS.
type link struct {
	nc      *nats.Conn
	dial    func() (*nats.Conn, error) // a further connection like nc
	servers string
}

// serverLink reaches NATS as the flags say. A server that is not there is waited for, like one that is lost later: after
// a power failure things come back in any order. One that refuses us is an error.
func (s *session) serverLink(name string, log *zap.Logger) (*link, error) {
	options, err := s.connectOptions(requestLimit)
	if err != nil {
		return nil, err
	}
	options.Name = name
	l := &link{servers: options.Servers, dial: func() (*nats.Conn, error) { return transport.Connect(options.ConnectOptions) }}
	for waiting := false; ; waiting = true {
		if l.nc, err = s.dial(options); err == nil {
			return l, nil
		}
		if s.ctx.Err() != nil {
			return nil, s.ctx.Err()
		}
		if !unreachable(err) {
			return nil, fail(exitUnreachable, "connect to NATS at %s: %w", transport.Redacted(options.Servers), err)
		}
		if !waiting {
			log.Warn("waiting for NATS", zap.String("servers", transport.Redacted(options.Servers)), zap.Error(err))
		}
		select {
		case <-s.ctx.Done():
			return nil, s.ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// unreachable tells a server that is not there, not yet, or not any more, from one that answers and refuses.
func unreachable(err error) bool {
	var network net.Error
	return errors.Is(err, nats.ErrNoServers) || errors.Is(err, nats.ErrTimeout) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) // it ended while it was asked
}

// serverCluster is the cluster of a command that is a part of one. It is never guessed: who joins or makes the wrong cluster runs
// somebody else's apps.
func (s *session) serverCluster(command string) (string, error) {
	if s.Cluster == "" {
		return "", fail(exitUsage, "%s: of which cluster?", command).try("go-cluster %s --cluster NAME, or set GO_CLUSTER", command)
	}
	if err := spec.ValidateName("cluster", s.Cluster); err != nil {
		return "", fail(exitUsage, "--cluster: %w", err)
	}
	return s.Cluster, nil
}

// endless refuses a time limit for a command that runs until it is told to stop.
func (s *session) endless(command string) error {
	if s.Timeout > 0 {
		return fail(exitUsage, "--timeout %s: %s runs until it is told to stop", s.Timeout, command)
	}
	return nil
}

// checkListen checks an address to listen on, before anything is started.
func checkListen(flag, address string) error {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return fmt.Errorf("--%s %q: want HOST:PORT or :PORT; port 0 takes a free one", flag, address)
	}
	return nil
}
