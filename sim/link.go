package sim

import (
	"bytes"
	"errors"
	"net"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/transport"
)

// Link is the network between one process and NATS. It can be cut, and it can hold back what goes one way: then what was asked is
// done and nobody is told, or is done late. Nobody ever waits for a link that holds something back: whoever did would keep others
// waiting for a lock, and in a bubble no time passes meanwhile.
type Link struct {
	to func() nats.InProcessConnProvider

	mu    sync.Mutex
	cut   bool
	deaf  bool
	mute  bool
	conns []*linkConn
}

func newLink(to func() nats.InProcessConnProvider) *Link { return &Link{to: to} }

// dial opens a connection over the link, with the connection defaults of the project.
func (l *Link) dial(name string) (*nats.Conn, error) {
	return transport.Connect(transport.ConnectOptions{Name: name, InProcess: l})
}

// InProcessConn implements nats.InProcessConnProvider.
func (l *Link) InProcessConn() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut || l.deaf || l.mute { // who connects holds a lock until it is answered
		return nil, errors.New("the network is cut")
	}
	c, err := l.to().InProcessConn()
	if err != nil {
		return nil, err
	}
	lc := &linkConn{Conn: c, link: l, changed: make(chan struct{}, 1)}
	go lc.receive()
	l.conns = append(l.conns, lc)
	return lc, nil
}

// Cut ends every connection and refuses new ones.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for _, c := range l.conns {
		_ = c.Conn.Close()
	}
	l.conns = nil
}

// Deafen holds back all that comes from NATS.
func (l *Link) Deafen() { l.set(true, l.mute) }

// Mute holds back all that goes to NATS.
func (l *Link) Mute() { l.set(l.deaf, true) }

// Heal lets everything through again, what was held back first.
func (l *Link) Heal() { l.set(false, false) }

func (l *Link) set(deaf, mute bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf, l.mute = deaf, mute
	if !deaf && !mute {
		l.cut = false
	}
	for _, c := range l.conns {
		c.wake()
		if !mute && len(c.out) > 0 && !c.sending {
			c.sending = true
			go c.send()
		}
	}
}

// linkConn is one connection over a link, at the process's end.
type linkConn struct {
	net.Conn
	link    *Link
	changed chan struct{} // there may be something to read; has room for one

	// The rest is guarded by the link's lock.
	in      []byte
	err     error // of the newest read
	out     [][]byte
	sending bool
}

func (c *linkConn) wake() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// receive takes what NATS sends, whether it is held back or not.
func (c *linkConn) receive() {
	for b := make([]byte, 32<<10); ; {
		n, err := c.Conn.Read(b)
		c.link.mu.Lock()
		c.in, c.err = append(c.in, b[:n]...), err
		c.wake()
		c.link.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// Read implements net.Conn. A closed connection is noticed even by the deaf.
func (c *linkConn) Read(b []byte) (int, error) {
	for {
		c.link.mu.Lock()
		if !c.link.deaf && len(c.in) > 0 {
			n := copy(b, c.in)
			c.in = c.in[n:]
			c.wake()
			c.link.mu.Unlock()
			return n, nil
		}
		err := c.err
		c.link.mu.Unlock()
		if err != nil {
			c.wake()
			return 0, err
		}
		<-c.changed
	}
}

// Write implements net.Conn.
func (c *linkConn) Write(b []byte) (int, error) {
	c.link.mu.Lock()
	if c.link.mute || c.sending || len(c.out) > 0 {
		c.out = append(c.out, bytes.Clone(b))
		c.link.mu.Unlock()
		return len(b), nil
	}
	c.link.mu.Unlock()
	return c.Conn.Write(b)
}

// send sends what was held back.
func (c *linkConn) send() {
	for {
		c.link.mu.Lock()
		if c.link.mute || len(c.out) == 0 {
			c.sending = false
			c.link.mu.Unlock()
			return
		}
		b := c.out[0]
		c.out = c.out[1:]
		c.link.mu.Unlock()
		if _, err := c.Conn.Write(b); err != nil {
			c.link.mu.Lock()
			c.out, c.sending = nil, false
			c.link.mu.Unlock()
			return
		}
	}
}
