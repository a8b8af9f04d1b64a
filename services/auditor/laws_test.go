package auditor_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services/auditor"
	st "github.com/go-cluster/go-cluster/services/servicetest"
)

// told is what the log says of broken laws.
func told(t *testing.T, c *st.Cluster) (out []string) {
	t.Helper()
	for _, line := range st.Must[api.EventListReply](t, c, api.EventList, api.EventListRequest{Places: true}).Lines {
		if i := bytes.Index(line, []byte(`"data":{"invariant":`)); i > 0 {
			out = append(out, string(line[i+len(`"data":`):bytes.Index(line, []byte(`,"detail":`))])+"}")
		}
	}
	return out
}

// Each broken law is told once, by however many auditors, and never again by one that starts later.
func TestBrokenLawsAreToldOnce(t *testing.T) {
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		a, b := auditor.New(c.Base), auditor.New(c.Another(t, "r2"))
		c.Start(t, a.Run)
		stop := c.Start(t, b.Run)
		ref := events.Ref{Migration: "m-1", Instance: "a-0"}
		c.Append(t, events.Draft{Aggregate: events.Node("n1"), Node: "n1", Data: &events.NodeJoined{Node: "n1", Inc: "i1", Machine: "m1"}})
		c.Append(t, events.Draft{Aggregate: events.App("a"), App: "a", Cause: "nobody", Data: &events.MigrationStarted{Ref: ref}})
		labels := c.Append(t, events.Draft{Aggregate: events.Node("n1"), Node: "n1", Data: &events.NodeLabelsUpdated{Node: "n1", Before: map[string]string{"a": "b"}}})
		c.Until(t, "three breaches", func(v *projections.Cluster) bool { return v.Metrics.Events["audit.invariant.violated"] >= 3 })
		stop()
		third := auditor.New(c.Another(t, "r3"))
		c.Start(t, third.Run)
		for third.Ready() != nil {
			c.Pass(time.Second)
		}
		c.Append(t, events.Draft{Aggregate: events.Node("n1"), Node: "n1", Data: &events.NodeCordoned{Node: "n1"}})
		c.Pass(time.Minute)
		want := []string{`{"invariant":"causes","seq":2}`, `{"invariant":"endings","seq":2}`, fmt.Sprintf(`{"invariant":"facts","seq":%d}`, labels.Seq)}
		if d := cmp.Diff(want, told(t, c)); d != "" {
			t.Errorf("(-want +told)\n%s", d)
		}
		for _, s := range []*auditor.Service{a, third} {
			m := gather(t, s.Violations())
			if d := cmp.Diff(map[string]float64{"causes": 1, "endings": 1, "facts": 1, "chain": 0}, map[string]float64{
				"causes": m[`gc_invariant_violations_total{invariant="causes"}`], "endings": m[`gc_invariant_violations_total{invariant="endings"}`],
				"facts": m[`gc_invariant_violations_total{invariant="facts"}`], "chain": m[`gc_invariant_violations_total{invariant="chain"}`]}); d != "" {
				t.Error(d)
			}
		}
		rep := st.Must[api.AuditListReply](t, c, api.AuditList, api.AuditListRequest{App: "a"})
		if n := len(rep.Records); n != 3 || rep.Records[n-1].Action != "invariant.violated" || rep.Records[n-1].Cause == "" {
			t.Errorf("the audit trail of the app: %+v", rep.Records)
		}
	})
}

// A log that is nothing but damage is told of within bounds.
func TestManyBreachesAreBounded(t *testing.T) {
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		for i := range 300 {
			m := &nats.Msg{Subject: fmt.Sprintf("gc.test.evt.node.n%d.node.scheduling.cordoned", i), Data: []byte("{}")}
			if _, err := c.JS.PublishMsg(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		s := auditor.New(c.Base)
		c.Start(t, s.Run)
		c.Until(t, "the most that is told", func(v *projections.Cluster) bool { return v.Metrics.Events["audit.invariant.violated"] >= 200 })
		c.Pass(time.Minute)
		c.Replica.View(func(v *projections.Cluster) {
			if n := v.Metrics.Events["audit.invariant.violated"]; n != 200 {
				t.Errorf("%d events", n)
			}
		})
		if n := gather(t, s.Violations())[`gc_invariant_violations_total{invariant="form"}`]; n != 300 {
			t.Errorf("the metric says %v", n)
		}
	})
}

// With its place a line is the stored message again, byte for byte.
func TestPlaces(t *testing.T) {
	run(t, func(t *testing.T, c *st.Cluster, _ *auditor.Service) {
		story(t, c)
		rep := st.Must[api.EventListReply](t, c, api.EventList, api.EventListRequest{Places: true})
		prev := map[events.Aggregate]string{}
		for i, line := range rep.Lines {
			raw := append(bytes.TrimSuffix(bytes.Clone(line), fmt.Appendf(nil, `,"seq":%d}`, i+1)), '}')
			e, err := events.Decode(rep.Places[i].Subject, uint64(i+1), rep.Places[i].Stored, raw)
			if err != nil {
				t.Fatal(err)
			}
			if e.Prev != prev[e.Aggregate] || e.Stored.IsZero() {
				t.Errorf("%d: names %s, the one before it is %s", e.Seq, e.Prev, prev[e.Aggregate])
			}
			prev[e.Aggregate] = e.Hash
		}
		if len(st.Must[api.EventListReply](t, c, api.EventList, api.EventListRequest{}).Places) != 0 {
			t.Error("places that nobody asked for")
		}
	})
}
