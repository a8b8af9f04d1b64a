package sim

import (
	"bytes"
	"errors"
	"math/rand/v2"
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
	noise *Noise
	rnd   *rand.Rand
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
	server := l.to()
	if server == nil {
		return nil, errors.New("nobody listens")
	}
	c, err := server.InProcessConn()
	if err != nil {
		return nil, err
	}
	lc := &linkConn{Conn: c, link: l, changed: make(chan struct{}, 1)}
	if l.noise != nil {
		lc.from, lc.to = newNoise(l.noise, l.rnd.Uint64(), lc.hear), newNoise(l.noise, l.rnd.Uint64(), lc.say)
	}
	go lc.receive()
	l.conns = append(l.conns, lc)
	return lc, nil
}

// Clear says whether anything gets through, both ways.
func (l *Link) Clear() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.cut && !l.deaf && !l.mute && l.to() != nil
}

// Cut ends every connection and refuses new ones.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	l.drop()
}

// Drop ends every connection.
func (l *Link) Drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

func (l *Link) drop() {
	for _, c := range l.conns {
		_ = c.Conn.Close()
	}
	l.conns = nil
}

// Noisy ends every connection; the next ones lose, repeat and delay messages.
func (l *Link) Noisy(n Noise) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noise, l.rnd = &n, rand.New(rand.NewPCG(n.Seed, 0))
	l.drop()
}

// Hold holds back everything, both ways, until Heal: so a process that is stopped for a while looks to everybody else.
func (l *Link) Hold() { l.set(true, true) }

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
		l.cut, l.noise = false, nil
	}
	for _, c := range l.conns {
		c.quieten(l.noise)
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
	from    *noise        // of a bad network: what comes
	to      *noise        // and what goes

	// The rest is guarded by the link's lock.
	in      []byte
	err     error // of the newest read
	out     [][]byte
	sending bool
}

// quieten changes the noise of a connection that has any.
func (c *linkConn) quieten(how *Noise) {
	for _, n := range []*noise{c.from, c.to} {
		if n != nil {
			n.how.Store(how)
		}
	}
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
		if c.from != nil {
			c.from.pass(b[:n])
		} else {
			c.hear(b[:n])
		}
		if err != nil {
			c.link.mu.Lock()
			c.err = err
			c.wake()
			c.link.mu.Unlock()
			return
		}
	}
}

// hear keeps what has come until it is read.
func (c *linkConn) hear(b []byte) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.in = append(c.in, b...)
	c.wake()
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

// Write implements net.Conn. A bad network says that all is well.
func (c *linkConn) Write(b []byte) (int, error) {
	if c.to != nil {
		c.to.pass(b)
		return len(b), nil
	}
	c.link.mu.Lock()
	if c.link.mute || c.sending || len(c.out) > 0 {
		c.out = append(c.out, bytes.Clone(b))
		c.link.mu.Unlock()
		return len(b), nil
	}
	c.link.mu.Unlock()
	return c.Conn.Write(b)
}

// say queues what a bad network lets through: messages that are late come from goroutines of their own, and must not cut into
// another.
func (c *linkConn) say(b []byte) {
	c.link.mu.Lock()
	defer c.link.mu.Unlock()
	c.out = append(c.out, b)
	if !c.link.mute && !c.sending {
		c.sending = true
		go c.send()
	}
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
