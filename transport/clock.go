package transport

import (
	"sync"
	"time"
)

// clockSlack is how old the newest heartbeat may be, and how far behind its own past the clock may fall, before nothing timed is
// decided.
const clockSlack = 2 * time.Second

// Clock is the clock of the cluster: the stored timestamps of heartbeats, carried on by this machine's CLOCK_BOOTTIME between
// them, never going back. It works because one server, the leader of the stream, stamps them all; when another takes over and
// its clock is behind, time stands still until it has caught up. The zero Clock is ready for use, and safe for concurrent use.
type Clock struct {
	mu     sync.Mutex
	seen   bool
	stored time.Time     // of the newest heartbeat
	at     time.Duration // when it was seen here
	floor  time.Time     // no time before this is told any more
}

// Observe takes a heartbeat that has just been stored, and when it was seen on CLOCK_BOOTTIME. Heartbeats of the past must not be
// fed: they look as if they were now.
func (c *Clock) Observe(stored time.Time, boot time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen {
		// A heartbeat that was held up (by an outage of ours, after which its sender died too) would take time back by as much.
		c.raise(c.estimate(boot))
	}
	c.seen, c.stored, c.at = true, stored, boot
}

// Now returns the cluster's time. sure is false before the first heartbeat, while the newest is 2 s old or older, and while
// the clock is 2 s or more behind what it has told before: nothing timed may be decided then.
func (c *Clock) Now(boot time.Duration) (t time.Time, sure bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.seen {
		return time.Time{}, false
	}
	now := c.estimate(boot)
	c.raise(now)
	return c.floor, boot-c.at < clockSlack && c.floor.Sub(now) < clockSlack
}

func (c *Clock) estimate(boot time.Duration) time.Time { return c.stored.Add(max(0, boot-c.at)) }

func (c *Clock) raise(t time.Time) {
	if t.After(c.floor) {
		c.floor = t
	}
}
