//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/transport"
	"github.com/go-cluster/go-cluster/transport/embedded"
)

// devLink is a link and the server behind it, if that is in this process.
type devLink struct {
	*link
	server *embedded.Server
}

// link starts the server in this process, or reaches the one that the user has.
func (cmd *devCommand) link(s *session, home *devHome, log *zap.Logger) (*devLink, error) {
	if cmd.NATS != "" {
		theirs := *s
		theirs.Server = cmd.NATS
		l, err := theirs.serverLink("go-cluster dev", log)
		if err != nil {
			return nil, err
		}
		return &devLink{link: l}, nil
	}
	port := cmd.NATSPort
	if port <= 0 {
		port = -1
	} else if err := checkFree(port); err != nil { // the server itself would try for half a minute
		return nil, portTaken(fmt.Errorf("NATS server: %w", err), "--nats-port")
	}
	server, err := embedded.Start(embedded.Options{StoreDir: home.nats(), Port: port, SyncAlways: true, Log: log.Named("nats").WithOptions(zap.IncreaseLevel(zap.WarnLevel))})
	if err != nil {
		return nil, err
	}
	l := &link{servers: server.ClientURL(), dial: func() (*nats.Conn, error) {
		return transport.Connect(transport.ConnectOptions{Name: "go-cluster dev", InProcess: server.InProcess})
	}}
	if l.nc, err = l.dial(); err != nil {
		server.Shutdown()
		return nil, err
	}
	return &devLink{link: l, server: server}, nil
}

func (l *devLink) close() {
	l.nc.Close()
	if l.server != nil {
		l.server.Shutdown()
	}
}

func checkFree(port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	return l.Close()
}

// portTaken adds the way out to the error of a port that cannot be listened on.
func portTaken(err error, flag string) error {
	e := fail(exitError, "%w", err)
	if errors.Is(err, syscall.EADDRINUSE) {
		return e.try("go-cluster dev %s 0", flag)
	}
	return e
}
