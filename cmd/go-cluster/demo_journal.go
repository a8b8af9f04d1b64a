//go:build linux

package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/examples/journal"
)

// journalBooks is what the counter's journal proves. The journal is written by the app alone, with the clock of the machine that all
// its lives share.
type journalBooks struct {
	lines  int
	torn   bool // the line before this one has no number: its writer was killed meanwhile
	lives  []life
	faults []string
}

// life is one process of the counter, from its first number to its last.
type life struct {
	node        string
	epoch       uint64
	pid         int
	first, last journal.Line
	pause       time.Duration // since the last number of the life before
	before      *life
}

// String names the life.
func (l life) String() string { return fmt.Sprintf("%s epoch %d pid %d", l.node, l.epoch, l.pid) }

// why says what lay between a life and the one before it. pending is the epoch that ended a time without a node.
func (l life) why(pending uint64) string {
	switch {
	case l.epoch == l.before.epoch:
		return "kill -9"
	case l.epoch == pending:
		return "pending"
	}
	return "move"
}

// readJournal judges a journal: numbers rise by one and times by something, each life writes without another's lines between its
// own, and epochs rise whenever the node changes. A process that was restarted where it was keeps its epoch.
func readJournal(text []byte) journalBooks {
	var (
		b    journalBooks
		prev journal.Line
	)
	for raw := range bytes.Lines(text) {
		var l journal.Line
		if json.Unmarshal(raw, &l) != nil {
			b.torn = true
			continue
		}
		b.lines++
		if l.N != prev.N+1 {
			b.fault("number %d comes after %d", l.N, prev.N)
		}
		if l.Boottime <= prev.Boottime {
			b.fault("number %d was written %s before the number ahead of it", l.N, time.Duration(prev.Boottime-l.Boottime))
		}
		b.live(l, prev)
		prev = l
	}
	return b
}

// live adds a line to the present life, or begins another.
func (b *journalBooks) live(l, prev journal.Line) {
	if n := len(b.lives); n > 0 {
		if now := &b.lives[n-1]; now.pid == l.PID && now.epoch == l.Epoch && now.node == l.Node {
			now.last = l
			if b.torn {
				b.fault("%s lived on after a torn line before %d", now, l.N)
				b.torn = false
			}
			return
		}
	}
	b.torn = false
	next := life{node: l.Node, epoch: l.Epoch, pid: l.PID, first: l, last: l}
	if n := len(b.lives); n > 0 {
		old := b.lives[n-1]
		next.pause, next.before = time.Duration(l.Boottime-prev.Boottime), &old
		switch {
		case l.Epoch < old.epoch:
			b.fault("epoch %d after %d", l.Epoch, old.epoch)
		case l.Epoch == old.epoch && l.Node != old.node:
			b.fault("epoch %d on %s and on %s", l.Epoch, old.node, l.Node)
		}
		if slices.ContainsFunc(b.lives, func(o life) bool { return o.pid == l.PID && o.epoch == l.Epoch && o.node == l.Node }) {
			b.fault("%s wrote %d after another life had begun: two at once", next, l.N)
		}
	}
	b.lives = append(b.lives, next)
}

func (b *journalBooks) fault(format string, args ...any) {
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

// epochs lists each epoch that wrote, in order.
func (b *journalBooks) epochs() []uint64 {
	var out []uint64
	for _, l := range b.lives {
		out = append(out, l.epoch)
	}
	return slices.Compact(out)
}

// longestMove is the longest pause that a move made.
func (b *journalBooks) longestMove(pending uint64) time.Duration {
	var longest time.Duration
	for _, l := range b.lives {
		if l.before != nil && l.why(pending) == "move" {
			longest = max(longest, l.pause)
		}
	}
	return longest
}

func (b *journalBooks) summary() string {
	if len(b.faults) > 0 {
		return strings.Join(b.faults, "; ")
	}
	return fmt.Sprintf("%d numbers by %d processes under epochs %v", b.lines, len(b.lives), b.epochs())
}
