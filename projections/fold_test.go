package projections_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// book writes a log without a server: each message goes through the wire form and back.
type book struct {
	heads map[events.Aggregate]events.Head
	seq   uint64
	now   time.Time
}

func newBook() *book {
	return &book{heads: map[events.Aggregate]events.Head{}, now: time.Date(2026, 1, 15, 10, 0, 0, 0, time.UTC)}
}

// write returns the next message of an aggregate.
func (b *book) write(t fataler, a events.Aggregate, cause string, data any) events.Message {
	t.Helper()
	typ, err := events.TypeOf(data)
	if err != nil {
		t.Fatal(err)
	}
	head := b.heads[a]
	e := events.Event{
		ID: events.Derive(a.String(), fmt.Sprint(head.Rev+1), string(typ), cause, ""), TS: b.now, Type: typ, V: 1, Rev: head.Rev + 1,
		Actor: "cli:ana", Cause: cause, Correlation: cause, Prev: head.Hash, Stream: "S", Data: data, Aggregate: a,
	}
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	m := b.read(t, a, typ, raw)
	if m.Err != nil {
		t.Fatal(m.Err)
	}
	b.heads[a] = events.Head{Seq: m.Event.Seq, Rev: m.Event.Rev, Hash: m.Event.Hash}
	return m
}

// read makes the next message of the log from bytes.
func (b *book) read(t fataler, a events.Aggregate, typ events.Type, raw []byte) events.Message {
	t.Helper()
	s, err := events.NewSubjects("test")
	if err != nil {
		t.Fatal(err)
	}
	b.seq++
	b.now = b.now.Add(time.Second)
	m := events.Message{Raw: raw}
	if m.Event, err = events.Decode(s.Event(a, typ, ""), b.seq, b.now, raw); err != nil {
		m.Err = err.(*events.MalformedError)
		m.Event.Seq, m.Event.Stored = b.seq, b.now
	}
	return m
}

type fataler interface {
	Helper()
	Fatal(...any)
}

// payloads is one of each type.
func payloads() []any {
	return []any{
		new(events.NodeJoined), new(events.NodeSuspected), new(events.NodeLost), new(events.NodeLeft), new(events.NodeFactsUpdated), new(events.NodeLabelsUpdated),
		new(events.NodeCordoned), new(events.NodeUncordoned), new(events.DrainStarted), new(events.DrainCompleted), new(events.DrainFailed), new(events.DrainCancelled),
		new(events.AppApplied), new(events.PlacementUpdated), new(events.AppRemoved), new(events.AppRestartRequested), new(events.PlacementInvalid), new(events.PlacementSatisfied),
		new(events.CancelRequested), new(events.HookAnswered), new(events.MigrationStarted), new(events.MigrationCompleted), new(events.MigrationFailed), new(events.StepRequested),
		new(events.StepCompleted), new(events.StepFailed), new(events.StepTimedOut), new(events.LeadershipGranted), new(events.LeadershipActivated),
		new(events.LeadershipReleased), new(events.InstanceUnhealthy), new(events.InstanceHealthy), new(events.InstanceFailed), new(events.InstanceStopped), new(events.DataLost),
		new(events.PlanAdmitted), new(events.EvacuationStarted), new(events.EvacuationCompleted), new(events.PolicyUpdated), new(events.MovesFrozen),
		new(events.MovesUnfrozen), new(events.EvacuationCancelled), new(events.RebalanceTriggered), new(events.RebalanceCompleted), new(events.RequestRefused), new(events.InvariantViolated),
		new(events.MigrationPlanned), new(events.MigrationHeld), new(events.MigrationApproved), new(events.MigrationDenied), new(events.MigrationExpired), new(events.MigrationCancelled),
	}
}

func TestPayloadsAreAll(t *testing.T) {
	have := map[events.Type]bool{}
	for _, p := range payloads() {
		typ, err := events.TypeOf(p)
		if err != nil {
			t.Fatal(err)
		}
		have[typ] = true
	}
	for _, r := range events.Registry() {
		if !have[r.Type] {
			t.Errorf("%s takes no part in the properties", r.Type)
		}
	}
}

// words are what a field of a name may say: few, so that random events meet each other.
var words = map[string][]string{
	"node": {"n1", "n2", "n3"}, "to": {"", "n1", "n2"}, "from": {"", "n1", "n2"}, "to_node": {"", "n1", "n2"}, "from_node": {"", "n1", "n2"},
	"inc": {"i1", "i2"}, "from_inc": {"i1", "i2"}, "to_inc": {"i1", "i2"}, "machine": {"k1", "k2"}, "instance": {"a-0", "a-1", "b-0"}, "app": {"a", "b"},
	"migration": {"m1", "m2", "m3", "m4"}, "order": {"o1", "o2"}, "left": {events.LeftAtSource, events.LeftAtTarget, events.LeftNowhere},
	"reason": {events.ReasonManual, events.LostSilent, events.LostYielded}, "code": {"cancelled", "node_lost", "stale"}, "bad_node": {"", "n1", "n2"},
	"step": {string(events.StepPrepare), string(events.StepStart), string(events.StepStepDown), string(events.StepActivate), string(events.StepStop)},
	"kind": {events.KindPlace, events.KindMove, events.KindStop, events.KindInPlace}, "selector": {"zone=a", "!gpu", "role in (x,y)"},
	"source": {events.FreezeSafety, events.FreezeOperator}, "class": {string(events.ClassForced)}, "address": {"10.0.0.1"},
}

// fill sets the fields of v at random.
func fill(t *rapid.T, v reflect.Value, name string) {
	switch v.Interface().(type) {
	case spec.App:
		app := spec.App{Name: rapid.SampledFrom(words["app"]).Draw(t, "app"), Mode: rapid.SampledFrom([]spec.Mode{spec.Singleton, spec.Replicas, spec.Spread}).Draw(t, "mode"),
			OnIsolation: rapid.SampledFrom([]string{"", spec.OnIsolationStop, spec.OnIsolationContinue}).Draw(t, "isolation"), Require: []string{"zone=a"}}
		if app.Mode == spec.Replicas {
			app.Replicas = new(rapid.IntRange(0, 3).Draw(t, "replicas"))
		}
		v.Set(reflect.ValueOf(app))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(int64(rapid.IntRange(0, 100).Draw(t, "time")), 0).UTC()))
		return
	case spec.Policy:
		v.Set(reflect.ValueOf(spec.Policy{Migration: spec.MigrationPolicy{MaxConcurrent: rapid.IntRange(0, 5).Draw(t, "concurrent")}}))
		return
	}
	switch v.Kind() {
	case reflect.String:
		of := words[name]
		if of == nil {
			of = []string{"", "x", "y"}
		}
		v.SetString(rapid.SampledFrom(of).Draw(t, name))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, name))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(rapid.IntRange(0, 5).Draw(t, name)))
	case reflect.Uint64:
		v.SetUint(uint64(rapid.IntRange(0, 5).Draw(t, name)))
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Pointer:
		if rapid.Bool().Draw(t, name+"?") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(t, v.Elem(), name)
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 2).Draw(t, name+"#")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(t, v.Index(i), name)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range rapid.IntRange(0, 2).Draw(t, name+"#") {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(t, k, "app")
			fill(t, e, "")
			v.SetMapIndex(k, e)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			tag, _, _ := cut(f.Tag.Get("json"))
			fill(t, v.Field(i), tag)
		}
	default:
		t.Fatalf("%s: a %s is not known here", name, v.Type())
	}
}

func cut(tag string) (name, rest string, found bool) {
	for i := range len(tag) {
		if tag[i] == ',' {
			return tag[:i], tag[i+1:], true
		}
	}
	return tag, "", false
}

// anyEvent writes an event of any type with any content onto an aggregate that it may stand on.
func anyEvent(t *rapid.T, b *book) events.Message {
	data := rapid.SampledFrom(payloads()).Draw(t, "type")
	fill(t, reflect.ValueOf(data).Elem(), "")
	typ, err := events.TypeOf(data)
	if err != nil {
		t.Fatal(err)
	}
	return b.write(t, aggregateFor(t, typ), rapid.SampledFrom([]string{"", "cmd:1", "cmd:2", "cmd:3", "e"}).Draw(t, "cause"), data)
}

func aggregateFor(t *rapid.T, typ events.Type) events.Aggregate {
	for _, r := range events.Registry() {
		if r.Type != typ {
			continue
		}
		switch r.Aggregate {
		case events.KindNode:
			return events.Node(rapid.SampledFrom(words["node"]).Draw(t, "aggregate"))
		case events.KindApp:
			return events.App(rapid.SampledFrom(words["app"]).Draw(t, "aggregate"))
		case events.KindCluster:
			return events.Cluster("test")
		case events.KindRequest:
			return events.Request("planner")
		case events.KindAudit:
			return events.Audit("auditor")
		}
	}
	t.Fatalf("%s is on no aggregate", typ)
	panic("unreachable")
}

func fold(log []events.Message) *projections.Cluster {
	c := projections.NewCluster("test")
	for _, m := range log {
		c.Apply(m)
	}
	return c
}

func sameFold(t fataler, what string, want, got *projections.Cluster) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Fatal(what + ":\n" + cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })))
	}
}

// Whatever well-formed events a log has, in whatever order: the fold takes them all, and equal logs make equal folds. Reading a
// fold on the way changes nothing, nor does folding change what was read from the log.
func TestEqualLogsMakeEqualFolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBook()
		step := projections.NewCluster("test")
		var log []events.Message
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			m := anyEvent(t, b)
			log = append(log, m)
			step.Apply(m)
			readAll(step)
			if step.Seq != m.Event.Seq || step.Time != m.Event.Stored {
				t.Fatalf("the fold is at %d, %s, the log at %d, %s", step.Seq, step.Time, m.Event.Seq, m.Event.Stored)
			}
		}
		if len(step.Quarantined) > 0 {
			t.Fatalf("well-formed aggregates are quarantined: %v", step.Quarantined)
		}
		if d := cmp.Diff(b.heads, step.Heads); d != "" {
			t.Fatal("heads (-log +fold)\n" + d)
		}
		fresh := make([]events.Message, len(log))
		again := newBook()
		for i, m := range log {
			fresh[i] = again.read(t, m.Event.Aggregate, m.Event.Type, m.Raw)
			if d := cmp.Diff(fresh[i].Event, m.Event); d != "" {
				t.Fatal("the fold has changed an event (-stored +now)\n" + d)
			}
		}
		sameFold(t, "folded once more from what was stored", fold(fresh), step)
		sameFold(t, "folded once more from the same messages", step, fold(log))
	})
}

func readAll(c *projections.Cluster) {
	for _, a := range c.SortedApps() {
		_, _, _, _ = a.Desired(), a.SortedInstances(), a.SortedOpen(), a.Exists()
	}
	for _, n := range c.SortedNodes() {
		_, _ = c.On(n.ID), n.Draining()
	}
	_ = c.SortedMigrations()
}

// A malformed message takes its own aggregate out and nothing else: the rest is as if the aggregate had ended before it.
func TestMalformedMessagesQuarantineTheirAggregateOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBook()
		at := rapid.IntRange(0, 30).Draw(t, "position")
		var bad events.Aggregate
		var log, without []events.Message
		for i := range 40 {
			if i == at {
				typ := events.Type("node.scheduling.cordoned")
				if rapid.Bool().Draw(t, "app") {
					typ = "app.spec.removed"
				}
				bad = aggregateFor(t, typ)
				m := b.read(t, bad, typ, []byte(`{"id":"x","v":1}`))
				if m.Err == nil {
					t.Fatal("it is well-formed")
				}
				log = append(log, m)
			}
			m := anyEvent(t, b)
			log = append(log, m)
			if i < at || m.Event.Aggregate != bad {
				without = append(without, m)
			}
		}
		got, want := fold(log), fold(without)
		if keys := slices.Collect(maps.Keys(got.Quarantined)); len(keys) != 1 || keys[0] != bad {
			t.Fatalf("quarantined: %v, want %s", got.Quarantined, bad)
		}
		if d := cmp.Diff(b.heads, got.Heads); d != "" {
			t.Fatal("a quarantined aggregate is still followed; heads (-log +fold)\n" + d)
		}
		want.Heads, want.Quarantined, want.Seq, want.Time = got.Heads, got.Quarantined, got.Seq, got.Time
		sameFold(t, "the rest of the fold", want, got)
	})
}

// A revision that is left out or written twice, or a predecessor that is another, ends the trust in an aggregate.
func TestBrokenChainsAreQuarantined(t *testing.T) {
	b := newBook()
	one := b.write(t, events.Node("n1"), "1", &events.NodeCordoned{Node: "n1"})
	two := b.write(t, events.Node("n1"), "2", &events.NodeUncordoned{Node: "n1"})
	other := b.write(t, events.Node("n2"), "3", &events.NodeCordoned{Node: "n2"})
	forged := two
	forged.Event.Prev = "sha256:0000"
	skipped := two // its predecessor is right, its number is not
	skipped.Event.Rev = 3
	for name, log := range map[string][]events.Message{
		"a number left out":  {one, skipped, other},
		"left out":           {two, other},
		"twice":              {one, one, other},
		"another before it":  {one, forged, other},
		"no first":           {forged, other},
		"swapped with other": {one, {Event: func() events.Event { e := other.Event; e.Aggregate = events.Node("n1"); return e }()}},
	} {
		c := fold(log)
		if c.Quarantined[events.Node("n1")] == "" || len(c.Quarantined) != 1 {
			t.Errorf("%s: quarantined %v", name, c.Quarantined)
		}
		if n := c.Nodes["n2"]; name != "swapped with other" && (n == nil || !n.Cordoned) {
			t.Errorf("%s: another node was not folded", name)
		}
	}
	if c := fold([]events.Message{one, two, other}); len(c.Quarantined) != 0 {
		t.Errorf("an unbroken chain: %v", c.Quarantined)
	}
}

// An event of a type that only a newer version knows is skipped, and its aggregate goes on.
func TestUnknownTypesAreSkipped(t *testing.T) {
	b := newBook()
	a := events.Node("n1")
	one := b.write(t, a, "1", &events.NodeCordoned{Node: "n1"})
	e := one.Event
	e.Type, e.Rev, e.Prev, e.V, e.Data = "node.weather.changed", 2, one.Event.Hash, 7, &events.Unknown{Raw: []byte(`{"rain":true}`)}
	e.ID = events.Derive(a.String(), "2", string(e.Type), e.Cause, "")
	raw, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	two := b.read(t, a, e.Type, raw)
	if two.Err != nil {
		t.Fatal(two.Err)
	}
	b.heads[a] = events.Head{Seq: two.Event.Seq, Rev: two.Event.Rev, Hash: two.Event.Hash}
	three := b.write(t, a, "3", &events.NodeUncordoned{Node: "n1"})
	c := fold([]events.Message{one, two, three})
	if len(c.Quarantined) > 0 || c.Nodes["n1"].Cordoned || c.Head(a).Rev != 3 {
		t.Errorf("quarantined %v, node %+v, head %+v", c.Quarantined, c.Nodes["n1"], c.Head(a))
	}
}

func TestAFreezeWithoutAReasonSaysSo(t *testing.T) {
	b := newBook()
	c := fold([]events.Message{b.write(t, events.Cluster("test"), "1", &events.MovesFrozen{Source: events.FreezeOperator})})
	if got := c.Frozen[events.FreezeOperator]; got != "no reason given" {
		t.Errorf("frozen: %q", got)
	}
}

// No service grants an epoch without a number, and whoever writes one past them ends nobody's fold.
func TestGrantsOfNoEpoch(t *testing.T) {
	b := newBook()
	var log []events.Message
	for range 2 {
		log = append(log, b.write(t, events.App("a"), "", &events.LeadershipGranted{Node: "n1", Inc: "i1"}))
	}
	if v := fold(log); v.Seq != 2 {
		t.Fatalf("the fold is at %d", v.Seq)
	}
}
