package auditor_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/services/auditor"
	st "github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/spec"
)

func run(t *testing.T, f func(t *testing.T, c *st.Cluster, s *auditor.Service), opts ...auditor.Option) {
	t.Helper()
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		s := auditor.New(c.Base, append(opts, auditor.NoLaws())...) // the stories that follow are not about the laws, and break many
		c.Start(t, s.Run)
		f(t, c, s)
	})
}

// story stores a node, an app, and a move of it that fails.
func story(t *testing.T, c *st.Cluster) {
	t.Helper()
	c.Append(t, events.Draft{Aggregate: events.Node("node-1"), Node: "node-1", Actor: events.Labeler, Data: &events.NodeJoined{Node: "node-1", Inc: "i1", Machine: "m1"}})
	c.Append(t, events.Draft{Aggregate: events.Node("node-2"), Node: "node-2", Actor: events.Labeler, Data: &events.NodeJoined{Node: "node-2", Inc: "i2", Machine: "m2"}})
	app := events.App("convex")
	c.Append(t, events.Draft{Aggregate: app, App: "convex", Actor: "cli:ana", Cause: "cmd:1", Data: &events.AppApplied{Spec: spec.App{Name: "convex", Mode: spec.Singleton}, SpecRev: 1, Generation: 1}})
	mv := events.Move{Migration: "m-1", App: "convex", Instance: "convex-0", SpecRev: 1, From: "node-1", To: "node-2", Reason: events.ReasonLabelChange,
		Trigger: events.TriggerAutomatic, Cause: "e", Correlation: "cmd:label"}
	plan := c.Append(t, events.Draft{Aggregate: events.Cluster("test"), Actor: events.Planner, Cause: "other", Data: &events.PlanAdmitted{Plan: "p-1", Moves: []events.Move{mv}}})
	c.Append(t, events.Draft{Aggregate: app, App: "convex", Node: "node-2", Target: "node-2", Actor: events.Migrator, Cause: plan.ID, Correlation: "cmd:label",
		Data: &events.MigrationStarted{Ref: mv.Ref(), Kind: mv.Kind(), Plan: "p-1", SpecRev: 1}})
	c.Append(t, events.Draft{Aggregate: app, App: "convex", Node: "node-2", Actor: events.Migrator, Cause: plan.ID, Correlation: "cmd:label",
		Data: &events.MigrationFailed{Ref: mv.Ref(), Code: "step_failed", Detail: "prepare on node-2: no space", Left: events.LeftAtSource, BadNode: "node-2"}})
}

type line struct {
	Seq      uint64 `json:"seq"`
	Category string `json:"category"`
	Action   string `json:"action"`
}

func seqs(t *testing.T, lines []api.RawLine) (out []uint64) {
	t.Helper()
	for _, raw := range lines {
		var l line
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		out = append(out, l.Seq)
	}
	return out
}

func TestEventList(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster, _ *auditor.Service) {
		story(t, c)
		all := st.Must[api.EventListReply](t, c, api.EventList, api.EventListRequest{})
		if d := cmp.Diff([]uint64{1, 2, 3, 4, 5, 6}, seqs(t, all.Lines)); d != "" || all.NextSeq != 7 || all.LastSeq != 6 {
			t.Errorf("everything: next %d last %d\n%s", all.NextSeq, all.LastSeq, d)
		}
		for _, tt := range []struct {
			name string
			req  api.EventListRequest
			want []uint64
			next uint64
		}{
			{"a page", api.EventListRequest{SinceSeq: 2, Limit: 2}, []uint64{2, 3}, 4},
			{"an app, with the plans that move it", api.EventListRequest{App: "convex"}, []uint64{3, 4, 5, 6}, 7},
			{"a node, at either end", api.EventListRequest{Node: "node-1"}, []uint64{1, 4, 5, 6}, 7},
			{"a chain", api.EventListRequest{Correlation: "cmd:label"}, []uint64{4, 5, 6}, 7},
			{"an app on a node, from later on", api.EventListRequest{App: "convex", Node: "node-2", SinceSeq: 5}, []uint64{5, 6}, 7},
			{"nobody", api.EventListRequest{App: "nobody"}, nil, 7},
			{"beyond the end", api.EventListRequest{SinceSeq: 9}, nil, 9},
		} {
			rep := st.Must[api.EventListReply](t, c, api.EventList, tt.req)
			if d := cmp.Diff(tt.want, seqs(t, rep.Lines)); d != "" || rep.NextSeq != tt.next {
				t.Errorf("%s: next %d, want %d (-want +got)\n%s", tt.name, rep.NextSeq, tt.next, d)
			}
		}
	})
}

// A line is what is stored, byte for byte, plus its sequence.
func TestEventLineIsTheStoredBytes(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster, _ *auditor.Service) {
		story(t, c)
		stream, err := c.JS.Stream(t.Context(), c.EventsStream())
		if err != nil {
			t.Fatal(err)
		}
		m, err := stream.GetMsg(t.Context(), 5)
		if err != nil {
			t.Fatal(err)
		}
		got := st.Must[api.EventListReply](t, c, api.EventList, api.EventListRequest{SinceSeq: 5, Limit: 1}).Lines[0]
		if want := strings.TrimSuffix(string(m.Data), "}") + `,"seq":5}`; string(got) != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestEventListReadsWhatIsNoLongerInMemory(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster, _ *auditor.Service) {
		c.Append(t, events.Draft{Aggregate: events.Node("node-1"), Node: "node-1", Data: &events.NodeJoined{Node: "node-1", Inc: "i1", Machine: "m1"}})
		for range 19 {
			c.Append(t, events.Draft{Aggregate: events.Node("node-1"), Node: "node-1", Data: &events.NodeCordoned{Node: "node-1"}})
		}
		for _, limit := range []int{500, 7, 1} {
			var got []uint64
			for next := uint64(1); next <= 20; {
				rep := st.Must[api.EventListReply](t, c, api.EventList, api.EventListRequest{SinceSeq: next, Limit: limit, Node: "node-1"})
				if rep.NextSeq <= next || len(rep.Lines) > limit {
					t.Fatalf("from %d: next %d with %d lines", next, rep.NextSeq, len(rep.Lines))
				}
				got, next = append(got, seqs(t, rep.Lines)...), rep.NextSeq
			}
			if len(got) != 20 || !slices.IsSorted(got) || got[0] != 1 || got[19] != 20 {
				t.Errorf("in pages of %d: %v", limit, got)
			}
		}
		recs := st.Must[api.AuditListReply](t, c, api.AuditList, api.AuditListRequest{SinceSeq: 1})
		if len(recs.Records) != 20 {
			t.Errorf("audit from the beginning: %d records", len(recs.Records))
		}
	}, auditor.Memory(3))
}

func TestLongPoll(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster, _ *auditor.Service) {
		story(t, c)
		began := time.Now()
		rep := st.Must[api.EventListReply](t, c, api.EventList, api.EventListRequest{SinceSeq: 7, Wait: spec.Duration(4 * time.Second)})
		if took := time.Since(began); took < 4*time.Second || took > 5*time.Second || len(rep.Lines) != 0 || rep.NextSeq != 7 {
			t.Errorf("nothing came: %d lines, next %d, after %s", len(rep.Lines), rep.NextSeq, took)
		}
		type answer struct {
			api.EventListReply
			err error
			at  time.Time
		}
		asked := make(chan answer, 1)
		go func() {
			rep, err := st.Call[api.EventListReply](c, api.EventList, api.EventListRequest{SinceSeq: 7, Node: "node-2", Wait: spec.Duration(time.Minute)})
			asked <- answer{rep, err, time.Now()}
		}()
		began = time.Now()
		for _, n := range []string{"node-1", "node-2"} {
			c.Pass(time.Second)
			c.Append(t, events.Draft{Aggregate: events.Node(n), Node: n, Data: &events.NodeCordoned{Node: n}})
		}
		got := <-asked
		if took := got.at.Sub(began); got.err != nil || took < 2*time.Second || took > 3*time.Second || !slices.Equal(seqs(t, got.Lines), []uint64{8}) {
			t.Errorf("the second event was asked for: %v after %s (%v)", seqs(t, got.Lines), took, got.err)
		}
	})
}

func TestAuditList(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster, _ *auditor.Service) {
		story(t, c)
		rep := st.Must[api.AuditListReply](t, c, api.AuditList, api.AuditListRequest{App: "convex"})
		var got []string
		for _, r := range rep.Records {
			got = append(got, r.Category+"."+r.Action)
		}
		if d := cmp.Diff([]string{"app.spec.applied", "placement.migration.started", "placement.migration.failed"}, got); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		started := rep.Records[1]
		b, err := json.Marshal(started)
		if err != nil {
			t.Fatal(err)
		}
		var shape struct {
			TS       time.Time                 `json:"ts"`
			Category string                    `json:"category"`
			Action   string                    `json:"action"`
			App      string                    `json:"app"`
			Data     map[string]jsontext.Value `json:"data"`
		}
		if err := json.Unmarshal(b, &shape); err != nil {
			t.Fatal(err)
		}
		for k, want := range map[string]string{"from_node": `"node-1"`, "to_node": `"node-2"`, "reason": `"label_change"`, "trigger": `"automatic"`} {
			if string(shape.Data[k]) != want {
				t.Errorf("data.%s is %s, want %s", k, shape.Data[k], want)
			}
		}
		if shape.Category != "placement" || shape.Action != "migration.started" || shape.App != "convex" || shape.TS.IsZero() || started.Actor != "migrator" || started.Seq != 5 {
			t.Errorf("record %s", b)
		}
		if d := cmp.Diff(1, len(st.Must[api.AuditListReply](t, c, api.AuditList, api.AuditListRequest{Limit: 1}).Records)); d != "" {
			t.Error(d)
		}
		if rep.NextSeq != 7 {
			t.Errorf("next %d", rep.NextSeq)
		}
	})
}

// The six audit events that were promised are audited, under these names.
func TestPromisedAuditEvents(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster, _ *auditor.Service) {
		ref := events.Ref{Migration: "m-1", Instance: "a-0"}
		want := []string{}
		for _, d := range []events.Draft{
			{Aggregate: events.App("a"), Data: &events.MigrationStarted{Ref: ref}}, {Aggregate: events.App("a"), Data: &events.MigrationCompleted{Ref: ref}},
			{Aggregate: events.App("a"), Data: &events.MigrationFailed{Ref: ref}}, {Aggregate: events.App("a"), Data: &events.PlacementInvalid{}},
			{Aggregate: events.Cluster("test"), Data: &events.RebalanceTriggered{Order: "r-1"}}, {Aggregate: events.Node("n"), Data: &events.NodeLabelsUpdated{}},
		} {
			want = append(want, string(c.Append(t, d).Type))
		}
		c.Append(t, events.Draft{Aggregate: events.App("a"), Data: &events.StepCompleted{Ref: ref}}) // is not
		got := []string{}
		for _, r := range st.Must[api.AuditListReply](t, c, api.AuditList, api.AuditListRequest{}).Records {
			got = append(got, r.Category+"."+r.Action)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		promised := []string{"node.labels.updated", "placement.constraint.invalid", "placement.migration.completed", "placement.migration.failed",
			"placement.migration.started", "placement.rebalance.triggered"}
		if d := cmp.Diff(promised, slices.Sorted(slices.Values(got))); d != "" {
			t.Errorf("-promised +got:\n%s", d)
		}
	})
}

// What somebody wrote past the rules is found, named, shown, and takes nothing else down.
func TestDamagedLog(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster, s *auditor.Service) {
		story(t, c)
		stream, err := c.JS.Stream(t.Context(), c.EventsStream())
		if err != nil {
			t.Fatal(err)
		}
		m, err := stream.GetMsg(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		for subject, data := range map[string][]byte{
			m.Subject: m.Data, // once more: its revision and predecessor are wrong
			"gc.test.evt.app.convex.placement.migration.started": []byte("not JSON \xff"),
		} {
			if _, err := c.JS.PublishMsg(t.Context(), &nats.Msg{Subject: subject, Data: data}); err != nil {
				t.Fatal(err)
			}
		}
		rep := st.Must[api.EventListReply](t, c, api.EventList, api.EventListRequest{SinceSeq: 7})
		if len(rep.Lines) != 2 || !bytes.Contains(slices.Concat(rep.Lines...), []byte("malformed")) {
			t.Errorf("lines: %s", rep.Lines)
		}
		if d := s.Detail(); len(d) != 2 || !strings.Contains(d[0], "app/convex") || !strings.Contains(d[1], "node/node-1") {
			t.Errorf("detail: %q", d)
		}
		synctest.Wait() // the loop's own catching up, which no question waits for
		if err := s.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		if got := gather(t, auditor.NewCollector(c.Base))["gc_aggregates_quarantined"]; got != 2 {
			t.Errorf("gc_aggregates_quarantined is %v", got)
		}
		c.Append(t, events.Draft{Aggregate: events.Node("node-2"), Data: &events.NodeCordoned{Node: "node-2"}})
	})
}

// gather returns every sample by name and labels as they are exposed; of a histogram its count.
func gather(t *testing.T, cs ...prometheus.Collector) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	for _, c := range cs {
		reg.MustRegister(c)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			out[name] = value(m)
		}
	}
	return out
}

func value(m *dto.Metric) float64 {
	switch {
	case m.GetHistogram() != nil:
		return float64(m.GetHistogram().GetSampleCount())
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	}
	return m.GetGauge().GetValue()
}

func TestMetrics(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster, _ *auditor.Service) {
		story(t, c)
		c.Append(t, events.Draft{Aggregate: events.App("convex"), Data: &events.PlacementInvalid{Instance: "convex-0", Missing: 1}})
		c.Append(t, events.Draft{Aggregate: events.Cluster("test"), Data: &events.RebalanceTriggered{Order: "r-1", Reason: events.ReasonManual}})
		c.Append(t, events.Draft{Aggregate: events.Request(events.Planner), Data: &events.RequestRefused{Code: "refused"}})
		got := gather(t, auditor.NewCollector(c.Base), auditor.NewProcessCollector(c.Base))
		for name, want := range map[string]float64{
			`gc_migration_total{app="convex",reason="label_change",status="failed"}`:    1,
			`gc_migration_total{app="convex",reason="node_lost",status="completed"}`:    0,
			`gc_migration_total{app="convex",reason="label_change",status="cancelled"}`: 0,
			`gc_migration_duration_seconds{app="convex"}`:                               0,
			`gc_migration_in_progress{app="convex"}`:                                    0,
			`gc_placement_pending{app="convex"}`:                                        1,
			`gc_placement_constraint_violations{app="convex"}`:                          0,
			`gc_rebalance_total{reason="manual"}`:                                       1,
			`gc_rebalance_total{reason="node_join"}`:                                    0,
			`gc_node_app_count{node="node-1"}`:                                          0,
			`gc_node_app_count{node="node-2"}`:                                          0,
			`gc_node_imbalance_ratio`:                                                   0,
			`gc_events_total{type="node.membership.joined"}`:                            2,
			`gc_events_total{type="node.drain.started"}`:                                0,
			`gc_requests_refused_total{code="refused"}`:                                 1,
			`gc_aggregates_quarantined`:                                                 0,
			`gc_projection_lag_events`:                                                  0,
			`gc_stream_last_sequence`:                                                   9,
			`gc_build_info{cluster="test",replica="r1",version="test"}`:                 1,
		} {
			if v, ok := got[name]; !ok || v != want {
				t.Errorf("%s is %v (there: %v), want %v", name, v, ok, want)
			}
		}
		if n := len(slices.DeleteFunc(slices.Collect(maps.Keys(got)), func(s string) bool { return !strings.HasPrefix(s, "gc_migration_total{") })); n != 3*len(events.Reasons()) {
			t.Errorf("%d series of gc_migration_total for one app", n)
		}

		// Another process that replays the log says the same.
		other := c.Another(t, "r2")
		catchUp(t, other)
		if d := cmp.Diff(gather(t, auditor.NewCollector(c.Base)), gather(t, auditor.NewCollector(other))); d != "" {
			t.Errorf("a replay gives other numbers:\n%s", d)
		}
	})
}

func catchUp(t *testing.T, b *services.Base) {
	t.Helper()
	if err := b.Replica.CatchUp(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	b.Replica.View(func(v *projections.Cluster) {
		if v.Seq == 0 {
			t.Error("an empty fold")
		}
	})
}
