package planner_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	st "github.com/go-cluster/go-cluster/services/servicetest"
	"github.com/go-cluster/go-cluster/spec"
)

func (w *world) generation(app string) (g uint64) {
	w.Replica.View(func(v *projections.Cluster) { g = v.Apps[app].Generation })
	return g
}

func TestApply(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=b"}, func(t *testing.T, w *world) {
		rep := w.apply(singleton("db"))
		if !rep.Changed || rep.SpecRev != 1 || rep.Rolls || len(rep.Warnings) == 0 || !strings.Contains(rep.Warnings[0], "ephemeral") {
			t.Errorf("new: %+v", rep)
		}
		w.runs("db")

		rep = w.apply(singleton("db"))
		if rep.Changed || rep.SpecRev != 1 || stored[events.AppApplied](w) != 1 {
			t.Errorf("unchanged: %+v", rep)
		}

		from := w.on("db")[0]
		other := map[string]string{"n1": "b", "n2": "a"}[from]
		rep = w.apply(singleton("db", "role="+other))
		if !rep.Changed || rep.SpecRev != 2 || rep.Rolls || w.generation("db") != 1 {
			t.Errorf("other rules: %+v, generation %d", rep, w.generation("db"))
		}
		w.Until(t, "db moves to where it may be", func(v *projections.Cluster) bool {
			a := v.Apps["db"]
			return len(a.Open) == 0 && a.SortedInstances()[0].Node != from
		})
		same(t, "reason", last[events.PlanAdmitted](w).Moves[0].Reason, events.ReasonConstraintUpdate)

		w.hold(true)
		changed := singleton("db", "role="+other)
		changed.Process.Command = []string{"/bin/app", "--new"}
		rep = w.apply(changed)
		if !rep.Changed || rep.SpecRev != 3 || !rep.Rolls || w.generation("db") != 2 {
			t.Errorf("another process: %+v, generation %d", rep, w.generation("db"))
		}
		if m := w.open("db"); m.Kind != events.KindInPlace || m.Class != events.ClassRepair || m.Reason != events.ReasonSpecUpdate {
			t.Errorf("the roll is %+v", m.Move)
		}
		w.hold(false)
		w.Until(t, "the new process runs", func(v *projections.Cluster) bool {
			a := v.Apps["db"]
			return len(a.Open) == 0 && a.Instances["db-0"].Generation == 2
		})
	})
}

func TestApplyIsRefused(t *testing.T) {
	run(t, map[string]string{"n1": ""}, func(t *testing.T, w *world) {
		w.place(singleton("db"))
		ask := func(a spec.App, code api.Code, says string) *api.Error {
			t.Helper()
			return refused(w, api.AppApply, api.ApplyRequest{Meta: w.Meta(), Spec: a}, code, says)
		}
		e := ask(pool("db", 2), api.CodeRefused, "mode: cannot change from singleton to replicas while instances exist")
		if e.Seq == 0 || stored[events.RequestRefused](w) != 1 || last[events.RequestRefused](w).Request != "app.apply" {
			t.Errorf("the refusal is not in the log: %+v", e)
		}
		same(t, "field of an invalid spec", ask(spec.App{Name: "x", Mode: spec.Singleton}, api.CodeInvalid, "process.command").Field, "spec")
		ask(spec.App{Name: "No Name", Mode: spec.Singleton, Process: &spec.Process{Command: []string{"x"}}}, api.CodeInvalid, "name")
		stay := singleton("stay")
		stay.Standbys = 1
		ask(stay, api.CodeInvalid, "standbys: a standby follows the app's data, and none are replicated: name its database with sqlite")
		many := pool("many", 2)
		many.Standbys = 1
		ask(many, api.CodeInvalid, "standbys: only mode singleton has it, and the mode is replicas")
		partly := singleton("partly")
		partly.Data = spec.DataLocal
		same(t, "field of an unsupported spec", ask(partly, api.CodeUnsupported, "data").Field, "data")
		same(t, "refusals of what can never be stored", stored[events.RequestRefused](w), 1)
		withData := singleton("db")
		withData.SQLite = "$GC_DATA_DIR/app.db"
		ask(withData, api.CodeRefused, "sqlite: cannot change from none to $GC_DATA_DIR/app.db while instances exist")
		vip := singleton("vip")
		vip.VIP = &spec.VIP{Address: "10.0.0.9/24", Interface: "eth0"}
		ask(vip, api.CodeRefused, "no node can carry its address 10.0.0.9/24 on eth0")
	})
}

func TestRemove(t *testing.T) {
	run(t, map[string]string{"n1": ""}, func(t *testing.T, w *world) {
		remove := api.AppRequest{App: "db", DeleteLocal: true}
		remove.Meta = w.Meta()
		refused(w, api.AppRemove, remove, api.CodeNotFound, "remove db: no such app")
		w.place(singleton("db"))
		w.hold(true)
		remove.Meta = w.Meta()
		same(t, "changed", w.ack(api.AppRemove, remove).Changed, true)
		if m := w.open("db"); m.Kind != events.KindStop || !m.DeleteLocal {
			t.Errorf("the removal is %+v", m.Move)
		}
		remove.Meta = w.Meta()
		same(t, "removed twice", w.ack(api.AppRemove, remove).Changed, false)
		refused(w, api.AppApply, api.ApplyRequest{Meta: w.Meta(), Spec: singleton("db")}, api.CodeRefused, "still being removed (1 instances left)")
		refused(w, api.AppRestart, api.AppRequest{Meta: w.Meta(), App: "db"}, api.CodeNotFound, "no such app")
		w.hold(false)
		w.Until(t, "db is gone", func(v *projections.Cluster) bool { return !v.Apps["db"].Exists() })
		remove.Meta = w.Meta()
		refused(w, api.AppRemove, remove, api.CodeNotFound, "no such app")

		// A mode may change across a removal; revision and generation go on, so that nothing old is taken for it.
		rep := w.apply(pool("db", 1))
		if !rep.Changed || rep.SpecRev != 2 || w.generation("db") != 2 {
			t.Errorf("again: %+v, generation %d", rep, w.generation("db"))
		}
		w.runs("db")
	})
}

func TestRemoveDuringAMigration(t *testing.T) {
	run(t, map[string]string{"n1": "", "n2": ""}, func(t *testing.T, w *world) {
		w.place(pool("web", 1))
		w.hold(true)
		to := map[string]string{"n1": "n2", "n2": "n1"}[w.on("web")[0]]
		move := func() projections.Migration {
			t.Helper()
			w.ack(api.AppMove, api.MoveRequest{Meta: w.Meta(), App: "web", To: to})
			m := w.open("web")
			w.put(events.App("web"), &events.MigrationStarted{Ref: m.Ref(), Kind: m.Kind, SpecRev: 1, Generation: 1, FromInc: m.FromInc, ToInc: m.ToInc})
			return m
		}
		m := move()
		w.put(events.App("web"), &events.StepCompleted{Ref: m.Ref(), Step: events.StepStart, Node: to})
		e := refused(w, api.AppRemove, api.AppRequest{Meta: w.Meta(), App: "web"}, api.CodeRefused, m.Migration+" has passed its commit")
		if e.Seq == 0 {
			t.Error("the refusal is not in the log")
		}
		w.hold(false)
		w.runs("web")

		w.hold(true)
		to = map[string]string{"n1": "n2", "n2": "n1"}[w.on("web")[0]]
		m = move()
		w.ack(api.AppRemove, api.AppRequest{Meta: w.Meta(), App: "web"})
		w.Until(t, "the migration is asked to give up", func(v *projections.Cluster) bool {
			c := v.Migrations[m.Migration].Cancel
			return c != nil && c.Why == "app_removed"
		})
		w.hold(false)
		w.Until(t, "web is gone", func(v *projections.Cluster) bool { return !v.Apps["web"].Exists() })
	})
}

func TestRestart(t *testing.T) {
	run(t, map[string]string{"n1": "", "n2": ""}, func(t *testing.T, w *world) {
		refused(w, api.AppRestart, api.AppRequest{Meta: w.Meta(), App: "web"}, api.CodeNotFound, "restart web: no such app")
		w.place(pool("web", 2))
		w.hold(true)
		w.ack(api.AppRestart, api.AppRequest{Meta: w.Meta(), App: "web"})
		m := w.open("web")
		if m.Reason != events.ReasonManual || m.Trigger != events.TriggerManual || m.Kind != events.KindInPlace {
			t.Errorf("the restart is %+v", m.Move)
		}
		w.Pass(0)
		w.Replica.View(func(v *projections.Cluster) { same(t, "replaced at once", len(v.Apps["web"].Open), 1) })
		w.hold(false)
		w.Until(t, "both are fresh", func(v *projections.Cluster) bool {
			for _, in := range v.Apps["web"].Instances {
				if in.Generation != 2 {
					return false
				}
			}
			return len(v.Apps["web"].Open) == 0
		})
		same(t, "instances", len(w.on("web")), 2)
	})
}

func TestListAndShow(t *testing.T) {
	run(t, map[string]string{"n1": "role=a", "n2": "role=b"}, func(t *testing.T, w *world) {
		w.place(singleton("db"))
		w.apply(singleton("lonely", "role=c"))
		w.Until(t, "lonely is Pending", func(v *projections.Cluster) bool { return v.Apps["lonely"].Pending != nil })
		list := st.Must[[]api.AppView](t, w.Cluster, api.AppList, api.ListRequest{})
		if len(list) != 2 || list[0].Name != "db" || list[0].State != api.AppRunning || list[1].State != api.AppPending {
			t.Errorf("apps: %+v", list)
		}
		detail := st.Must[api.AppDetail](t, w.Cluster, api.AppShow, api.AppRequest{App: "lonely"})
		nodes := []string{}
		for _, r := range detail.Pending {
			nodes = append(nodes, r.Node)
		}
		if !slices.Equal(nodes, []string{"n1", "n2"}) || !strings.Contains(detail.Why, "none of 2 nodes can take lonely-0: 2 label") {
			t.Errorf("lonely: %v %q", nodes, detail.Why)
		}
		same(t, "Pending is stored once", stored[events.PlacementInvalid](w), 1)
		refused(w, api.AppShow, api.AppRequest{App: "none"}, api.CodeNotFound, "no such app")

		ms := st.Must[[]api.MigrationView](t, w.Cluster, api.MigrationList, api.ListRequest{App: "db"})
		if len(ms) != 1 || ms[0].Status != api.MigrationCompleted {
			t.Fatalf("migrations: %+v", ms)
		}
		same(t, "migrations of a node without any", len(st.Must[[]api.MigrationView](t, w.Cluster, api.MigrationList, api.ListRequest{Node: "n9"})), 0)
		if m := st.Must[api.MigrationDetail](t, w.Cluster, api.MigrationShow, api.MigrationRequest{Migration: ms[0].ID}); len(m.Steps) != 3 {
			t.Errorf("migration: %+v", m)
		}
		refused(w, api.MigrationShow, api.MigrationRequest{Migration: "m-none"}, api.CodeNotFound, "no such migration")
		w.label("n2", "role=c")
		w.runs("lonely")
		same(t, "reason", last[events.PlanAdmitted](w).Moves[0].Reason, events.ReasonLabelChange)
	})
}
