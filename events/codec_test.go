package events

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
)

// cordoned is a well-formed message and its subject.
func cordoned(t testing.TB) (subject, raw string) {
	t.Helper()
	s := sample{aggregate: Node("node-2"), node: "node-2", data: &NodeCordoned{Node: "node-2"}}
	e := s.event()
	b, err := encode(&e)
	if err != nil {
		t.Fatal(err)
	}
	return e.subject(), string(b)
}

// labelled is a message with these labels, which may be malformed.
func labelled(t testing.TB, labels string) string {
	t.Helper()
	s := sample{aggregate: Node("node-2"), node: "node-2", data: &NodeLabelsUpdated{Node: "node-2", Before: map[string]string{}, After: map[string]string{"x": "y"}}}
	e := s.event()
	b, err := encode(&e)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(string(b), `"x":"y"`, labels, 1)
}

func TestDecodeRefusesWhatIsMalformed(t *testing.T) {
	subject, good := cordoned(t)
	if _, err := Decode(subject, 3, time.Time{}, []byte(good)); err != nil {
		t.Fatal(err)
	}
	swap := func(old, with string) string {
		t.Helper()
		if strings.Count(good, old) != 1 {
			t.Fatalf("%s stands %d times in %s", old, strings.Count(good, old), good)
		}
		return strings.Replace(good, old, with, 1)
	}
	nested := func(n int) string { return `{"data":{"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `},` }
	for _, c := range []struct{ name, subject, raw, why string }{
		{"empty", subject, "", "empty"},
		{"not JSON", subject, "hello", "invalid character"},
		{"truncated", subject, good[:len(good)-1], "unexpected EOF"},
		{"trailing data", subject, good + "{}", "after top-level value"},
		{"an array", subject, "[" + good + "]", "JSON array"},
		{"null", subject, "null", "does not match the subject"},
		{"duplicate in the envelope", subject, swap(`"v":1`, `"v":1,"v":1`), "duplicate"},
		{"duplicate in the data", subject, swap(`{"node":"node-2"}`, `{"node":"node-2","node":"node-3"}`), "duplicate"},
		{"duplicate in a map of the data", prod.Event(Node("node-2"), "node.labels.updated", ""), labelled(t, `"a":"1","a":"2"`), "duplicate"},
		{"duplicate of an unknown member", subject, swap(`"v":1`, `"v":1,"new":1,"new":2`), "duplicate"},
		{"duplicate behind an escape", subject, swap(`"v":1`, `"v":1,"\u0076":1`), "duplicate"},
		{"invalid UTF-8", subject, swap("cli:ana", "cli:\xff"), "UTF-8"},
		{"invalid UTF-8 in the data", subject, swap(`{"node":"node-2"}`, "{\"node\":\"\xc3\x28\"}"), "UTF-8"},
		{"half a surrogate pair", subject, swap("cli:ana", `cli:\ud800`), "surrogate"},
		{"too large", subject, good + strings.Repeat(" ", MaxSize), "at most 786432 allowed"},
		{"too deep", subject, nested(MaxDepth) + good[1:], "nested deeper than 32"},
		{"another type than the subject", prod.Event(Node("node-2"), "node.scheduling.uncordoned", ""), good, "does not match the subject"},
		{"another aggregate than its id", prod.Event(Node("node-3"), "node.scheduling.cordoned", ""), good, "not the one derived"},
		{"another target than its id", subject + ".node-2", good, "not the one derived"},
		{"another revision than its id", subject, swap(`"rev":42`, `"rev":43`), "not the one derived"},
		{"another cause than its id", subject, swap(`"cause":"cmd:01J8ZK5V3N"`, `"cause":"cmd:x"`), "not the one derived"},
		{"no cause but its id", subject, swap(`"cause":"cmd:01J8ZK5V3N",`, ""), "not the one derived"},
		{"no revision", subject, swap(`"rev":42,`, ""), "required"},
		{"negative revision", subject, swap(`"rev":42`, `"rev":-1`), "rev"},
		{"no version", subject, swap(`"v":1,`, ""), "required"},
		{"negative version", subject, swap(`"v":1`, `"v":-1`), "required"},
		{"fractional version", subject, swap(`"v":1`, `"v":1.5`), "/v"},
		{"newer version", subject, swap(`"v":1`, `"v":2`), "version 2 is newer than 1"},
		{"no data", subject, swap(`,"data":{"node":"node-2"}`, ""), "data"},
		{"null data", subject, swap(`{"node":"node-2"}`, "null"), "data"},
		{"data of another shape", subject, swap(`{"node":"node-2"}`, `["node-2"]`), "data"},
		{"field of another type", subject, swap(`{"node":"node-2"}`, `{"node":2}`), "data"},
		{"no time", subject, swap(`2026-01-15T10:30:00.123456Z`, "yesterday"), "ts"},
		{"a time that UTC cannot name", subject, swap(`2026-01-15T10:30:00.123456Z`, "9999-12-31T23:59:59-01:00"), "ts"},
		{"a subject that is none", "gc.prod.evt.node.Node-2.node.scheduling.cordoned", good, "node name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := Decode(c.subject, 3, time.Time{}, []byte(c.raw))
			var bad *MalformedError
			if !errors.As(err, &bad) {
				t.Fatalf("got %+v, %v, want a *MalformedError", e, err)
			}
			if bad.Seq != 3 || bad.Subject != c.subject || !strings.Contains(bad.Reason, c.why) {
				t.Errorf("got %v, want the sequence, the subject and %q", err, c.why)
			}
			if !reflect.ValueOf(e).IsZero() {
				t.Errorf("a malformed message is also an event: %+v", e)
			}
		})
	}
}

// A known type stands on aggregates of its kind only, even where its id is right.
func TestDecodeRefusesAForeignAggregate(t *testing.T) {
	s := sample{aggregate: App("node-2"), data: &NodeCordoned{Node: "node-2"}}
	e := s.event()
	b, err := encode(&e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(e.subject(), 1, time.Time{}, b); err == nil || !strings.Contains(err.Error(), "belongs on a node aggregate") {
		t.Errorf("got %v", err)
	}
}

func TestDecodeAtTheBounds(t *testing.T) {
	subject, good := cordoned(t)
	if _, err := Decode(subject, 1, time.Time{}, []byte(good+strings.Repeat(" ", MaxSize-len(good)))); err != nil {
		t.Errorf("a message of exactly the most bytes: %v", err)
	}
	deep := `{"x":` + strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1) + `,` + good[1:]
	if _, err := Decode(subject, 1, time.Time{}, []byte(deep)); err != nil {
		t.Errorf("a message of exactly the most depth: %v", err)
	}
	// Brackets in strings nest nothing.
	flat := strings.Replace(good, "cli:ana", `\"\\`+strings.Repeat("[{", 100), 1)
	if _, err := Decode(subject, 1, time.Time{}, []byte(flat)); err != nil {
		t.Errorf("brackets in a string: %v", err)
	}
}

func TestEncodeRefusesWhatDecodeWould(t *testing.T) {
	s := sample{aggregate: Request(Planner), data: &RequestRefused{Detail: strings.Repeat("x", MaxSize)}}
	e := s.event()
	if _, err := encode(&e); err == nil || !strings.Contains(err.Error(), "at most 786432 allowed") {
		t.Errorf("too large: got %v", err)
	}
	s.data = &RequestRefused{Detail: "\xff"}
	e = s.event()
	if _, err := encode(&e); err == nil || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("invalid UTF-8: got %v", err)
	}
}

func TestUnknownTypesAreKeptWhole(t *testing.T) {
	const data = `{"b":[1,2.50,1e400],"a":{"deep":null},"n":123456789012345678901234567890}`
	e := Event{
		TS: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC), Type: "placement.teleport.requested", V: 9, App: "convex", Rev: 42, Actor: "migrator", Cause: "c", Correlation: "c",
		Prev: "sha256:00", Stream: "S", Data: &Unknown{Raw: jsontext.Value(data)}, Aggregate: App("convex"), Target: "node-1",
	}
	e.ID = deriveID(e.Aggregate, e.Rev, e.Type, e.Cause, e.Target)
	raw, err := encode(&e)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(e.subject(), 5, e.TS, raw)
	if err != nil {
		t.Fatal(err)
	}
	e.Seq, e.Stored, e.Hash = 5, e.TS, hashOf(raw)
	if d := cmp.Diff(e, got); d != "" {
		t.Errorf("(-written +read)\n%s", d)
	}
	again, err := encode(&got)
	if err != nil || !bytes.Equal(again, raw) {
		t.Errorf("encoded again: %s, %v\nwant %s", again, err, raw)
	}
	clear(raw) // the buffer belongs to whoever called
	if u := got.Data.(*Unknown); string(u.Raw) != data {
		t.Errorf("it rests on the caller's buffer: %s", u.Raw)
	}
}

func TestUnknownOptionalFieldsAreTolerated(t *testing.T) {
	subject, good := cordoned(t)
	raw := strings.Replace(good, `"v":1`, `"v":1,"zone":{"a":[1]}`, 1)
	raw = strings.Replace(raw, `{"node":"node-2"}`, `{"why":["maintenance"],"node":"node-2"}`, 1)
	e, err := Decode(subject, 1, time.Time{}, []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&NodeCordoned{Node: "node-2"}, e.Data); d != "" {
		t.Error(d)
	}
	if e.Hash != hashOf([]byte(raw)) {
		t.Error("the hash is not that of the stored bytes")
	}
}

// Names are matched exactly: "Rev" is an unknown member, not a second spelling of "rev".
func TestMemberNamesAreExact(t *testing.T) {
	subject, good := cordoned(t)
	if _, err := Decode(subject, 1, time.Time{}, []byte(strings.Replace(good, `"rev"`, `"Rev"`, 1))); err == nil {
		t.Error("Rev is taken for rev")
	}
}

func TestEventAsOneLine(t *testing.T) {
	subject, good := cordoned(t)
	e, err := Decode(subject, 77, time.Time{}, []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.TrimSuffix(good, "}") + `,"seq":77}`; string(line) != want {
		t.Errorf("got %s, want %s", line, want)
	}
}

// Whatever comes in, Decode answers with an event that can be written again, or with a *MalformedError.
func FuzzDecode(f *testing.F) {
	for _, s := range samples() {
		e := s.event()
		raw, err := encode(&e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(e.subject(), raw)
	}
	f.Fuzz(checkDecode)
}

// payloads seeds a target with the number and the payload of each sample.
func payloads(f *testing.F) []sample {
	all := samples()
	for i, s := range all {
		data, err := json.Marshal(s.data, json.Deterministic(true))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), data)
	}
	return all
}

// FuzzPayload leaves the envelope as it must be, so that every mutation reaches a payload.
func FuzzPayload(f *testing.F) {
	all := payloads(f)
	f.Fuzz(func(t *testing.T, i uint8, data []byte) {
		e := all[int(i)%len(all)].event()
		subject := e.subject()
		e.Data = &Unknown{Raw: data}
		raw, err := encode(&e)
		if err != nil {
			return // no JSON at all
		}
		checkDecode(t, subject, raw)
	})
}

func checkDecode(t *testing.T, subject string, raw []byte) {
	e, err := Decode(subject, 1, time.Unix(0, 0), raw)
	if err != nil {
		if !errors.As(err, new(*MalformedError)) {
			t.Fatalf("the error is a %T: %v", err, err)
		}
		return
	}
	writtenAlike(t, &e)
	first, err := encode(&e)
	if err != nil {
		if strings.Contains(err.Error(), "at most") {
			return // close to the bound, an empty list in the place of nothing can be too much
		}
		t.Fatalf("what was read cannot be written: %v", err)
	}
	e2, err := Decode(subject, 1, time.Unix(0, 0), first)
	if err != nil {
		t.Fatalf("what was written cannot be read: %v\n%s", err, first)
	}
	second, err := encode(&e2)
	if err != nil || !bytes.Equal(first, second) {
		t.Fatalf("not stable: %v\n%s\n%s", err, first, second)
	}
	if e.ID != e2.ID || e.Rev != e2.Rev || e.Type != e2.Type || e.Aggregate != e2.Aggregate || e.Target != e2.Target || e.Prev != e2.Prev || e.Cause != e2.Cause {
		t.Fatalf("not the same event:\n%+v\n%+v", e, e2)
	}
}
