package events

import (
	"fmt"
	"strconv"
	"strings"
)

// Position is how far the data of an app have come: everything that was written up to Seq under Epoch. What a Seq counts is the
// business of the kind of replication (SQLite: transactions of Litestream's log; a log: sequences of its stream), and it begins
// anew with each epoch. The zero Position is that of an app that never wrote anything.
type Position struct {
	Epoch uint64
	Seq   uint64
}

// String returns the form that events carry, e.g. "e3:117"; ParsePosition reads it. The zero Position is "".
func (p Position) String() string {
	if p == (Position{}) {
		return ""
	}
	return fmt.Sprintf("e%d:%d", p.Epoch, p.Seq)
}

// Reached says whether whoever is at p has everything up to q of the same epoch. Positions of two epochs are not comparable.
func (p Position) Reached(q Position) bool { return p.Epoch == q.Epoch && p.Seq >= q.Seq }

// ParsePosition reads the form of String, and nothing else.
func ParsePosition(s string) (Position, error) {
	if s == "" {
		return Position{}, nil
	}
	epoch, seq, ok := strings.Cut(strings.TrimPrefix(s, "e"), ":")
	e, err1 := strconv.ParseUint(epoch, 10, 64)
	n, err2 := strconv.ParseUint(seq, 10, 64)
	p := Position{Epoch: e, Seq: n}
	if !ok || err1 != nil || err2 != nil || p.String() != s {
		return Position{}, fmt.Errorf("position %q is not of the form e<epoch>:<sequence>", s)
	}
	return p, nil
}
