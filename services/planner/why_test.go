package planner_test

import (
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	st "github.com/go-cluster/go-cluster/services/servicetest"
)

func (w *world) why(app string) api.WhyReply {
	w.t.Helper()
	return st.Must[api.WhyReply](w.t, w.Cluster, api.AppWhy, api.WhyRequest{App: app})
}

// says writes a chain's events, the newest first, and its first cause.
func says(c api.WhyChain) string {
	var parts []string
	for _, l := range c.Links {
		parts = append(parts, strings.TrimPrefix(l.Event, "placement."))
	}
	return strings.Join(parts, " < ") + " < " + c.Root + " by " + c.By
}

// checkLinks proves a chain: each link is the event that is stored at its sequence, older than the one before it, and its cause.
func checkLinks(w *world, c api.WhyChain) {
	w.t.Helper()
	for i, l := range c.Links {
		e, err := w.Events.At(w.t.Context(), l.Seq)
		if err != nil || e.ID != l.ID || string(e.Type) != l.Event || e.Actor != l.Actor || !e.Stored.Equal(l.At) || l.What == "" {
			w.t.Errorf("link %d is %+v, stored is %+v (%v)", i, l, e, err)
		}
		if i > 0 && l.Seq >= c.Links[i-1].Seq {
			w.t.Errorf("link %d at %d comes after its effect at %d", i, l.Seq, c.Links[i-1].Seq)
		}
	}
}

// An instance is explained from the event that put it where it is, by the admission and what that rested on, back to who asked.
func TestWhyLabelChange(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=b", "n3": "role=c"}, func(t *testing.T, w *world) {
		w.place(singleton("db", "role=a"))
		c := w.why("db").Chains[0]
		checkLinks(w, c)
		if got := says(c); !strings.HasPrefix(got, "migration.completed < plan.admitted < app.spec.applied < cmd:") || !strings.HasSuffix(got, " by cli:ana") {
			t.Errorf("first placement: %s", got)
		}
		w.label("n2", "role=a")
		w.label("n1", "role=b")
		w.Until(t, "db is on n2", func(v *projections.Cluster) bool {
			a := v.Apps["db"]
			return len(a.Open) == 0 && len(a.Instances) == 1 && a.Instances["db-0"].Node == "n2"
		})
		// Hours and many events later it is the same chain: what the fold does not know is read from the log.
		c = w.why("db").Chains[0]
		for i := range 260 {
			w.label("n3", "role=c,n="+string(rune('a'+i%2)))
		}
		w.label("n1", "role=z") // its labels are others by now
		w.Pass(5 * time.Hour)
		later := w.why("db").Chains[0]
		checkLinks(w, later)
		same(t, "later", says(later), says(c))
		same(t, "chain", says(c), "migration.completed < plan.admitted < node.labels.updated < test by test")
		same(t, "node", c.Node, "n2")
		admitted, label := c.Links[1], c.Links[2]
		same(t, "reason", admitted.Reason, events.ReasonLabelChange)
		facts := strings.Join(admitted.Facts, "\n")
		for _, want := range []string{"label role=a missing (has role=b)", "class forced, automatic", "n2 had the highest score", "ruled out by label: n3", "under policy "} {
			if !strings.Contains(facts, want) {
				t.Errorf("the admission does not say %q:\n%s", want, facts)
			}
		}
		if !strings.Contains(label.What, "role: b (new)") && !strings.Contains(label.What, "role: a → b") {
			t.Errorf("label: %s", label.What)
		}
		if !strings.Contains(string(admitted.Data), `"state_seq"`) || strings.Count(string(admitted.Data), `"instance"`) != 1 {
			t.Errorf("data: %s", admitted.Data)
		}
	})
}

// A loss leads back to the silence; a person's move to the person; what is Pending or under way is explained, too.
func TestWhyElse(t *testing.T) {
	run(t, map[string]string{"n1": "", "n2": "", "n3": "role=x"}, func(t *testing.T, w *world) {
		w.place(pool("web", 2))
		from := w.on("web")[0]
		suspected := w.put(events.Node(from), &events.NodeSuspected{Node: from, Inc: from + "/1", Silent: 0})
		_, err := w.Events.Append(t.Context(), events.Draft{Aggregate: events.Node(from), Actor: events.Labeler, Cause: suspected.ID, Correlation: suspected.ID,
			Data: &events.NodeLost{Node: from, Inc: from + "/1", Reason: events.LostSilent}}, events.Head{Seq: suspected.Seq, Rev: suspected.Rev, Hash: suspected.Hash})
		if err != nil {
			t.Fatal(err)
		}
		w.Until(t, "web is whole", func(v *projections.Cluster) bool {
			a := v.Apps["web"]
			return len(a.Open) == 0 && len(a.Instances) == 2 && v.Nodes[from].Status == projections.StatusLost
		})
		for _, c := range w.why("web").Chains {
			checkLinks(w, c)
			if c.Instance == "web-0" {
				same(t, "lost", says(c), "migration.completed < plan.admitted < node.membership.lost < node.membership.suspected < test by test")
			}
		}

		w.place(singleton("db"))
		at := w.on("db")[0]
		to := "n3"
		if at == to {
			to = w.on("web")[0]
		}
		w.hold(true)
		ack := w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db", To: to})
		rep := w.why("db")
		same(t, "chains", len(rep.Chains), 2) // the move under way, and why it is where it is
		same(t, "move", says(rep.Chains[0])[:len("plan.admitted < cmd:")], "plan.admitted < cmd:")
		same(t, "who", rep.Chains[0].By, "cli:ana")
		if !strings.Contains(rep.Chains[0].Now, "under way") || rep.Chains[1].Node != at {
			t.Errorf("%+v", rep.Chains)
		}
		w.ack(api.MigrationCancel, api.MigrationRequest{Meta: w.Meta(), Migration: ack.Order})
		w.hold(false)
		w.Until(t, "the move has ended", func(v *projections.Cluster) bool { return len(v.Apps["db"].Open) == 0 })
		c := w.why("db").Chains[0]
		if len(c.Tried) != 1 || c.Tried[0].ID != ack.Order || c.Node != at {
			t.Errorf("tried: %+v", c.Tried)
		}

		w.apply(singleton("stuck", "role=none"))
		w.Until(t, "stuck is Pending", func(v *projections.Cluster) bool { return v.Apps["stuck"].Pending != nil })
		c = w.why("stuck").Chains[0]
		checkLinks(w, c)
		if got := says(c); !strings.HasPrefix(got, "constraint.invalid < app.spec.applied < cmd:") {
			t.Errorf("pending: %s", got)
		}
		if facts := strings.Join(c.Links[0].Facts, "\n"); !strings.Contains(facts, "n3: label: label role=none missing (has role=x)") {
			t.Errorf("pending: %s", facts)
		}
		refused(w, api.AppWhy, api.WhyRequest{App: "none"}, api.CodeNotFound, "why none: no such app")
		refused(w, api.AppWhy, api.WhyRequest{App: "db", Instance: "db-7"}, api.CodeNotFound, "no instance db-7")
	})
}

// What has nowhere to go any more is explained by what took its place away, and not by the app's definition, which was there all along.
func TestWhyNowhereAnyMore(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=b", "n3": "role=c"}, func(t *testing.T, w *world) {
		w.place(singleton("db", "role=a"), singleton("log", "role=b"), singleton("mail", "role=c"))
		w.label("n1", "role=x")
		w.drain(api.DrainRequest{Nodes: []string{"n2"}})
		w.ack(api.AppEvacuate, api.EvacuateRequest{Meta: w.Meta(), Selector: "role=c"})
		for app, want := range map[string]string{
			"db":   "constraint.invalid < node.labels.updated < test by test",
			"log":  "constraint.invalid < node.drain.started < cmd:",
			"mail": "constraint.invalid < evacuation.started < cmd:",
		} {
			w.Until(t, app+" is Pending", func(v *projections.Cluster) bool { return v.Apps[app].Pending != nil })
			c := w.why(app).Chains[0]
			checkLinks(w, c)
			if got := says(c); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s, want %s", app, got, want)
			}
		}
	})
}

// A move that was held and approved names the approval and who gave it.
func TestWhyApproved(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=a"}, func(t *testing.T, w *world) {
		w.place(singleton("db", "role=a"))
		p := api.PolicyRequest{Meta: w.Meta()}
		p.Policy.Migration.RequireApproval = true
		w.ack(api.PolicySet, p)
		from := w.on("db")[0]
		w.label(from, "role=b")
		var m string
		w.Until(t, "it waits for approval", func(v *projections.Cluster) bool {
			pr := v.Apps["db"].Proposals["db-0"]
			if pr != nil {
				m = pr.Migration
			}
			return pr != nil
		})
		c := w.why("db").Chains[0]
		same(t, "held", says(c), "migration.planned < node.labels.updated < test by test")
		w.ack(api.MigrationApprove, api.JudgeRequest{Meta: w.Meta(), Migration: m, Why: "seen"})
		w.Until(t, "it has moved", func(v *projections.Cluster) bool {
			a := v.Apps["db"]
			return len(a.Open) == 0 && a.Instances["db-0"].Node != from
		})
		c = w.why("db").Chains[0]
		checkLinks(w, c)
		same(t, "approved", says(c), "migration.completed < plan.admitted < migration.approved < node.labels.updated < test by test")
		if !strings.Contains(c.Links[2].What, "cli:ana approved of "+m+": seen") {
			t.Errorf("%s", c.Links[2].What)
		}
	})
}
