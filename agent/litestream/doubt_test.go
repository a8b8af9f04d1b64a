//go:build linux

package litestream

import (
	"context"
	"testing"
	"time"
)

// A step that was stored twice, since its first acknowledgement was lost, is another object under the same name. A copy that was about to
// fetch the first one fetches the second, though nobody asks it for a position and nothing else is written.
func TestStepThatWasStoredAgain(t *testing.T) {
	l := newLab(t)
	l.options = func(o *Options) { o.Interval = time.Hour }
	c := l.pair(t, 2)
	f := c.copy
	f.turn <- struct{}{}
	c.app.Write(t, 2)
	p, err := c.lead.Sync(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	for soon.Err() == nil {
		if step, ok := f.files.newest(); ok && step.last == p.Seq {
			step.nuid = "gone"
			f.files.add(step)
			break
		}
		pause(soon, time.Millisecond)
	}
	<-f.turn
	for {
		f.mu.Lock()
		at, moved := f.state.Position, f.moved
		f.mu.Unlock()
		if at.Reached(p) {
			return
		}
		select {
		case <-moved:
		case <-soon.Done():
			t.Fatalf("it is at %s, and %s is stored: %+v", at, p, f.Status())
		}
	}
}
