package services

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/events"
)

// Fresh is how long a decision that nobody waits for, of a Loop or on a report, may be under way to the log. It rests on more than its
// aggregate, which alone is compared when it is stored: nodes, and who else is on them, go on meanwhile. It is made anew then, and where
// the first was stored after all, the aggregate tells.
const Fresh = 4 * time.Second

// Loop calls decide whenever something it may depend on has changed: the fold, a lease when leases is set, the earliest deadline
// that it last returned (zero: none), and every 15 s. It decides only on a fold that has caught up since the start and since the
// last lost connection. An error of decide is logged and decide called again soon; ErrConflict means that the fold moved on, and
// is not worth a line.
//
// A decision that looks at the fold for long, by Look, is not made again for each of the events that come meanwhile: the loop then
// rests for as long as it looked. The fold stands still for that time, and everybody else in the process would wait. What is waited
// for until a decision is stored keeps nobody.
func (c *Core) Loop(ctx context.Context, leases bool, decide func(context.Context) (wake time.Time, err error)) error {
	reconnected := c.NC.StatusChanged()
	defer c.NC.RemoveStatusListener(reconnected)
	for {
		if !c.caughtUp.Load() {
			c.catchUp(ctx)
			if ctx.Err() != nil {
				return nil
			}
		}
		fold := c.Replica.Changed()
		var seen <-chan struct{}
		if leases {
			seen = c.Seen.Changed()
		}
		c.looked = 0
		wake, err := decide(ctx)
		rest := min(c.looked, longestRest)
		wait := 15 * time.Second
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, events.ErrConflict):
			wait = 50 * time.Millisecond // the newer events arrive by themselves; this is for the case that they just did
		case err != nil:
			c.Log.Warn("decision not stored, deciding again", zap.Error(err))
			wait = time.Second
		case !wake.IsZero():
			if now, sure := c.Seen.Now(); sure {
				wait = min(wait, max(wake.Sub(now), time.Millisecond))
			} else {
				wait = time.Second
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-fold:
		case <-seen:
		case <-timer.C:
		case <-reconnected:
			c.caughtUp.Store(false)
		}
		timer.Stop()
		if rest > shortestRest {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(rest):
			}
		}
	}
}

// Rests of a loop. A decision that takes less than the shortest is made for each event at once.
const (
	shortestRest = 10 * time.Millisecond
	longestRest  = 250 * time.Millisecond
)

// catchUp returns when the fold has everything, or ctx has ended. An outage is worth one line when it begins and one when it is over.
func (c *Core) catchUp(ctx context.Context) {
	var waiting time.Time
	for {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := c.Replica.CatchUp(try, 0)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if !waiting.IsZero() {
				c.Log.Info("caught up with the log again", zap.Duration("after", time.Since(waiting)))
			}
			c.caughtUp.Store(true)
			return
		case waiting.IsZero():
			waiting = time.Now()
			c.Log.Warn("waiting for the log, nothing is decided meanwhile", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(250 * time.Millisecond):
		}
	}
}
