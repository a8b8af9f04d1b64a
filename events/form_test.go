package events

import (
	"bytes"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

// alike holds the form of a type against the decoder that knows all of JSON: whatever it takes, the other takes too, and reads the same.
func alike(t *testing.T, r Row, data []byte) (taken bool) {
	t.Helper()
	var s scan
	s.begin(data)
	got, into := r.fresh()
	if r.form(&s, into); !s.ok || len(data) > s.at {
		return false
	}
	want := r.New()
	if err := json.Unmarshal(data, want); err != nil {
		t.Fatalf("%s\nis taken for %s, and is: %v", data, r.Type, err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("%s\nis read otherwise (+) than it is (-):\n%s", data, d)
	}
	return true
}

// What is written of each type is read by its form as it is, and of what is not quite that, each byte changed, left out or put in,
// nothing is read otherwise.
func TestFormsReadAlike(t *testing.T) {
	for _, r := range Registry() {
		if r.form == nil {
			t.Errorf("%s has no form: it is read slowly", r.Type)
		}
	}
	for _, s := range samples() {
		e := s.event()
		r, b := *registry[e.Type], encoded(t, s.data)
		alike(t, r, b)
		for i := range b {
			c := "\x00 \n\"\\,:{}[]0-+.eEZaA\x7f\xff"[i%22]
			changed := bytes.Clone(b)
			changed[i] = c
			alike(t, r, changed)
			alike(t, r, append(append(bytes.Clone(b[:i]), c), b[i:]...))
			alike(t, r, append(bytes.Clone(b[:i]), b[i+1:]...))
		}
	}
}

// What is written is taken whole, so that it is not read twice, but for numbers with a fraction.
func TestWhatIsWrittenIsReadQuickly(t *testing.T) {
	for _, s := range samples() {
		e := s.event()
		raw, err := encode(&e)
		if err != nil {
			t.Fatal(err)
		}
		at, err := ParseEventSubject(e.subject())
		if err != nil {
			t.Fatal(err)
		}
		if !new(decoder).quickly(new(Event), &at, registry[e.Type], raw) && !bytes.Contains(raw, []byte(":0.")) {
			t.Errorf("%s is read slowly: %s", e.Type, raw)
		}
	}
}

func encoded(t *testing.T, data any) []byte {
	t.Helper()
	b, err := json.Marshal(data, json.Deterministic(true))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzForms(f *testing.F) {
	all := payloads(f)
	f.Fuzz(func(t *testing.T, i uint8, data []byte) {
		alike(t, *registry[all[int(i)%len(all)].event().Type], data)
	})
}
