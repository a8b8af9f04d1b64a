package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/spec"
)

// flushTime is how long whoever stops an instance waits for the rest of its data to be shipped, where nobody asks for it.
const flushTime = 10 * time.Second

// DataKeeper is a driver whose instances have directories for their data.
type DataKeeper interface {
	DataDir(id string) string // of an instance, prepared or not
}

// replicas is a driver whose actives have their data shipped while they are active, where their spec wants that, and which keeps
// copies for instances that are about to come here. Shipping begins once the program has been started, since the files are its own, or where its commits wait for it before,
// and ends after the program: an instance that is stopped leaves everything it wrote shipped, one that is killed does not. It is safe
// for concurrent use.
type replicas struct {
	Driver
	kinds map[string]Replication
	node  string
	dir   string // of what replications keep
	path  string
	log   *zap.Logger
	now   func() time.Duration

	metrics *replicationMetrics

	mu    sync.Mutex
	ends  map[string]*replica // by instance
	led   map[string]ledData  // by instance that is led here; on disk before it is started
	holds map[string]*hold    // by instance whose commits are held back
	stay  map[string]string   // by instance: why what has to be done with its data is not done yet
	ctx   context.Context     // ends with the agent; set before anything is started
}

// ledData is what a later agent has to know to go on shipping.
type ledData struct {
	App   spec.App `json:"app"`
	Epoch uint64   `json:"epoch"`
}

// replica is one end of one instance's replication.
type replica struct {
	app    string
	epoch  uint64
	lead   Leading
	follow Following
	strays int     // objects that others have shipped into epochs before this one since those were deleted
	final  *ending // of an epoch whose data were shipped to the end; lead may be putting in order what is left here
}

// leads says whether data are being shipped.
func (e replica) leads() bool { return e.lead != nil && e.final == nil }

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
		path: filepath.Join(cfg.Dir, "replicas.json"), log: cfg.Log, now: cfg.Clock.Boot, ends: map[string]*replica{}, led: map[string]ledData{}, holds: map[string]*hold{}, stay: map[string]string{}, ctx: context.Background()}
	for _, k := range cfg.Replications {
		r.kinds[k.Kind()] = k
	}
	r.metrics = newReplicationMetrics(r.states)
	if err := loadJSON(r.path, &r.led); err != nil { // a crash of the machine: nothing of this boot is damaged
		r.log.Warn("which data an earlier agent shipped is not known", zap.Error(err))
		r.led = map[string]ledData{}
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
	before, h := r.ends[id], r.holds[id]
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
		if h != nil {
			h.interrupt()
		}
		err = before.lead.Close()
		r.counted(*before)
	}
	if before.follow != nil && (e == nil || e.follow != before.follow) {
		err = errors.Join(err, before.follow.Close())
		r.counted(*before)
	}
	return err
}

// counted keeps what an end has counted that is not held any more.
func (r *replicas) counted(e replica) {
	if s, ok := e.status(); ok {
		r.metrics.closed(s.replicaKey, s.Replicated)
	}
}

// states returns how far everything is that is shipped or followed, by whomever.
func (r *replicas) states() (all []replicaState) {
	r.mu.Lock()
	ends := make([]replica, 0, len(r.ends))
	for _, e := range r.ends {
		ends = append(ends, *e)
	}
	r.mu.Unlock()
	for _, e := range ends {
		if s, ok := e.status(); ok {
			all = append(all, s)
		}
	}
	return all
}

// remember writes down what is led here; the zero epoch forgets. It is not waited for to reach the disk: in another boot nothing is led.
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
	return writeVolatile(r.path, r.led)
}

// Start implements Driver.
func (r *replicas) Start(ctx context.Context, in Instance) (Status, error) {
	if in.Role != api.RoleActive || !in.App.Replicated() {
		return r.Driver.Start(ctx, in)
	}
	if e := r.end(in.ID); e.leads() && e.epoch == in.Epoch {
		return r.Driver.Start(ctx, in)
	}
	kind, data, err := r.promote(ctx, in.App, in.ID, in.Epoch)
	if err != nil {
		return Status{}, err
	}
	first := r.holding(in.ID, in.Epoch) // what is committed from its first moment on waits for being shipped
	if first {
		if err := r.lead(kind, data, in.Epoch); err != nil {
			return Status{}, err
		}
	}
	st, err := r.Driver.Start(ctx, in)
	if err != nil || first {
		return st, err
	}
	if err := r.lead(kind, data, in.Epoch); err != nil {
		_, stop := r.Driver.Stop(ctx, in.ID)
		return st, errors.Join(err, stop)
	}
	return st, nil
}

// promote makes the data here those of an epoch, before anything is started that may write to them. It costs no time for those which are.
func (r *replicas) promote(ctx context.Context, app spec.App, id string, epoch uint64) (Replication, Data, error) {
	kind, data, err := r.dataOf(app, id)
	if err != nil {
		return nil, Data{}, err
	}
	ended := r.end(id).final != nil // what is left of that is for Promote to give up: to wait for it is to wait for all of the data to be read
	if !ended {
		if err := r.put(id, nil); err != nil {
			return nil, Data{}, fmt.Errorf("data of %s: %w", id, err)
		}
	}
	remembered := make(chan error, 1) // both are files, and in the pause of a move
	go func() { remembered <- r.remember(id, ledData{App: app, Epoch: epoch}) }()
	promoted := kind.Promote(ctx, data, epoch)
	if err := <-remembered; err != nil {
		return nil, Data{}, err
	}
	if promoted != nil {
		return nil, Data{}, &stepError{codeData, fmt.Sprintf("data of %s are not those of epoch %d: %v", id, epoch, promoted)}
	}
	if ended {
		if err := r.put(id, nil); err != nil {
			return nil, Data{}, fmt.Errorf("data of %s: %w", id, err)
		}
	}
	return kind, data, nil
}

func (r *replicas) lead(kind Replication, data Data, epoch uint64) error {
	l, err := kind.Lead(r.ctx, data, epoch)
	if err != nil {
		return &stepError{codeData, fmt.Sprintf("data of %s not shipped: %v", data.Instance, err)}
	}
	if err := r.put(data.Instance, &replica{app: data.App.Name, epoch: epoch, lead: l}); err != nil {
		return err
	}
	go r.forget(r.ctx, kind, data, epoch, l)
	return nil
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
	if planted.FlushEarly {
		r.flushed(ctx, id)
	}
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
	if !e.leads() {
		return
	}
	try, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	if err := r.flush(try, id, e); err != nil {
		r.log.Warn("the rest of the data is not shipped", zap.String("instance", id), zap.Uint64("epoch", e.epoch), zap.Error(err))
	}
}

func (r *replicas) flush(ctx context.Context, id string, e replica) error {
	began := r.now()
	p, sum, err := e.lead.Flush(ctx)
	if err != nil {
		return err
	}
	r.metrics.flushed(e.app, r.now()-began)
	r.log.Info("data shipped to the end", zap.String("instance", id), zap.String("position", p.String()))
	return r.put(id, &replica{app: e.app, epoch: e.epoch, lead: e.lead, final: &ending{p, sum}})
}

// ending returns where the data of an epoch end that an instance led here, which runs no more. It ships what is missing. The zero
// ending is that of an instance which was never started under that epoch.
func (r *replicas) ending(ctx context.Context, app spec.App, id string, epoch uint64) (ending, error) {
	if !r.ledHere(id, epoch) {
		return ending{}, nil
	}
	e, err := r.resumed(app, id, epoch)
	if err != nil {
		return ending{}, err
	}
	if e.final == nil {
		if err := r.flush(ctx, id, e); err != nil {
			return ending{}, &stepError{codeData, fmt.Sprintf("the rest of the data of %s is not shipped: %v", id, err)}
		}
		e = r.end(id)
	}
	return *e.final, nil
}

// ledHere says whether an instance led the epoch here, in this boot.
func (r *replicas) ledHere(id string, epoch uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.led[id].Epoch == epoch
}

// resumed returns the shipping of an epoch that was led here, and takes it up again where that has ended before its end: another agent led it, or
// the instance was killed.
func (r *replicas) resumed(app spec.App, id string, epoch uint64) (replica, error) {
	if e := r.end(id); e.epoch == epoch && (e.lead != nil || e.final != nil) {
		return e, nil
	}
	kind, data, err := r.dataOf(app, id)
	if err != nil {
		return replica{}, err
	}
	if err := r.lead(kind, data, epoch); err != nil {
		return replica{}, err
	}
	return r.end(id), nil
}

// Kill implements Driver.
func (r *replicas) Kill(id string) error {
	err := r.Driver.Kill(id)
	if e := r.end(id); e.leads() {
		err = errors.Join(err, r.put(id, nil))
	}
	return err
}

// Remove implements Driver. With the data goes what was kept for them, which is made of the same; but where some were set aside, nobody else
// has those, and all stay.
func (r *replicas) Remove(id string, deleteData bool) error {
	if err := errors.Join(r.put(id, nil), r.remember(id, ledData{})); err != nil {
		return err
	}
	if deleteData {
		aside, err := r.aside(id)
		if err != nil {
			return err
		}
		if aside != "" {
			r.log.Warn("data are not deleted: what was set aside is nowhere else", zap.String("instance", id), zap.String("path", aside))
			deleteData = false
		}
	}
	if err := r.Driver.Remove(id, deleteData); err != nil || !deleteData {
		return err
	}
	return os.RemoveAll(filepath.Join(r.dir, id))
}

// aside returns a file that was set aside among the data of an instance, "" for none.
func (r *replicas) aside(id string) (string, error) {
	keeper, can := able[DataKeeper](r.Driver)
	if !can {
		return "", nil
	}
	files, err := os.ReadDir(keeper.DataDir(id))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	for _, f := range files {
		if strings.Contains(f.Name(), AsideTail) && !strings.HasSuffix(f.Name(), SpareTail) {
			return filepath.Join(keeper.DataDir(id), f.Name()), nil
		}
	}
	return "", nil
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
	return f, r.put(id, &replica{app: app.Name, epoch: epoch, follow: f})
}

// waits keeps why something is not done yet with an instance that has left, or has just come: nil says that it was done.
func (r *replicas) waits(id string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.stay, id)
		return
	}
	r.stay[id] = shorten(err.Error())
}

// state says how far the data of an instance are; nil where nothing of them is carried.
func (r *replicas) state(id string) *api.DataHealth {
	e := r.end(id)
	s, open := e.status()
	r.mu.Lock()
	why := r.stay[id]
	r.mu.Unlock()
	if why != "" && (!open || e.final != nil) {
		return &api.DataHealth{Error: why}
	}
	if open && e.final != nil && s.Err == "" {
		return nil
	}
	if !open {
		return nil
	}
	return &api.DataHealth{Position: s.Position.String(), LagMS: s.Lag.Round(time.Millisecond).Milliseconds(), Resyncs: s.Resyncs, Strays: e.strays, Error: s.Err}
}
