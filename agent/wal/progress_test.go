package wal

import (
	"testing"
	"testing/synctest"
)

// What a log says of itself is where it is, on both ends, and what it cost.
func TestProgress(t *testing.T) {
	inBubble(t, func(w *world) {
		a, _ := w.open(-1)
		b, bs := w.open(-1)
		go func() { _ = b.Follow(w.ctx) }()
		w.must(a.Begin(w.ctx, 3))
		w.append(a, 3, "one", "three")
		synctest.Wait()
		if got, want := a.Progress(), (Progress{Epoch: 3, Seq: 3, Stored: 8}); got != want {
			t.Errorf("the active: %+v, want %+v", got, want)
		}
		if got, want := b.Progress(), (Progress{Epoch: 3, Seq: 3, Followed: 8}); got != want {
			t.Errorf("the standby: %+v, want %+v", got, want)
		}
		late, lates := w.open(-1)
		w.has(late, lates, "one", "three")
		w.append(a, 3, "four", "and")
		synctest.Wait() // the standby has them: a snapshot takes records away, and who is behind it then is restored from it
		w.must(a.Snapshot(w.ctx))
		w.append(a, 3, "five")
		w.has(b, bs, "one", "three", "four", "and", "five")
		w.has(late, lates, "one", "three", "four", "and", "five")
		if got := late.Progress(); got.Resyncs != 1 || got.Seq != 6 || got.Lag != 0 {
			t.Errorf("one that was away: %+v", got)
		}
		if got := b.Progress(); got.Resyncs != 0 {
			t.Errorf("one that was not: %+v", got)
		}
	})
}
