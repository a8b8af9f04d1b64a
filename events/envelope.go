package events

import (
	"encoding/binary"
	"math/bits"
	"time"
)

// envelope is what stands around the data of an event.
type envelope struct {
	id                                                 []byte
	ts                                                 time.Time
	app, node, actor, cause, correlation, prev, stream string
	v                                                  int
	rev                                                uint64
}

// envelope reads the envelope of an event of a type in exactly the form which encode gives it, up to its data. It has s say no to
// everything else, also to what is well-formed: the decoder that knows all of JSON is asked then.
func (s *scan) envelope(e *envelope, r *Row) {
	s.skip(`{"id":"`)
	e.id = s.quoted()
	e.ts = s.time(`,"ts":"`)
	s.skip(r.words)
	e.app, e.node = s.maybe(`,"app":"`), s.maybe(`,"node":"`)
	v, rev := s.number(`,"v":`), s.number(`,"rev":`)
	e.actor = s.word(`,"actor":"`)
	e.cause, e.correlation = s.maybe(`,"cause":"`), s.maybe(`,"correlation":"`)
	e.prev, e.stream = s.maybe(`,"prev":"`), s.maybe(`,"stream":"`)
	s.skip(`,"data":`)
	if v > 1<<30 {
		s.ok = false
	}
	e.v, e.rev = int(v), rev
}

// scan takes one piece of a text after the other; ok is false once anything was not as wanted.
type scan struct {
	text []byte
	at   int // of what is next
	ok   bool
	kept kept
}

// begin starts anew with another text.
func (s *scan) begin(text []byte) { s.text, s.at, s.ok = text, 0, true }

// has takes the literal if it is next.
func (s *scan) has(literal string) bool {
	end := s.at + len(literal)
	if end > len(s.text) || string(s.text[s.at:end]) != literal {
		return false
	}
	s.at = end
	return true
}

func (s *scan) skip(literal string) { s.ok = s.has(literal) && s.ok }

// Of eight bytes at once: the lowest, and the highest bit of each.
const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
)

// quoted takes a string of ASCII in which nothing is escaped, to its closing quote. The result is a part of the text.
func (s *scan) quoted() []byte {
	if !s.ok {
		return nil
	}
	b, start := s.text, s.at
	i := start
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, escape := w^('"'*lows), w^('\\'*lows)
		// The high bits of the bytes that are not just a letter: the lowest one is certain.
		odd := ((quote-lows)&^quote | (escape-lows)&^escape | (w-' '*lows)&^w | w) & highs
		if odd != 0 {
			i += bits.TrailingZeros64(odd) / 8
			break
		}
	}
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			s.at = i + 1
			return b[start:i]
		case c < ' ' || c > 0x7f || c == '\\':
			s.ok = false
			return nil
		}
	}
	s.ok = false
	return nil
}

// word takes such a string behind what stands before it, which ends with the opening quote.
func (s *scan) word(before string) string {
	s.skip(before)
	return s.kept.ofBytes(s.quoted())
}

// maybe is word for a member that is left out when it is empty.
func (s *scan) maybe(before string) string {
	if !s.has(before) {
		return ""
	}
	return s.kept.ofBytes(s.quoted())
}

// number takes digits as they are written without need: none before the first but for zero itself.
func (s *scan) number(before string) (v uint64) {
	s.skip(before)
	first := s.at
	for ; s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9'; s.at++ {
		v = 10*v + uint64(s.text[s.at]-'0')
	}
	n := s.at - first
	if !s.ok || n == 0 || n > len("999999999999999999") || n > 1 && s.text[first] == '0' {
		s.ok = false
		return 0
	}
	return v
}

// time takes a time in UTC.
func (s *scan) time(before string) time.Time {
	s.skip(before)
	year, month, day := s.digits(4, '-'), s.digits(2, '-'), s.digits(2, 'T')
	hour, minute, second := s.digits(2, ':'), s.digits(2, ':'), s.digits(2, 0)
	nanos, unit := 0, 100_000_000
	if s.has(".") {
		for ; unit > 0 && s.at < len(s.text) && '0' <= s.text[s.at] && s.text[s.at] <= '9'; unit /= 10 {
			nanos += unit * int(s.text[s.at]-'0')
			s.at++
		}
		s.ok = s.ok && unit < 100_000_000
	}
	s.skip(`Z"`)
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	if _, m, d := t.Date(); m != time.Month(month) || d != day || hour > 23 || minute > 59 || second > 59 { // no such time
		s.ok = false
	}
	return t
}

// digits takes as many digits and what stands behind them, 0 for nothing.
func (s *scan) digits(n int, behind byte) (v int) {
	end := s.at + n
	if end >= len(s.text) {
		s.ok = false
		return 0
	}
	for _, c := range s.text[s.at:end] {
		if c < '0' || c > '9' {
			s.ok = false
			return 0
		}
		v = 10*v + int(c-'0')
	}
	if s.at = end; behind != 0 {
		s.ok = s.ok && s.text[end] == behind
		s.at++
	}
	return v
}
