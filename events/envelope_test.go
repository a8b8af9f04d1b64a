package events

import (
	"bytes"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// agree holds the quick reader against the one that knows all of JSON: whatever it takes, the other takes too, and reads the same.
func agree(t *testing.T, b []byte) (quickly bool) {
	t.Helper()
	q, ok := quick(b, At{Aggregate: Cluster("prod"), Type: "cluster.moves.frozen"})
	var data any
	if !ok || json.Unmarshal(q.Data, &data) != nil {
		return false
	}
	var w wire[jsontext.Value]
	if err := json.Unmarshal(b, &w); err != nil {
		t.Fatalf("%s\nis read quickly, and is: %v", b, err)
	}
	if !bytes.Equal(q.Data, w.Data) {
		t.Fatalf("%s\ndata %s, want %s", b, q.Data, w.Data)
	}
	w.TS = w.TS.UTC()
	if got, want := envelope(q), envelope(w); !cmp.Equal(got, want) {
		t.Fatalf("%s\n%s", b, cmp.Diff(want, got))
	}
	return true
}

func envelopeSample(t testing.TB) []byte {
	e := &Event{TS: time.Date(2026, 1, 15, 10, 30, 0, 120_000_000, time.UTC), Type: "cluster.moves.frozen", V: 1, Rev: 10, Node: "node-2", App: "a", Actor: "cli:ana",
		Cause: "cmd:1", Correlation: "c", Prev: "sha256:0", Stream: "s", Aggregate: Cluster("prod"), Data: &MovesFrozen{Source: "operator", Why: "a \"word\""}}
	e.ID = deriveID(e.Aggregate, e.Rev, e.Type, e.Cause, e.Target)
	b, err := encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What we write is read quickly, and of what is not quite that, each byte changed, left out or put in, nothing is read otherwise.
func TestEnvelopeIsReadAlike(t *testing.T) {
	b := envelopeSample(t)
	if !agree(t, b) {
		t.Fatalf("%s\nis not read quickly", b)
	}
	for i := range b {
		agree(t, append(bytes.Clone(b[:i]), b[i+1:]...))
		for _, c := range []byte("\x00 \n\"\\,:{}[]0-+.eEZaA\x7f\xff") {
			changed := bytes.Clone(b)
			changed[i] = c
			agree(t, changed)
			agree(t, append(append(bytes.Clone(b[:i]), c), b[i:]...))
		}
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add(envelopeSample(f))
	f.Fuzz(func(t *testing.T, b []byte) { agree(t, b) })
}
