package events

import (
	"bytes"
	"strconv"
	"time"
)

// quick reads the envelope of an event that has exactly the form which encode gives it, and returns its data as it stands there. It
// says no to everything else, also to what is well-formed: the decoder that knows all of JSON is asked then.
func quick(b []byte) (w wire[[]byte], ok bool) {
	s := scan{rest: b, ok: true}
	w.ID = s.text(`{"id":"`)
	ts := s.text(`,"ts":"`)
	w.Category, w.Action = s.text(`,"category":"`), s.text(`,"action":"`)
	w.App, w.Node = s.maybe(`,"app":"`), s.maybe(`,"node":"`)
	v, rev := s.number(`,"v":`), s.number(`,"rev":`)
	w.Actor = s.text(`,"actor":"`)
	w.Cause, w.Correlation, w.Prev, w.Stream = s.maybe(`,"cause":"`), s.maybe(`,"correlation":"`), s.maybe(`,"prev":"`), s.maybe(`,"stream":"`)
	s.skip(`,"data":`)
	n := len(s.rest) - 1
	if !s.ok || n < 2 || s.rest[0] != '{' || s.rest[n-1] != '}' || s.rest[n] != '}' {
		return w, false
	}
	t, err := time.Parse("2006-01-02T15:04:05.999999999Z", ts)
	if err != nil || !wellFormed(ts) || v > 1<<30 {
		return w, false
	}
	w.TS, w.V, w.Rev, w.Data = t, int(v), rev, s.rest[:n]
	return w, true
}

// wellFormed says whether a time that time.Parse took has two digits where they belong, and a point before the fraction.
func wellFormed(ts string) bool {
	const shape = "0000-00-00T00:00:00"
	for i := range len(ts) - 1 {
		switch c := ts[i]; {
		case i == len(shape):
			if c != '.' {
				return false
			}
		case i > len(shape) || shape[i] == '0':
			if c < '0' || c > '9' {
				return false
			}
		case c != shape[i]:
			return false
		}
	}
	return len(ts) > len(shape) && len(ts) <= len(shape)+len(".123456789Z")
}

// scan takes one member of an object after the other; ok is false once anything was not as wanted.
type scan struct {
	rest []byte
	ok   bool
}

func (s *scan) skip(literal string) {
	if !s.ok || len(s.rest) < len(literal) || string(s.rest[:len(literal)]) != literal {
		s.ok = false
		return
	}
	s.rest = s.rest[len(literal):]
}

// text takes a member whose value is a string of printable ASCII in which nothing is escaped. before ends with the opening quote.
func (s *scan) text(before string) string {
	s.skip(before)
	if !s.ok {
		return ""
	}
	end := bytes.IndexByte(s.rest, '"')
	if end < 0 {
		s.ok = false
		return ""
	}
	value := s.rest[:end]
	for _, c := range value {
		if c < ' ' || c > '~' || c == '\\' {
			s.ok = false
			return ""
		}
	}
	s.rest = s.rest[end+1:]
	return string(value)
}

// maybe is text for a member that is left out when it is empty.
func (s *scan) maybe(before string) string {
	if !bytes.HasPrefix(s.rest, []byte(before)) {
		return ""
	}
	return s.text(before)
}

func (s *scan) number(before string) uint64 {
	s.skip(before)
	n := 0
	for n < len(s.rest) && '0' <= s.rest[n] && s.rest[n] <= '9' {
		n++
	}
	if !s.ok || n == 0 || n > 1 && s.rest[0] == '0' {
		s.ok = false
		return 0
	}
	v, err := strconv.ParseUint(string(s.rest[:n]), 10, 64)
	s.rest, s.ok = s.rest[n:], err == nil
	return v
}
