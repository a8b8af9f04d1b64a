package events_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/go-cluster/go-cluster/events"
)

// Any event is found by its id, however many came after it, and only before the sequence that is said. What is not there is said so.
func TestFind(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site) {
		log, _ := s.open(nil)
		var (
			head   events.Head
			stored []events.Event
		)
		for i := range 1200 {
			e := mustAppend(t, log, events.Draft{Aggregate: events.App("convex"), App: "convex", Actor: "cli:ana", Cause: fmt.Sprint("cmd:", i),
				Data: &events.AppRestartRequested{Generation: uint64(i + 1)}}, head)
			stored, head = append(stored, e), headOf(e)
		}
		last := stored[len(stored)-1].Seq
		for _, i := range []int{0, 1, 430, 431, 432, 943, 944, 1198, 1199} {
			want := stored[i]
			got, err := log.Find(t.Context(), want.ID, last+1)
			if err != nil || got.Seq != want.Seq || got.Actor != want.Actor {
				t.Errorf("find %d: got %d (%v)", want.Seq, got.Seq, err)
			}
			if got, err := log.Find(t.Context(), want.ID, want.Seq); !errors.Is(err, events.ErrNoEvent) {
				t.Errorf("find %d before itself: got %d (%v)", want.Seq, got.Seq, err)
			}
			if got, err := log.At(t.Context(), want.Seq); err != nil || got.ID != want.ID {
				t.Errorf("at %d: got %s (%v)", want.Seq, got.ID, err)
			}
		}
		if _, err := log.At(t.Context(), last+1); !errors.Is(err, events.ErrNoEvent) {
			t.Errorf("behind the end: %v", err)
		}
		if !events.IsID(stored[0].ID) || events.IsID("cmd:1") || events.IsID("") || events.IsID("ABCDEF0123456789ABCD") {
			t.Error("ids are told from other causes by their form")
		}
	})
}
