package events

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// writtenAlike holds what is written quickly against the encoder that knows all of JSON: byte for byte.
func writtenAlike(t interface{ Fatalf(string, ...any) }, e *Event) (quickly bool) {
	ts := e.TS.UTC().Truncate(tsPrecision)
	got := write(e, ts)
	if got == nil {
		return false
	}
	want, err := encodeSlowly(e, ts)
	if err != nil {
		t.Fatalf("%s\nis written quickly, and is: %v", got, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("written\n%s\nwant\n%s", got, want)
	}
	return true
}

func TestFormsAreWrittenAlike(t *testing.T) {
	for _, s := range samples() {
		e := s.event()
		raw, err := encodeSlowly(&e, e.TS)
		if err != nil {
			t.Fatal(err)
		}
		if !writtenAlike(t, &e) && !bytes.Contains(raw, []byte(":0.")) {
			t.Errorf("%s is written slowly: %s", e.Type, raw)
		}
		e.Data = registry[e.Type].New() // of what may be left out, nothing is there
		if !writtenAlike(t, &e) && !bytes.Contains(raw, []byte(":0.")) {
			t.Errorf("an empty %s is written slowly", e.Type)
		}
	}
}

// Whatever texts, numbers and times there are, and however many.
func TestValuesAreWrittenAlike(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("a\"\\\n\x00\x7f<&\u2028é\U0001f600")), 0, 8, -1),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.MapOf(text, text)
		when := time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "s"), rapid.Int64Range(0, 1e9).Draw(t, "ns"))
		if rapid.Bool().Draw(t, "utc") {
			when = when.UTC()
		}
		for _, s := range []sample{
			{aggregate: Node("n"), node: text.Draw(t, "node"), data: &NodeLabelsUpdated{Node: text.Draw(t, "n"), Before: texts.Draw(t, "before"), After: texts.Draw(t, "after"), Declared: texts.Draw(t, "declared")}},
			{aggregate: App("a"), app: text.Draw(t, "app"), data: &StepCompleted{Step: Step(text.Draw(t, "step")), OrderSeq: rapid.Uint64().Draw(t, "seq"), TookMS: rapid.Int64().Draw(t, "took"),
				Result: &Result{Ports: rapid.MapOf(text, rapid.Int()).Draw(t, "ports"), Shipped: when, Stored: rapid.Bool().Draw(t, "stored")}}},
			{aggregate: Request("planner"), data: &RequestRefused{Rejections: rapid.SliceOf(rapid.Just(Rejection{Code: "x"})).Draw(t, "rejections")}},
		} {
			e := s.event()
			writtenAlike(t, &e)
		}
	})
}
