package agent

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// A standby is on its node what the app's instance will be when it is promoted: it has the same name here, and with that the same
// directory, ports and copy. The log tells them apart by ids of their own. An agent keeps it by itself, for as long as the log has it
// here: prepared, and following the newest epoch that anything was written under.

// standbyName is what a standby is called here.
func (a *assignment) standbyName() string { return spec.InstanceID(a.app, 0) }

// local returns what that which a move is about is called here.
func (a *assignment) local(m *events.Move) string {
	if m.Standby() {
		return a.standbyName()
	}
	return m.Instance
}

// stands returns the standby that the log has here under the incarnation, nil for none.
func (a *assignment) stands(app *projections.App, inc string) *projections.Instance {
	if app == nil {
		return nil
	}
	if s := app.StandbyAt(a.node); s != nil && s.Inc == inc {
		return s
	}
	return nil
}

// written returns the newest epoch that anything may have been written under, nil for none.
func written(app *projections.App) *projections.Term {
	for i := range app.Terms {
		if app.Terms[i].Activated {
			return &app.Terms[i]
		}
	}
	return nil
}

// stand returns what is to be done for the standby here.
func (a *assignment) stand(app *projections.App, inc string, have map[string]Status, k known) deed {
	id := a.standbyName()
	if a.stands(app, inc) == nil || a.moving(app, id) || k.defers(id) {
		return deed{}
	}
	run, missing := a.instance(id, app.SpecRev, app.Generation)
	if missing {
		return deed{}
	}
	run.Role = api.RoleStandby
	d := deed{kind: deedStand, instance: id, run: run}
	if t := written(app); t != nil && run.App.Replicated() && t.Inc != inc { // what it wrote itself it need not follow
		d.epoch = t.Epoch
	}
	st, exists := have[id]
	if exists && prepared(st, run) && k.follows(id) == d.epoch {
		return deed{}
	}
	return d
}

// prepared says whether an instance is ready for what is to run.
func prepared(st Status, run Instance) bool {
	return st.State == StateReady && (run.App.Process == nil || st.Generation == run.Generation)
}

// removal returns what is to be done for what has no place here any more.
func (a *assignment) removal(app *projections.App, id string) deed {
	d := deed{kind: deedRemove, instance: id, deleteData: a.drop[id]}
	if app == nil {
		return d
	}
	if d.run, _ = a.instance(id, app.SpecRev, app.Generation); app.Removed {
		d.deleteData = d.deleteData || app.DeleteLocal
		return d // of what nobody wants any more nothing has to be proved
	}
	if t := written(app); t != nil {
		d.epoch = t.Epoch
	}
	return d
}

// stand makes a standby ready and has its copy follow.
func (w *worker) stand(ctx context.Context, m mandate, d deed) error {
	ctx, cancel := m.during(ctx)
	defer cancel(nil)
	return w.with(ctx, m, d.instance, func(ctx context.Context) error {
		if st, ok := w.a.cfg.Driver.Status(d.instance); ok && lives(st.State) {
			if _, err := w.a.cfg.Driver.Stop(ctx, d.instance); err != nil {
				return err
			}
		}
		switch st, err := w.a.cfg.Driver.Prepare(ctx, w.equip(d.run)); {
		case err != nil:
			return err
		case !prepared(st, d.run): // else the same would be done again at once, for ever
			return fmt.Errorf("standby %s is %s (generation %d) though it was prepared for generation %d", d.instance, st.State, st.Generation, d.run.Generation)
		}
		if d.epoch == 0 {
			return w.a.data.unfollow(d.instance)
		}
		if w.a.data.follows(d.instance) == 0 { // what was led here may be more, or other, than what the app went on with
			if err := w.leaveBehind(ctx, d.instance); err != nil {
				return err
			}
		}
		if err := w.a.data.succeed(ctx, d.run.App, d.instance, d.epoch); err != nil {
			return err
		}
		w.log.Info("standby follows", zap.String("instance", d.instance), zap.Uint64("epoch", d.epoch))
		w.a.kick()
		return nil
	})
}

// follows returns the epoch whose data a copy of an instance follows, 0 for none.
func (r *replicas) follows(id string) uint64 {
	if e := r.end(id); e.follow != nil {
		return e.epoch
	}
	return 0
}

// unfollow ends the following of a copy. What it has stays.
func (r *replicas) unfollow(id string) error {
	if r.follows(id) == 0 {
		return nil
	}
	return r.put(id, nil)
}

// succeed has a copy of an instance's data follow an epoch, as follow does. A copy of another epoch, or what was led here itself, is given up
// only once what is stored of the new one is proved to be enough to restore from: until then it may be the best that anybody has.
func (r *replicas) succeed(ctx context.Context, app spec.App, id string, epoch uint64) error {
	if r.follows(id) == epoch {
		return nil
	}
	kind, data, err := r.dataOf(app, id)
	if err != nil {
		return err
	}
	of, err := kind.Local(data)
	if err != nil {
		return fmt.Errorf("data of %s: %w", id, err)
	}
	if of != 0 && of != epoch {
		if err := kind.Prove(ctx, data, epoch); err != nil {
			return fmt.Errorf("data of %s of epoch %d are kept: %w", id, of, err)
		}
	}
	_, err = r.follow(app, id, epoch)
	return err
}

// spare returns nil when the data of an instance that has left can be deleted: what is stored of the epoch that counts is enough to restore
// from.
func (r *replicas) spare(ctx context.Context, app spec.App, id string, epoch uint64) error {
	if !app.Replicated() || epoch == 0 {
		return nil
	}
	kind, data, err := r.dataOf(app, id)
	if err == nil {
		err = kind.Prove(ctx, data, epoch)
	}
	if err != nil {
		return fmt.Errorf("data of %s are not deleted yet: %w", id, err)
	}
	return nil
}
