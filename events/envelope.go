package events

import (
	"bytes"
	"time"
)

// quick reads the envelope of an event that has exactly the form which encode gives it, and returns its data as it stands there. It
// says no to everything else, also to what is well-formed: the decoder that knows all of JSON is asked then. at is what the subject
// says; the event may say otherwise.
func quick(b []byte, at At) (w wire[[]byte], ok bool) {
	s := scan{rest: b, ok: true}
	w.ID = s.text(`{"id":"`, "")
	w.TS = s.time(`,"ts":"`)
	w.Category, w.Action = s.text(`,"category":"`, at.Type.Category()), s.text(`,"action":"`, at.Type.Action())
	w.App, w.Node = s.maybe(`,"app":"`, at.Aggregate.ID), s.maybe(`,"node":"`, at.Target)
	v, rev := s.number(`,"v":`), s.number(`,"rev":`)
	w.Actor = s.text(`,"actor":"`, Migrator)
	w.Cause, w.Correlation = s.maybe(`,"cause":"`, ""), s.maybe(`,"correlation":"`, w.Cause)
	w.Prev, w.Stream = s.maybe(`,"prev":"`, ""), s.maybe(`,"stream":"`, "")
	s.skip(`,"data":`)
	n := len(s.rest) - 1
	if !s.ok || n < 2 || s.rest[0] != '{' || s.rest[n-1] != '}' || s.rest[n] != '}' || v > 1<<30 {
		return w, false
	}
	w.V, w.Rev, w.Data = int(v), rev, s.rest[:n]
	return w, true
}

// time takes a time in UTC.
func (s *scan) time(before string) time.Time {
	s.skip(before)
	year, month, day := s.digits(4, '-'), s.digits(2, '-'), s.digits(2, 'T')
	hour, minute, second := s.digits(2, ':'), s.digits(2, ':'), s.digits(2, 0)
	nanos, unit := 0, 100_000_000
	if s.has(".") {
		for ; unit > 0 && len(s.rest) > 0 && '0' <= s.rest[0] && s.rest[0] <= '9'; unit /= 10 {
			nanos += unit * int(s.rest[0]-'0')
			s.rest = s.rest[1:]
		}
		s.ok = s.ok && unit < 100_000_000
	}
	s.skip(`Z"`)
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	if m, d := t.Month(), t.Day(); m != time.Month(month) || d != day || hour > 23 || minute > 59 || second > 59 { // no such time
		s.ok = false
	}
	return t
}

// digits takes as many digits and what stands behind them, 0 for nothing.
func (s *scan) digits(n int, behind byte) (v int) {
	for i := range n {
		if i >= len(s.rest) || s.rest[i] < '0' || s.rest[i] > '9' {
			s.ok = false
			return 0
		}
		v = 10*v + int(s.rest[i]-'0')
	}
	s.rest = s.rest[n:]
	if behind != 0 {
		s.ok = s.ok && len(s.rest) > 0 && s.rest[0] == behind
		s.rest = s.rest[min(1, len(s.rest)):]
	}
	return v
}

// scan takes one piece of a text after the other; ok is false once anything was not as wanted.
type scan struct {
	rest []byte
	ok   bool
}

// has takes the literal if it is next.
func (s *scan) has(literal string) bool {
	if len(s.rest) < len(literal) || string(s.rest[:len(literal)]) != literal {
		return false
	}
	s.rest = s.rest[len(literal):]
	return true
}

func (s *scan) skip(literal string) { s.ok = s.has(literal) && s.ok }

// text takes a string of printable ASCII in which nothing is escaped, behind what stands before it, which ends with the opening
// quote. Where it is the same as likely, that is returned, for which nothing is allocated.
func (s *scan) text(before, likely string) string {
	s.skip(before)
	if !s.ok {
		return ""
	}
	for end, c := range s.rest {
		switch {
		case c == '"':
			value := s.rest[:end]
			s.rest = s.rest[end+1:]
			if string(value) == likely {
				return likely
			}
			return string(value)
		case c < ' ' || c > '~' || c == '\\':
			s.ok = false
			return ""
		}
	}
	s.ok = false
	return ""
}

// maybe is text for a member that is left out when it is empty.
func (s *scan) maybe(before, likely string) string {
	if !bytes.HasPrefix(s.rest, []byte(before)) {
		return ""
	}
	return s.text(before, likely)
}

// number takes digits as they are written without need: none before the first but for zero itself.
func (s *scan) number(before string) (v uint64) {
	s.skip(before)
	n := 0
	for ; n < len(s.rest) && '0' <= s.rest[n] && s.rest[n] <= '9'; n++ {
		v = 10*v + uint64(s.rest[n]-'0')
	}
	if !s.ok || n == 0 || n > len("999999999999999999") || n > 1 && s.rest[0] == '0' {
		s.ok = false
		return 0
	}
	s.rest = s.rest[n:]
	return v
}
