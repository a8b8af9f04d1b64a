//go:build linux

package litestream

import (
	"context"
	"testing"
	"time"
)

// Once somebody has waited for a copy, which is done before a move, what comes to it after that is on the disk before it is asked for: the last of it
// comes while the source still says where it ends. A copy that nobody waits for is written down now and then only.
func TestCopyIsDurableBeforeItIsWanted(t *testing.T) {
	l := newLab(t)
	l.options = func(o *Options) { o.Peace, o.Interval = time.Hour, time.Hour }
	c := l.pair(t, 2)
	fresh := func() (is bool) {
		c.copy.turn <- struct{}{}
		defer func() { <-c.copy.turn }()
		return c.copy.copy.fresh
	}
	step := func(n int) {
		c.app.Write(t, n)
		p, err := c.lead.Sync(limit(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.copy.reach(limit(t), p); err != nil {
			t.Fatal(err)
		}
	}
	step(2)
	soon, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	for fresh() {
		if pause(soon, time.Millisecond); soon.Err() != nil {
			t.Fatal("what came after somebody waited for the copy is not on the disk")
		}
	}
	c.copy.turn <- struct{}{}
	c.copy.near, c.copy.save = time.Time{}, time.Now().Add(time.Hour)
	<-c.copy.turn
	step(3)
	if !fresh() {
		t.Error("each step waits for the disk while nobody waits for the copy")
	}
}
