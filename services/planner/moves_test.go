package planner_test

import (
	"slices"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	st "github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/spec"
)

func TestMove(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=a", "n3": "role=b"}, func(t *testing.T, w *world) {
		w.place(singleton("db", "role=a"))
		from := w.on("db")[0]
		to := map[string]string{"n1": "n2", "n2": "n1"}[from]
		move := func(m api.MoveRequest) api.MoveRequest { m.Meta = w.Meta(); return m }

		same(t, "there already", w.ack(api.AppMove, move(api.MoveRequest{App: "db", To: from})).Changed, false)
		refused(w, api.AppMove, move(api.MoveRequest{App: "none"}), api.CodeNotFound, "no such app")
		refused(w, api.AppMove, move(api.MoveRequest{App: "db", To: "n9"}), api.CodeNotFound, "no node n9")
		refused(w, api.AppMove, move(api.MoveRequest{App: "db", From: "n9"}), api.CodeNotFound, "no node n9")
		refused(w, api.AppMove, move(api.MoveRequest{App: "db", From: "n3"}), api.CodeRefused, "no instance on n3 (on "+from+")")

		w.put(events.Node("n3"), &events.NodeCordoned{Node: "n3"})
		e := refused(w, api.AppMove, move(api.MoveRequest{App: "db", To: "n3"}), api.CodeRefused, "n3 refused")
		var codes []string
		for _, r := range e.Rejections {
			codes = append(codes, r.Code)
		}
		if slices.Sort(codes); !slices.Equal(codes, []string{events.RuleCordoned, events.RuleLabel}) {
			t.Errorf("rules %v, want every one that stands against it", codes)
		}
		stands := last[events.RequestRefused](w)
		if e.Seq == 0 || len(stands.Rejections) != 2 || stands.Request != "app.move" {
			t.Errorf("in the log: %+v", stands)
		}

		w.hold(true)
		ack := w.ack(api.AppMove, move(api.MoveRequest{App: "db", To: to}))
		m := w.open("db")
		if !ack.Changed || ack.Order != m.Migration || m.To != to || m.Trigger != events.TriggerManual || m.Forced {
			t.Errorf("%+v, %+v", ack, m.Move)
		}
		refused(w, api.AppMove, move(api.MoveRequest{App: "db"}), api.CodeRefused, "migration "+m.Migration)
		w.hold(false)
		w.runs("db")
		same(t, "on", w.on("db")[0], to)
		w.ack(api.AppMove, move(api.MoveRequest{App: "db"})) // anywhere else
		w.runs("db")
		same(t, "on", w.on("db")[0], from)

		w.place(pool("web", 2))
		refused(w, api.AppMove, move(api.MoveRequest{App: "web"}), api.CodeInvalid, "2 instances, say which with --from")
	})
}

func TestFreeze(t *testing.T) {
	run(t, map[string]string{"n1": "", "n2": ""}, func(t *testing.T, w *world) {
		w.place(singleton("db"))
		from := w.on("db")[0]
		to := map[string]string{"n1": "n2", "n2": "n1"}[from]
		freeze := func(why string) api.FreezeRequest { return api.FreezeRequest{Meta: w.Meta(), Why: why} }
		same(t, "frozen", w.ack(api.MovesFreeze, freeze("change window")).Changed, true)
		same(t, "frozen twice", w.ack(api.MovesFreeze, freeze("again")).Changed, false)
		same(t, "why", st.Must[api.PolicyReply](t, w.Cluster, api.PolicyShow, api.ListRequest{}).Frozen[events.FreezeOperator], "change window")

		refused(w, api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db", To: to}, api.CodeRefused, "moves are frozen (operator: change window); --force overrides")
		w.hold(true)
		w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db", To: to, Force: true})
		same(t, "forced", w.open("db").Forced, true)
		w.hold(false)
		w.runs("db")

		// What an order wants waits; what was lost does not.
		before := stored[events.PlanAdmitted](w)
		st.Must[api.DrainReply](t, w.Cluster, api.NodeDrain, api.DrainRequest{Meta: w.Meta(), Nodes: []string{to}})
		w.Pass(1)
		same(t, "admitted while frozen", stored[events.PlanAdmitted](w), before)
		w.put(events.Node(to), &events.NodeLost{Node: to, Inc: to + "/1", Reason: events.LostSilent})
		w.runs("db")
		same(t, "recovered on", w.on("db")[0], from)

		w.put(events.Cluster("test"), &events.MovesFrozen{Source: events.FreezeSafety, Why: "half is silent"})
		refused(w, api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db", To: to, Force: true}, api.CodeRefused, "safety: half is silent")
		same(t, "lifted", w.ack(api.MovesUnfreeze, api.FreezeRequest{Meta: w.Meta(), Source: events.FreezeSafety}).Changed, true)
		same(t, "lifted", w.ack(api.MovesUnfreeze, freeze("")).Changed, true)
		same(t, "lifted twice", w.ack(api.MovesUnfreeze, freeze("")).Changed, false)
		w.Replica.View(func(v *projections.Cluster) { same(t, "freezes", len(v.Frozen), 0) })
	})
}

func TestCancelMigration(t *testing.T) {
	run(t, map[string]string{"n1": "", "n2": ""}, func(t *testing.T, w *world) {
		w.place(pool("web", 1))
		from := w.on("web")[0]
		cancel := func(m string) api.MigrationRequest { return api.MigrationRequest{Meta: w.Meta(), Migration: m} }
		refused(w, api.MigrationCancel, cancel("m-none"), api.CodeNotFound, "no such migration")

		w.hold(true)
		m := w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "web"}).Order
		ack := w.ack(api.MigrationCancel, cancel(m))
		if !ack.Changed || ack.Order != m {
			t.Errorf("%+v", ack)
		}
		same(t, "cancelled twice", w.ack(api.MigrationCancel, cancel(m)).Changed, false)
		w.hold(false)
		w.runs("web")
		same(t, "on", w.on("web")[0], from)
		refused(w, api.MigrationCancel, cancel(m), api.CodeRefused, "it has ended (cancelled)")

		w.hold(true)
		w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "web"})
		o := w.open("web")
		w.put(events.App("web"), &events.MigrationStarted{Ref: o.Ref(), Kind: o.Kind, SpecRev: 1, Generation: 1, FromInc: o.FromInc, ToInc: o.ToInc})
		w.put(events.App("web"), &events.StepCompleted{Ref: o.Ref(), Step: events.StepStart, Node: o.To})
		refused(w, api.MigrationCancel, cancel(o.Migration), api.CodeRefused, "passed its commit")
	})
}

// What can no longer end well is given up by itself.
func TestCancelledByThePlanner(t *testing.T) {
	run(t, map[string]string{"n1": "", "n2": "", "n3": ""}, func(t *testing.T, w *world) {
		w.place(singleton("db"))
		w.hold(true)
		w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db"})
		m := w.open("db")
		w.put(events.Node(m.To), &events.NodeLost{Node: m.To, Inc: m.ToInc, Reason: events.LostSilent})
		w.Until(t, "it is to be given up", func(v *projections.Cluster) bool {
			c := v.Migrations[m.Migration].Cancel
			return c != nil && c.Why == "node_lost"
		})
		w.hold(false)
		w.runs("db")

		w.hold(true)
		w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db"})
		m = w.open("db")
		w.put(events.App("db"), &events.MigrationStarted{Ref: m.Ref(), Kind: m.Kind, SpecRev: 1, Generation: 1, FromInc: m.FromInc, ToInc: m.ToInc})
		only := singleton("db")
		only.OnNodes = []string{m.From}
		w.apply(only)
		w.Until(t, "it is to be given up", func(v *projections.Cluster) bool {
			c := v.Migrations[m.Migration].Cancel
			return c != nil && c.Why == "spec_changed"
		})
		w.hold(false)
		w.runs("db")
		same(t, "on", w.on("db")[0], m.From)
	})
}

// A move whose target may not have the app any more is given up while its source serves, and not where it is to step down. What a node is told of
// new work ends nothing that is under way.
func TestCancelledWhereTheTargetIsNoneAnyMore(t *testing.T) {
	run(t, map[string]string{"n1": "disk=ssd", "n2": "disk=ssd", "n3": "disk=ssd"}, func(t *testing.T, w *world) {
		w.place(singleton("db", "disk=ssd"))
		w.hold(true)
		w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db"})
		m := w.open("db")
		w.put(events.App("db"), &events.MigrationStarted{Ref: m.Ref(), Kind: m.Kind, SpecRev: 1, Generation: 1, FromInc: m.FromInc, ToInc: m.ToInc,
			Next: &events.Next{Step: events.StepPrepare, Node: m.To, Inc: m.ToInc}})
		w.put(events.Node(m.To), &events.NodeCordoned{Node: m.To})
		w.Pass(time.Minute)
		w.Replica.View(func(v *projections.Cluster) {
			if c := v.Migrations[m.Migration].Cancel; c != nil {
				t.Errorf("cancelled for a cordon: %+v", c)
			}
		})
		label := w.put(events.Node(m.To), &events.NodeLabelsUpdated{Node: m.To, After: map[string]string{"disk": "none"}})
		w.Until(t, "it is to be given up", func(v *projections.Cluster) bool {
			c := v.Migrations[m.Migration].Cancel
			return c != nil && c.Why == "target_ineligible"
		})
		same(t, "cause", lastEvent[events.CancelRequested](w).Cause, label.ID)
		w.hold(false)
		w.runs("db")
		same(t, "on", w.on("db")[0], m.From)

		// With the source about to step down there is no way back that costs less.
		w.hold(true)
		w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "db"})
		m = w.open("db")
		w.put(events.App("db"), &events.MigrationStarted{Ref: m.Ref(), Kind: m.Kind, SpecRev: 1, Generation: 1, FromInc: m.FromInc, ToInc: m.ToInc,
			Next: &events.Next{Step: events.StepStepDown, Node: m.From, Inc: m.FromInc}})
		w.label(m.To, "disk=none")
		w.Pass(time.Minute)
		w.Replica.View(func(v *projections.Cluster) {
			if c := v.Migrations[m.Migration].Cancel; c != nil {
				t.Errorf("cancelled when its source may have stepped down: %+v", c)
			}
		})
	})
}

func TestPolicy(t *testing.T) {
	run(t, nil, func(t *testing.T, w *world) {
		set := func(p spec.Policy) api.PolicyRequest { return api.PolicyRequest{Meta: w.Meta(), Policy: p} }
		same(t, "the default again", w.ack(api.PolicySet, set(spec.Policy{})).Changed, false)
		p := spec.Policy{Migration: spec.MigrationPolicy{MaxConcurrent: 7}}
		ack := w.ack(api.PolicySet, set(p))
		same(t, "changed", ack.Changed, true)
		same(t, "set twice", w.ack(api.PolicySet, set(p)).Changed, false)
		rep := st.Must[api.PolicyReply](t, w.Cluster, api.PolicyShow, api.ListRequest{})
		if rep.Policy.Migration.MaxConcurrent != 7 || rep.Seq != ack.Seq || rep.By != "cli:ana" ||
			!slices.Contains(rep.Enforce, "migration") || !slices.Contains(rep.Enforce, "auto_rebalance") {
			t.Errorf("%+v", rep)
		}
		e := refused(w, api.PolicySet, set(spec.Policy{Migration: spec.MigrationPolicy{LoadThreshold: 3}}), api.CodeInvalid, "load_threshold")
		same(t, "field", e.Field, "policy")
	})
}
