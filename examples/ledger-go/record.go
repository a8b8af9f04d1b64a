//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/cluster"
	"github.com/go-cluster/go-cluster/examples/journal"
	"github.com/go-cluster/go-cluster/examples/ledger"
)

// state is the entries as the records of the log make them. It implements cluster.LogState.
type state struct {
	entries []ledger.Entry
	at      map[number]int // index in entries
}

// number is what a writer calls an entry of its own.
type number struct {
	writer string
	n      int64
}

// Apply implements cluster.LogState. An entry that is there stays what it is.
func (s *state) Apply(_ uint64, record []byte) error {
	var e ledger.Entry
	if err := json.Unmarshal(record, &e); err != nil {
		return err
	}
	if _, there := s.find(e.Writer, e.N); !there {
		e.ID = int64(len(s.entries) + 1)
		s.add(e)
	}
	return nil
}

func (s *state) add(e ledger.Entry) {
	if s.at == nil {
		s.at = map[number]int{}
	}
	s.at[number{e.Writer, e.N}] = len(s.entries)
	s.entries = append(s.entries, e)
}

func (s *state) find(writer string, n int64) (e ledger.Entry, there bool) {
	i, there := s.at[number{writer, n}]
	if there {
		e = s.entries[i]
	}
	return e, there
}

// Snapshot implements cluster.LogState.
func (s *state) Snapshot(w io.Writer) error { return json.MarshalWrite(w, s.entries) }

// Restore implements cluster.LogState.
func (s *state) Restore(r io.Reader) error {
	var all []ledger.Entry
	if err := json.UnmarshalRead(r, &all); err != nil {
		return err
	}
	*s = state{}
	for _, e := range all {
		s.add(e)
	}
	return nil
}

// record is Books in a log, for one term.
type record struct {
	log     *cluster.Log
	state   *state
	here    cluster.Here
	journal *journal.Journal
}

// Post implements ledger.Books.
func (r *record) Post(ctx context.Context, writer string, n int64) (e ledger.Entry, err error) {
	there := false
	look := func() { e, there = r.state.find(writer, n) }
	if err := r.log.View(ctx, look); err != nil || there {
		return e, err
	}
	b, err := json.Marshal(ledger.Entry{Writer: writer, N: n, Node: r.here.Node, Epoch: r.here.Epoch})
	if err != nil {
		return e, err
	}
	if _, err := r.log.Append(ctx, b); err != nil {
		return e, err
	}
	if err := r.log.View(ctx, look); err != nil {
		return e, err
	}
	return e, r.journal.Append(journal.Line{Node: r.here.Node, Epoch: r.here.Epoch, PID: os.Getpid(), N: uint64(e.ID)})
}

// List implements ledger.Books.
func (r *record) List(ctx context.Context) (all []ledger.Entry, err error) {
	err = r.log.View(ctx, func() { all = slices.Clone(r.state.entries) })
	return all, err
}

// Check implements ledger.Books.
func (r *record) Check(ctx context.Context) (verdict string, err error) {
	verdict = "ok"
	err = r.log.View(ctx, func() {
		if len(r.state.at) != len(r.state.entries) {
			verdict = fmt.Sprintf("%d entries under %d numbers", len(r.state.entries), len(r.state.at))
		}
		for i, e := range r.state.entries {
			if e.ID != int64(i+1) {
				verdict = fmt.Sprintf("entry %d is at position %d", e.ID, i+1)
			}
		}
	})
	return verdict, err
}
