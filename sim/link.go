package sim

import (
	"errors"
	"net"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/transport"
)

// Link is the network between one process and NATS. It can be cut and healed.
type Link struct {
	to nats.InProcessConnProvider

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newLink(to nats.InProcessConnProvider) *Link { return &Link{to: to} }

// dial opens a connection over the link, with the connection defaults of the project.
func (l *Link) dial(name string) (*nats.Conn, error) {
	return transport.Connect(transport.ConnectOptions{Name: name, InProcess: l})
}

// InProcessConn implements nats.InProcessConnProvider.
func (l *Link) InProcessConn() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil, errors.New("the network is cut")
	}
	c, err := l.to.InProcessConn()
	if err == nil {
		l.conns = append(l.conns, c)
	}
	return c, err
}

// Cut ends every connection and refuses new ones.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

// Heal lets connections through again.
func (l *Link) Heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
}
