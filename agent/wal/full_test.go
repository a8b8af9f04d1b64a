package wal

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

// A snapshot for which there is no room leaves none of itself behind, and is not tried with every record: both would take the room that the
// log itself needs.
func TestSnapshotWithoutRoom(t *testing.T) {
	inBubble(t, func(w *world) {
		l, _ := w.open(3)
		stream, err := w.js().CreateStream(w.ctx, jetstream.StreamConfig{Name: l.snapName, Subjects: []string{l.snapSubject + ".>"},
			Storage: jetstream.FileStorage, MaxBytes: 1 << 20, Discard: jetstream.DiscardNew})
		w.must(err)
		w.must(l.Begin(w.ctx, 1))
		for range 4 {
			w.append(l, 1, strings.Repeat("x", 600<<10))
			l.Wait()
		}
		info, err := stream.Info(w.ctx)
		w.must(err)
		if n := info.State.Msgs; n != 0 {
			t.Errorf("%d parts are left", n)
		}
		if last := info.State.LastSeq; last != 1 {
			t.Errorf("%d parts were stored, want those of one try", last)
		}
	})
}
