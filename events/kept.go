package events

import (
	"hash/maphash"
	"strings"
)

// kept keeps texts that were read a short while ago. A log names the same apps, nodes, incarnations and causes over and over, and
// what one event is, the next one of its aggregate calls its predecessor: each is allocated once, and whoever keeps a text keeps just
// that, not the message that it came in. It is as large as it is at the start: a text takes the place of another.
//
// One without room (nil) keeps nothing.
type kept []string

const (
	keepTexts   = 1024 // a power of two
	longestText = 80   // of a text that is worth it; that of a hash is among them
)

var keptSeed = maphash.MakeSeed()

// ofBytes returns b as a text.
func (k kept) ofBytes(b []byte) string {
	if len(k) == 0 || len(b) > longestText {
		return string(b)
	}
	slot := &k[maphash.Bytes(keptSeed, b)&(keepTexts-1)]
	if *slot != string(b) {
		*slot = string(b)
	}
	return *slot
}

// of returns a text that keeps alive nothing else.
func (k kept) of(text string) string {
	if len(k) == 0 || len(text) > longestText {
		return text
	}
	slot := &k[maphash.String(keptSeed, text)&(keepTexts-1)]
	if *slot != text {
		*slot = strings.Clone(text)
	}
	return *slot
}
