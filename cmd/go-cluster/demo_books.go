//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/events"
)

// playBooks reads what the counter and the cluster have written down and compares.
func playBooks(ctx context.Context, d *demo) error {
	text, err := os.ReadFile(d.cluster.home.counterJournal())
	if err != nil {
		return err
	}
	j := readJournal(text)
	err = d.check(len(j.faults) == 0 && len(j.lives) > 1, "counter's journal: every number once, never two processes at a time, epochs rising from grant to grant",
		"no fault", j.summary())
	if err != nil {
		return err
	}
	d.say("How long nothing was counted, at each change of process:")
	for _, l := range j.lives[1:] {
		d.said(fmt.Sprintf("%-6s %-7s %s → %s", millisecond(l.pause), l.why(d.pending), l.before, l))
	}
	books, err := readLog(ctx, d)
	if err != nil {
		return err
	}
	if err := d.check(len(books.faults) == 0 && books.events > 0, "the log: each event holds the hash of the one before it in its aggregate", "no broken link", books.chains()); err != nil {
		return err
	}
	err = d.check(len(books.open) == 0 && len(books.failed) == 0 && books.completed > 0 && books.refused == 1, "every admitted move has ended, and well, but for the one that its app refused",
		"none open, none failed, one refused", fmt.Sprintf("%s; refused: %d; open: %s; failed: %s", count(books.completed, "migration"), books.refused, orNone(books.open), orNone(books.failed)))
	if err != nil {
		return err
	}
	err = d.check(slices.Equal(books.epochs, j.epochs()), "each grant in the log is an epoch in the journal", fmt.Sprintf("epochs %v, as granted", books.epochs),
		fmt.Sprintf("epochs %v", j.epochs()))
	if err != nil {
		return err
	}
	if _, err := d.cli(ctx, exitDone, "migration list"); err != nil {
		return err
	}
	d.closing(fmt.Sprintf("%s, counter never twice and still for at most %s in a move, web never short of a member", count(books.completed, "migration"),
		millisecond(j.longestMove(d.pending))))
	return nil
}

// logBooks is what the event log says about itself.
type logBooks struct {
	events     int
	aggregates map[events.Aggregate]logLink
	faults     []string
	moves      map[string]string // migration → instance, admitted and not ended
	open       []string
	failed     []string
	refused    int // by the app's own hook
	completed  int
	epochs     []uint64 // granted for counter
}

// logLink is the end of an aggregate's chain.
type logLink struct {
	rev  uint64
	hash string
}

var errLogRead = errors.New("the log is read to its end")

// readLog reads the event stream itself, from its first message to its last.
func readLog(ctx context.Context, d *demo) (*logBooks, error) {
	js, err := jetstream.New(d.cluster.at.nc)
	if err != nil {
		return nil, err
	}
	subjects, err := events.NewSubjects(demoName)
	if err != nil {
		return nil, err
	}
	log, err := events.Open(ctx, js, subjects, nil)
	if err != nil {
		return nil, err
	}
	last, err := log.LastSeq(ctx)
	if err != nil {
		return nil, err
	}
	b := newLogBooks()
	err = log.Follow(ctx, 1, nil, func(m events.Message) error {
		b.enter(m)
		if m.Event.Seq >= last {
			return errLogRead
		}
		return nil
	})
	if !errors.Is(err, errLogRead) {
		return nil, err
	}
	b.close()
	return b, nil
}

func (b *logBooks) chains() string {
	if len(b.faults) > 0 {
		return strings.Join(b.faults, "; ")
	}
	return fmt.Sprintf("%s in %s", count(b.events, "event"), count(len(b.aggregates), "chain"))
}
