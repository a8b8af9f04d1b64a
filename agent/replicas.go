package agent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// flushTime is how long whoever stops an instance waits for the rest of its data to be shipped, where nobody asks for it.
const flushTime = 10 * time.Second

// DataKeeper is a driver whose instances have directories for their data.
type DataKeeper interface {
	DataDir(id string) string // of an instance, prepared or not
}

// replicas is a driver whose actives have their data shipped while they are active, where their spec wants that, and which keeps
// copies for instances that are about to come here. Shipping begins once the program has been started, since the files are its own,
// and ends after the program: an instance that is stopped leaves everything it wrote shipped, one that is killed does not. It is safe
// for concurrent use.
type replicas struct {
	Driver
	kinds map[string]Replication
	node  string
	dir   string // of what replications keep
	path  string
	log   *zap.Logger

	mu   sync.Mutex
	ends map[string]*replica // by instance
	led  map[string]ledData  // by instance that is led here; on disk before it is started
	ctx  context.Context     // ends with the agent; set before anything is started
}

// ledData is what a later agent has to know to go on shipping.
type ledData struct {
	App   spec.App `json:"app"`
	Epoch uint64   `json:"epoch"`
}

// replica is one end of one instance's replication.
type replica struct {
	epoch  uint64
	lead   Leading
	follow Following
	final  *ending // of an epoch whose data were shipped to the end
}

// ending is where the data of an epoch end.
type ending struct {
	position events.Position
	checksum string
}

// demotingReplicas is replicas over a driver whose actives can step down.
type demotingReplicas struct{ *replicas }

// Demote implements Demoter.
func (d demotingReplicas) Demote(ctx context.Context, id string) (Status, error) {
	st, err := d.Driver.(Demoter).Demote(ctx, id)
	if err == nil {
		d.flushed(ctx, id)
	}
	return st, err
}

func newReplicas(cfg Config) (*replicas, Driver, error) {
	r := &replicas{Driver: cfg.Driver, kinds: map[string]Replication{}, node: cfg.Node, dir: filepath.Join(cfg.Dir, "replicas"),
		path: filepath.Join(cfg.Dir, "replicas.json"), log: cfg.Log, ends: map[string]*replica{}, led: map[string]ledData{}, ctx: context.Background()}
	for _, k := range cfg.Replications {
		r.kinds[k.Kind()] = k
	}
	if err := loadJSON(r.path, &r.led); err != nil {
		return nil, nil, fmt.Errorf("data that an earlier agent shipped: %w", err)
	}
	if _, can := cfg.Driver.(Demoter); can {
		return r, demotingReplicas{r}, nil
	}
	return r, r, nil
}

// wrapped returns the driver that does the work.
func (r *replicas) wrapped() Driver { return r.Driver }

// dataOf returns the replication of an app's data, and where they are for one of its instances.
func (r *replicas) dataOf(app spec.App, instance string) (Replication, Data, error) {
	fail := func(err error) (Replication, Data, error) {
		return nil, Data{}, &stepError{codeData, fmt.Sprintf("data of %s: %v", instance, err)}
	}
	kind := r.kinds[app.Replication()]
	if kind == nil {
		return fail(fmt.Errorf("this agent cannot replicate %s", app.Replication()))
	}
	d := Data{App: app, Instance: instance, Dir: filepath.Join(r.dir, instance)}
	if app.SQLite != "" {
		keeper, can := able[DataKeeper](r.Driver)
		if !can {
			return fail(errors.New("this agent's apps have no data directories"))
		}
		var err error
		d.Path, err = spec.Expand(app.SQLite, map[string]string{"GC_DATA_DIR": keeper.DataDir(instance), "GC_APP": app.Name, "GC_INSTANCE": instance, "GC_NODE": r.node})
		if err != nil {
			return fail(fmt.Errorf("sqlite: %w", err))
		}
		if !filepath.IsAbs(d.Path) {
			d.Path = filepath.Join(keeper.DataDir(instance), d.Path)
		}
	}
	return kind, d, nil
}

func (r *replicas) end(id string) replica {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.ends[id]; e != nil {
		return *e
	}
	return replica{}
}

// put replaces what is held of an instance. What it replaces is closed.
func (r *replicas) put(id string, e *replica) error {
	r.mu.Lock()
	before := r.ends[id]
	if e == nil {
		delete(r.ends, id)
	} else {
		r.ends[id] = e
	}
	r.mu.Unlock()
	if before == nil {
		return nil
	}
	var err error
	if before.lead != nil && (e == nil || e.lead != before.lead) {
		err = before.lead.Close()
	}
	if before.follow != nil && (e == nil || e.follow != before.follow) {
		err = errors.Join(err, before.follow.Close())
	}
	return err
}

// remember writes down what is led here; the zero epoch forgets.
func (r *replicas) remember(id string, l ledData) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if have, known := r.led[id]; known == (l.Epoch > 0) && have.Epoch == l.Epoch {
		return nil
	}
	if l.Epoch > 0 {
		r.led[id] = l
	} else {
		delete(r.led, id)
	}
	return saveJSON(r.path, r.led)
}

// Start implements Driver.
func (r *replicas) Start(ctx context.Context, in Instance) (Status, error) {
	if in.Role != api.RoleActive || !in.App.Replicated() {
		return r.Driver.Start(ctx, in)
	}
	if e := r.end(in.ID); e.lead != nil && e.epoch == in.Epoch {
		return r.Driver.Start(ctx, in)
	}
	kind, data, err := r.dataOf(in.App, in.ID)
	if err != nil {
		return Status{}, err
	}
	if err := r.put(in.ID, nil); err != nil {
		return Status{}, fmt.Errorf("data of %s: %w", in.ID, err)
	}
	if err := r.remember(in.ID, ledData{App: in.App, Epoch: in.Epoch}); err != nil {
		return Status{}, err
	}
	st, err := r.Driver.Start(ctx, in)
	if err != nil {
		return st, err
	}
	if err := r.lead(kind, data, in.Epoch); err != nil {
		_, stop := r.Driver.Stop(ctx, in.ID)
		return st, errors.Join(err, stop)
	}
	return st, nil
}

func (r *replicas) lead(kind Replication, data Data, epoch uint64) error {
	l, err := kind.Lead(r.ctx, data, epoch)
	if err != nil {
		return &stepError{codeData, fmt.Sprintf("data of %s not shipped: %v", data.Instance, err)}
	}
	return r.put(data.Instance, &replica{epoch: epoch, lead: l})
}

// Adopt implements Driver. What an earlier agent shipped is shipped on while its instance runs.
func (r *replicas) Adopt(ctx context.Context) ([]Status, error) {
	all, err := r.Driver.Adopt(ctx)
	for _, st := range all {
		l, led := r.led[st.ID]
		if !led || !lives(st.State) || st.Role != api.RoleActive || st.Epoch != l.Epoch {
			continue
		}
		kind, data, failed := r.dataOf(l.App, st.ID)
		if failed == nil {
			failed = r.lead(kind, data, l.Epoch)
		}
		err = errors.Join(err, failed)
	}
	return all, err
}

// Stop implements Driver.
func (r *replicas) Stop(ctx context.Context, id string) (Status, error) {
	st, err := r.Driver.Stop(ctx, id)
	if err == nil {
		r.flushed(ctx, id)
	}
	return st, err
}

// flushed ships the rest of what an instance wrote that has ended. When that cannot be done its data are all here still, and who has
// to know asks for its ending.
func (r *replicas) flushed(ctx context.Context, id string) {
	e := r.end(id)
	if e.lead == nil {
		return
	}
	try, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	if err := r.flush(try, id, e); err != nil {
		r.log.Warn("the rest of the data is not shipped", zap.String("instance", id), zap.Uint64("epoch", e.epoch), zap.Error(err))
	}
}

func (r *replicas) flush(ctx context.Context, id string, e replica) error {
	p, sum, err := e.lead.Flush(ctx)
	if err != nil {
		return err
	}
	return r.put(id, &replica{epoch: e.epoch, final: &ending{p, sum}})
}

// ending returns where the data of an epoch end that an instance led here, which runs no more. It ships what is missing. The zero
// ending is that of an instance which was never started under that epoch.
func (r *replicas) ending(ctx context.Context, app spec.App, id string, epoch uint64) (ending, error) {
	r.mu.Lock()
	led := r.led[id].Epoch == epoch
	r.mu.Unlock()
	if !led {
		return ending{}, nil
	}
	e := r.end(id)
	if e.epoch != epoch || e.lead == nil && e.final == nil { // another agent led it
		kind, data, err := r.dataOf(app, id)
		if err != nil {
			return ending{}, err
		}
		if err := r.lead(kind, data, epoch); err != nil {
			return ending{}, err
		}
		e = r.end(id)
	}
	if e.final == nil {
		if err := r.flush(ctx, id, e); err != nil {
			return ending{}, &stepError{codeData, fmt.Sprintf("the rest of the data of %s is not shipped: %v", id, err)}
		}
		e = r.end(id)
	}
	return *e.final, nil
}

// Kill implements Driver.
func (r *replicas) Kill(id string) error {
	err := r.Driver.Kill(id)
	if e := r.end(id); e.lead != nil {
		err = errors.Join(err, r.put(id, nil))
	}
	return err
}

// Remove implements Driver.
func (r *replicas) Remove(id string, deleteData bool) error {
	if err := errors.Join(r.put(id, nil), r.remember(id, ledData{})); err != nil {
		return err
	}
	return r.Driver.Remove(id, deleteData)
}

// follow has a copy of an instance's data follow an epoch, unless it does already.
func (r *replicas) follow(app spec.App, id string, epoch uint64) (Following, error) {
	if e := r.end(id); e.follow != nil && e.epoch == epoch {
		return e.follow, nil
	}
	kind, data, err := r.dataOf(app, id)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(r.put(id, nil), r.remember(id, ledData{})); err != nil {
		return nil, err
	}
	f, err := kind.Follow(r.ctx, data, epoch)
	if err != nil {
		return nil, &stepError{codeData, fmt.Sprintf("data of %s not followed: %v", id, err)}
	}
	return f, r.put(id, &replica{epoch: epoch, follow: f})
}

// state says how far the data of an instance are; nil where nothing of them is carried.
func (r *replicas) state(id string) *api.DataHealth {
	e := r.end(id)
	var s Replicated
	switch {
	case e.lead != nil:
		s = e.lead.Status()
	case e.follow != nil:
		s = e.follow.Status()
	default:
		return nil
	}
	return &api.DataHealth{Position: s.Position.String(), LagMS: s.Lag.Round(time.Millisecond).Milliseconds(), Resyncs: s.Resyncs, Error: s.Err}
}
