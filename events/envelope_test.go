package events

import (
	"bytes"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// reader is a decoder with kept texts, as a Log has one.
func reader() *decoder {
	d := new(decoder)
	d.scan.kept = make(kept, keepTexts)
	return d
}

// agree holds the quick decoder against the one that knows all of JSON: whatever it takes, the other takes too, and reads the same. What
// has another id than its content makes is read once more with the right one, so that what is otherwise refused for that is looked at too.
func agree(t interface{ Fatalf(string, ...any) }, d *decoder, subject string, raw []byte) (quickly bool) {
	at, err := ParseEventSubject(subject)
	if err != nil {
		return false
	}
	r := registry[at.Type]
	var w wire[jsontext.Value]
	if json.Unmarshal(raw, &w) == nil && bytes.HasPrefix(raw, []byte(`{"id":"`)) && len(w.ID) == idLen {
		raw = bytes.Clone(raw)
		id := identify(at.Aggregate, w.Rev, at.Type, w.Cause, at.Target)
		copy(raw[len(`{"id":"`):], id[:])
	}
	var got Event
	if !d.quickly(&got, &at, r, raw) {
		if !cmp.Equal(got, Event{}) {
			t.Fatalf("%s\nis not taken, and leaves %+v", raw, got)
		}
		return false
	}
	want, err := decodeSlowly(at, r, raw)
	if err != nil {
		t.Fatalf("%s\non %s is read quickly, and is: %v", raw, subject, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("%s\non %s is read otherwise (+) than it is (-):\n%s", raw, subject, d)
	}
	return true
}

func envelopeSample(t testing.TB) (subject string, raw []byte) {
	e := &Event{TS: time.Date(2026, 1, 15, 10, 30, 0, 120_000_000, time.UTC), Type: "cluster.moves.frozen", V: 1, Rev: 10, Node: "node-2", App: "a", Actor: "cli:ana",
		Cause: "cmd:1", Correlation: "c", Prev: "sha256:0", Stream: "s", Aggregate: Cluster("prod"), Data: &MovesFrozen{Source: "operator", Why: "none"}}
	e.ID = deriveID(e.Aggregate, e.Rev, e.Type, e.Cause, e.Target)
	b, err := encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return e.subject(), b
}

// What we write is read quickly, and of what is not quite that, each byte changed, left out or put in, nothing is read otherwise.
func TestEventsAreReadAlike(t *testing.T) {
	subject, b := envelopeSample(t)
	d := reader()
	if !agree(t, d, subject, b) {
		t.Fatalf("%s\nis not read quickly", b)
	}
	for i := range b {
		agree(t, d, subject, append(bytes.Clone(b[:i]), b[i+1:]...))
		for _, c := range []byte("\x00 \n\"\\,:{}[]0-+.eEZaA\x7f\xff") {
			changed := bytes.Clone(b)
			changed[i] = c
			agree(t, d, subject, changed)
			agree(t, d, subject, append(append(bytes.Clone(b[:i]), c), b[i:]...))
		}
	}
}

// The same of several changes at once, and of any sample.
func TestChangedEventsAreReadAlike(t *testing.T) {
	all, d := samples(), reader()
	rapid.Check(t, func(t *rapid.T) {
		e := rapid.SampledFrom(all).Draw(t, "sample").event()
		raw, err := encode(&e)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			i := rapid.IntRange(0, len(raw)-1).Draw(t, "at")
			with := rapid.SampledFrom([]string{"", " ", `"`, `\"`, `\u0041`, ",", "0", "-", "1e1", "null", "{}", "é", "\x7f", "\xff"}).Draw(t, "with")
			raw = append(append(bytes.Clone(raw[:i]), with...), raw[min(len(raw), i+rapid.IntRange(0, 2).Draw(t, "out")):]...)
		}
		agree(t, d, e.subject(), raw)
	})
}

func FuzzEvents(f *testing.F) {
	all := samples()
	for i, s := range all {
		e := s.event()
		raw, err := encode(&e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), raw)
	}
	d := reader()
	f.Fuzz(func(t *testing.T, i uint8, raw []byte) {
		e := all[int(i)%len(all)].event()
		agree(t, d, e.subject(), raw)
	})
}
