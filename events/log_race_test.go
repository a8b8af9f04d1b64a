package events_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/events"
)

// Eight replicas with a connection each decide on one aggregate, each on what it has seen so far. Every revision has one winner,
// every decision is stored once, and nobody is told that a stored one was not.
func TestRacingWriters(t *testing.T) {
	const writers, each = 8, 25
	inBubble(t, func(t *testing.T, s *site) {
		race, ctx := errgroup.WithContext(t.Context())
		conflicts := make([]int, writers)
		for w := range writers {
			log, _ := s.open(nil)
			race.Go(func() error {
				seen := follow(ctx, log, 1, log.Subjects.Aggregate(events.Node("node-1")))
				defer func() { _ = seen.stop() }()
				for i := range each {
					for {
						var head events.Head
						seen.mu.Lock()
						next := seen.next
						if n := len(seen.msgs); n > 0 {
							head = headOf(seen.msgs[n-1].Event)
						}
						seen.mu.Unlock()
						_, err := log.Append(ctx, cordon("node-1", fmt.Sprintf("writer %d decision %d", w, i)), head)
						if err == nil {
							break
						}
						if !errors.Is(err, events.ErrConflict) {
							return err
						}
						conflicts[w]++
						if err := moved(ctx, seen, head, next); err != nil {
							return err
						}
					}
				}
				return nil
			})
		}
		if err := race.Wait(); err != nil {
			t.Fatal(err)
		}
		total := 0
		for _, c := range conflicts {
			total += c
		}
		if total == 0 {
			t.Error("no append was refused: nobody raced")
		}
		log, _ := s.open(nil)
		f := follow(t.Context(), log, 1)
		defer func() { _ = f.stop() }()
		won := map[string]int{}
		var head events.Head
		for _, m := range f.await(t, writers*each) {
			if m.Err != nil {
				t.Fatal(m.Err)
			}
			if e := m.Event; e.Rev != head.Rev+1 || e.Prev != head.Hash {
				t.Fatalf("at sequence %d: revision %d behind %d, prev %s behind %s", e.Seq, e.Rev, head.Rev, e.Prev, head.Hash)
			}
			head = headOf(m.Event)
			won[m.Event.Cause]++
		}
		if last, err := log.LastSeq(t.Context()); err != nil || last != writers*each {
			t.Errorf("the log ends at %d, %v, want %d", last, err, writers*each)
		}
		for cause, n := range won {
			if n != 1 {
				t.Errorf("%s is stored %d times", cause, n)
			}
		}
		if len(won) != writers*each {
			t.Errorf("%d decisions are stored, want %d", len(won), writers*each)
		}
	})
}

// moved waits until seen is past head, which the log is known to be.
func moved(ctx context.Context, seen *tail, head events.Head, next chan struct{}) error {
	for {
		seen.mu.Lock()
		n := len(seen.msgs)
		past := n > 0 && seen.msgs[n-1].Event.Seq > head.Seq
		seen.mu.Unlock()
		if past {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next:
		}
		seen.mu.Lock()
		next = seen.next
		seen.mu.Unlock()
	}
}
