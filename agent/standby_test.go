package agent

import (
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// stood is a history at whose end the app's instance runs there, under the epoch, and a standby of it is here.
func stood(epoch uint64) *tape {
	t := newTape("app")
	t.node(&events.NodeJoined{Node: "here", Inc: "i1", Machine: "m"})
	a := spec.App{Name: "app", Mode: spec.Singleton, Standbys: 1, SQLite: "app.db", Process: &spec.Process{Command: []string{"/bin/one"}}}.WithDefaults()
	t.event(&events.AppApplied{Spec: a, SpecRev: 1, Generation: 1})
	t.leads("m1", epoch)
	r := events.Ref{Migration: "s1", Instance: "app-1", ToNode: "here", Reason: events.ReasonSpecUpdate}
	t.event(&events.MigrationStarted{Ref: r, Kind: events.KindPlace, SpecRev: 1, Generation: 1, ToInc: "i1", Role: events.RoleStandby, Next: here(events.StepPrepare)})
	return t
}

// leads has the instance be placed there under an epoch.
func (t *tape) leads(migration string, epoch uint64) {
	r := ref(migration, "", "there")
	t.event(&events.MigrationStarted{Ref: r, Kind: events.KindPlace, SpecRev: 1, Generation: 1, ToInc: "j1", Next: there(events.StepPrepare)})
	t.event(&events.LeadershipGranted{Ref: r, Epoch: epoch, Node: "there", Inc: "j1", Next: there(events.StepPersist)})
	t.event(&events.LeadershipActivated{Ref: r, Epoch: epoch, Node: "there", Inc: "j1", Next: there(events.StepActivate)})
	t.event(&events.MigrationCompleted{Ref: r, Step: events.StepActivate})
}

func (t *tape) placed1() *tape {
	t.event(&events.MigrationCompleted{Ref: events.Ref{Migration: "s1", Instance: "app-1", ToNode: "here", Reason: events.ReasonSpecUpdate}, Step: events.StepPrepare})
	return t
}

func TestStandbyIsKept(t *testing.T) {
	prepared := Status{ID: "app-0", App: "app", State: StateReady, Role: api.RoleStandby, Generation: 1}
	state := func(s State) Status { p := prepared; p.State = s; return p }
	following := func(epoch uint64, st ...Status) known {
		k := with(st...)
		k.follows = func(string) uint64 { return epoch }
		return k
	}
	next := func() *tape { // the app has moved on to another epoch there
		h := stood(1).placed1()
		h.leads("m2", 2)
		return h
	}
	granted := func() *tape {
		h := stood(1).placed1()
		r := ref("m2", "", "there")
		h.event(&events.MigrationStarted{Ref: r, Kind: events.KindPlace, SpecRev: 1, Generation: 1, ToInc: "j1", Next: there(events.StepPrepare)})
		h.event(&events.LeadershipGranted{Ref: r, Epoch: 2, Node: "there", Inc: "j1", Next: there(events.StepPersist)})
		return h
	}
	promoted := func() *tape {
		h := stood(1).placed1()
		h.event(&events.MigrationStarted{Ref: ref("m2", "there", "here"), Kind: events.KindMove, SpecRev: 1, Generation: 1, FromInc: "j1", ToInc: "i1", Keep: true, Next: here(events.StepPrepare)})
		return h
	}
	retired := func() *tape {
		h := stood(1).placed1()
		r := events.Ref{Migration: "s2", Instance: "app-1", FromNode: "here", Reason: events.ReasonScale}
		h.event(&events.MigrationStarted{Ref: r, Kind: events.KindStop, SpecRev: 1, FromInc: "i1", Role: events.RoleStandby, Next: here(events.StepStop)})
		h.event(&events.MigrationCompleted{Ref: r, Step: events.StepStop})
		return h
	}
	for name, c := range map[string]struct {
		tape  *tape
		k     known
		kind  deedKind
		epoch uint64
	}{
		"it is ordered":                               {stood(1), nothing(), deedPerform, 0},
		"it is there and follows":                     {stood(1).placed1(), following(1, prepared), deedNone, 0},
		"it is there and does not follow":             {stood(1).placed1(), with(prepared), deedStand, 1},
		"it is not there":                             {stood(1).placed1(), nothing(), deedStand, 1},
		"it was killed":                               {stood(1).placed1(), following(1, state(StateStopped)), deedStand, 1},
		"it follows the epoch before":                 {next(), following(1, prepared), deedStand, 2},
		"nobody has written under the new epoch":      {granted(), following(1, prepared), deedNone, 0},
		"it is about to be more: only orders count":   {promoted(), following(1, prepared), deedPerform, 0},
		"it has no place here any more":               {retired(), following(1, prepared), deedRemove, 1},
		"it is prepared as an older definition of it": {stood(1).placed1(), following(1, Status{ID: "app-0", App: "app", State: StateReady}), deedStand, 1},
		"its copy is not to be touched for some time": {stood(1).placed1(), func() known { k := nothing(); k.defers = func(string) bool { return true }; return k }(), deedNone, 0},
	} {
		d := c.tape.next("i1", c.k)
		if d.kind != c.kind || c.epoch != 0 && d.epoch != c.epoch {
			t.Errorf("%s: it does %q for epoch %d, want %q for epoch %d", name, d.kind, d.epoch, c.kind, c.epoch)
		}
		if d.kind == deedPerform && (d.order.instance != "app-0" || d.order.standby && d.order.named != "app-1") {
			t.Errorf("%s: it is %s here and %s in the log", name, d.order.instance, d.order.named)
		}
		if d.kind == deedStand && d.run.Role != api.RoleStandby {
			t.Errorf("%s: it is prepared as %s", name, d.run.Role)
		}
	}
	if d := stood(1).placed1().next("i2", with(prepared)); d.kind != deedNone && d.kind != deedRemove {
		t.Errorf("another incarnation does %q with it", d.kind)
	}
}
