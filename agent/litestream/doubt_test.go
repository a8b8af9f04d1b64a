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
	r1, d1 := l.Machine(t, "one")
	r2, d2 := l.Machine(t, "two")
	a := l.Open(t, d1)
	lead := l.lead(t, r1, d1, 1)
	a.Write(t, 1)
	p, err := lead.Sync(limit(t))
	if err != nil {
		t.Fatal(err)
	}
	f := l.follow(t, r2, d2, 1)
	if _, err := f.CatchUp(limit(t), p); err != nil {
		t.Fatal(err)
	}
	f.turn <- struct{}{}
	a.Write(t, 2)
	if p, err = lead.Sync(limit(t)); err != nil {
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
