//go:build linux

package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/go-cluster/go-cluster/events"
)

func newLogBooks() *logBooks {
	return &logBooks{aggregates: map[events.Aggregate]logLink{}, moves: map[string]string{}}
}

// enter takes the messages of the log in their order. The hash is computed here, of the bytes as they are stored: what the event
// says of itself is not believed.
func (b *logBooks) enter(m events.Message) {
	e := m.Event
	if m.Err != nil {
		b.faults = append(b.faults, m.Err.Error())
		return
	}
	b.events++
	before := b.aggregates[e.Aggregate]
	if e.Rev != before.rev+1 || e.Prev != before.hash {
		b.faults = append(b.faults, fmt.Sprintf("event %d of %s is revision %d after %q, want %d after %q", e.Seq, e.Aggregate, e.Rev, e.Prev, before.rev+1, before.hash))
	}
	sum := sha256.Sum256(m.Raw)
	b.aggregates[e.Aggregate] = logLink{rev: e.Rev, hash: "sha256:" + hex.EncodeToString(sum[:])}
	switch data := e.Data.(type) {
	case *events.PlanAdmitted:
		for _, mv := range data.Moves {
			b.moves[mv.Migration] = mv.Instance
		}
	case *events.MigrationCompleted:
		b.end(e.Seq, data.Migration)
		b.completed++
	case *events.MigrationFailed:
		b.end(e.Seq, data.Migration)
		if data.Code == events.HookVetoed { // the app's own word: it stays where it is
			b.refused++
			break
		}
		b.failed = append(b.failed, data.Instance+": "+data.Detail)
	case *events.LeadershipGranted:
		if e.App == "counter" {
			b.epochs = append(b.epochs, data.Epoch)
		}
	}
}

func (b *logBooks) end(seq uint64, migration string) {
	if _, admitted := b.moves[migration]; !admitted {
		b.faults = append(b.faults, fmt.Sprintf("event %d ends migration %s, which was not admitted or has ended before", seq, migration))
	}
	delete(b.moves, migration)
}

// close counts what is left.
func (b *logBooks) close() {
	for id, instance := range b.moves {
		b.open = append(b.open, instance+" ("+id+")")
	}
	slices.Sort(b.open)
}
