//go:build linux

package litestream

import (
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// link is the way to the store. It is safe for concurrent use.
//
// An agent's own connection must not be it: megabytes on their way to or from the store would be between a renewal of the node's lease and its answer,
// and on a slow network the node would end its apps since it moves their data. Nodes without such data have no use for a second one, so
// it is made when it is first needed.
type link struct {
	dial func() (*nats.Conn, error)

	mu     sync.Mutex
	js     jetstream.JetStream // nil before it is needed
	nc     *nats.Conn          // that it made
	closed bool
}

func (l *link) jetStream() (jetstream.JetStream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, errors.New("this node ships no data any more")
	case l.js != nil:
		return l.js, nil
	}
	nc, err := l.dial()
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	l.nc, l.js = nc, js
	return js, nil
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.nc != nil {
		l.nc.Close()
	}
}
