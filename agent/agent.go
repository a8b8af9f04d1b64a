package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/transport"
)

// agent is one running agent.
type agent struct {
	cfg      Config
	me       identity
	subjects events.Subjects
	js       jetstream.JetStream
	events   *events.Log // nil until it could be opened; workers start after that

	auth    *authority
	fence   *fence
	hands   *hands
	vips    *vips
	data    *replicas
	lost    *lostData
	epochs  *epochs
	ended   *ended
	hosted  *hosted
	journal *journal

	// leaving says that the apps are being stopped because the incarnation ends with them: until that is said, the lease says what it
	// said before. Otherwise what stops here would be taken for failed, and started again here.
	leaving atomic.Bool
	shown   api.Lease // what the last lease said of instances; of the keeper alone

	folded      atomic.Uint64 // newest sequence that any worker has folded
	connections atomic.Uint64 // connections to NATS so far, at least 1
	kicked      chan struct{} // the lease is to be renewed at once; has room for one

	mu      sync.Mutex // taken before any worker's, never after
	session session
	workers map[string]*worker
	ctx     context.Context // of the workers; nil while none may be started
	working sync.WaitGroup
}

// session is an incarnation that has joined.
type session struct {
	inc    string
	joined uint64 // sequence of its joined event
}

// Run is the agent of a node until ctx ends, which is no error; the apps go on running then, unless Config.StopAppsOnExit says
// otherwise. It waits for NATS, for the cluster's streams and for the control plane as long as it takes. An error says why this
// agent cannot be the node's: the directory is in use, or somebody else is this node; in the latter case nothing runs any more.
func Run(ctx context.Context, cfg Config) (err error) {
	cfg, err = cfg.withDefaults()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("agent of node %s: %w", cfg.Node, err)
		}
	}()
	if cfg.Host == "" {
		if cfg.Host, err = os.Hostname(); err != nil {
			return err
		}
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	a, err := open(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.journal.Close(), a.epochs.Close()) }()
	return a.run(ctx)
}

func open(cfg Config) (*agent, error) {
	a := &agent{cfg: cfg, kicked: make(chan struct{}, 1), workers: map[string]*worker{}}
	a.connections.Store(1)
	var err error
	if a.subjects, err = events.NewSubjects(cfg.Cluster); err != nil {
		return nil, err
	}
	if a.js, err = jetstream.New(cfg.NC); err != nil {
		return nil, err
	}
	if a.me, err = openIdentity(cfg.Dir, cfg.Cluster, cfg.Node, cfg.BootID); err != nil {
		return nil, err
	}
	if a.epochs, err = openEpochs(cfg.Dir); err != nil {
		return nil, err
	}
	if a.ended, err = openEnded(cfg.Dir); err != nil {
		return nil, err
	}
	if a.hosted, err = openHosted(cfg.Dir); err != nil {
		return nil, err
	}
	if a.lost, err = openLost(cfg.Dir); err != nil {
		return nil, err
	}
	if a.data, cfg.Driver, err = newReplicas(cfg); err != nil {
		return nil, err
	}
	if a.vips, a.cfg.Driver, err = newVIPs(cfg); err != nil {
		return nil, err
	}
	cfg = a.cfg
	// What runs already has its deadline from the agent before, in the hands of the watchdogs; ours can only be later.
	a.auth = newAuthority(cfg.Clock.Boot, cfg.Clock.Boot()+cfg.TTL-cfg.Margin)
	a.hands = newHands(cfg.Driver)
	if w, ok := able[EpochWatcher](cfg.Driver); ok {
		for app, epoch := range a.epochs.All() {
			w.Seen(app, epoch)
		}
	}
	a.fence = &fence{auth: a.auth, hands: a.hands, driver: cfg.Driver, ended: a.ended, hosted: a.hosted, log: cfg.Log}
	a.journal, err = openJournal(cfg.Dir, a.me.Boot)
	return a, err
}

func (a *agent) run(ctx context.Context) error {
	a.cfg.Driver.Notify(func(id string) {
		a.kick()
		a.nudge(id)
	})
	holding, letGo := context.WithCancel(context.WithoutCancel(ctx)) // the lease is renewed for longer than anything else goes on
	defer letGo()
	a.vips.ctx, a.data.ctx = holding, holding
	if a.cfg.Metrics != nil {
		metrics := prometheus.WrapRegistererWith(prometheus.Labels{"node": a.cfg.Node}, a.cfg.Metrics)
		if err := metrics.Register(a.data.metrics); err != nil {
			return err
		}
		defer metrics.Unregister(a.data.metrics)
	}
	adopted, err := a.cfg.Driver.Adopt(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		a.cfg.Log.Error("not everything that an earlier agent left could be taken over", zap.Error(err))
	}
	for _, st := range adopted {
		if err := a.hosted.Add(st.App); err != nil {
			return err
		}
	}

	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var lease errgroup.Group
	lease.Go(func() error { a.vips.run(); return nil })
	lease.Go(func() error { a.fence.run(holding); return nil })
	lease.Go(func() error {
		k := &keeper{cfg: a.cfg, me: a.me, leases: transport.NewLeases(a.js, a.subjects), fence: a.fence, payload: a.describe, kick: a.kicked, log: a.cfg.Log}
		err := k.run(holding)
		stop(err)
		return err
	})
	err = a.work(working)
	if ctx.Err() != nil && a.cfg.StopAppsOnExit {
		a.leaving.Store(a.cfg.LeaveOnExit)
		err = errors.Join(err, a.stopApps(holding))
	}
	letGo()
	if ctx.Err() == nil && err == nil {
		err = errors.New("ended by itself")
	}
	if held := lease.Wait(); held != nil {
		return held // the reason for all the rest
	}
	return err
}

// work does everything but hold the lease, until ctx ends.
func (a *agent) work(ctx context.Context) error {
	log, err := a.openLog(ctx)
	if err != nil {
		return nil //nolint:nilerr // ctx has ended
	}
	a.events = log
	g, ctx := errgroup.WithContext(ctx)
	workers, stop := context.WithCancel(ctx)
	a.mu.Lock()
	a.ctx = workers
	for _, app := range a.hosted.Apps() {
		a.worker(app)
	}
	for _, app := range a.cfg.Facts.Apps { // whether anything of it is here or not: its hooks may be called
		a.worker(app.Name)
	}
	a.mu.Unlock()
	g.Go(func() error { return a.watchConnection(ctx) })
	g.Go(func() error { a.watchAuthority(ctx); return nil })
	g.Go(func() error { return a.attend(ctx) })
	g.Go(func() error { a.serveLogs(ctx); return nil })
	err = g.Wait()
	a.mu.Lock()
	a.ctx = nil // nobody is started any more
	a.mu.Unlock()
	stop()
	a.working.Wait()
	return err
}

// openLog binds to the event stream, and waits for it as long as it takes. The error is that of ctx.
func (a *agent) openLog(ctx context.Context) (*events.Log, error) {
	said := false
	for {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		log, err := events.Open(try, a.js, a.subjects, a.cfg.Clock.Now)
		cancel()
		if err == nil {
			return log, nil
		}
		if !said {
			a.cfg.Log.Warn("waiting for the cluster's event log", zap.Error(err))
			said = true
		}
		if !sleep(ctx, time.Second) {
			return nil, context.Cause(ctx)
		}
	}
}

// watchConnection has the workers ask anew how far the log is whenever the connection is back. A log of another incarnation is
// fatal: what was folded is void.
func (a *agent) watchConnection(ctx context.Context) error {
	up := a.cfg.NC.StatusChanged(nats.CONNECTED)
	defer a.cfg.NC.RemoveStatusListener(up)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-up:
		}
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := a.events.LastSeq(try)
		cancel()
		if errors.Is(err, events.ErrIncarnation) {
			return err
		}
		a.connections.Add(1)
		a.nudgeAll()
	}
}

// watchAuthority wakes the workers when the right to act begins or ends.
func (a *agent) watchAuthority(ctx context.Context) {
	for {
		_, changed := a.auth.incarnation()
		a.nudgeAll()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// stopApps stops everything gracefully. The epochs of what was active end with it, and a later agent finds that out.
func (a *agent) stopApps(ctx context.Context) error {
	var active []api.FencedEpoch
	for _, st := range a.cfg.Driver.List() {
		if st.Role == api.RoleActive && st.Epoch > 0 && lives(st.State) {
			active = append(active, api.FencedEpoch{App: st.App, Instance: st.ID, Epoch: st.Epoch})
		}
	}
	if err := a.fence.stopAll(ctx); err != nil {
		return fmt.Errorf("stop apps: %w", err)
	}
	return a.ended.Add(active...)
}

// worker returns the app's worker, started if there is none; nil when the agent ends. a.mu is held.
func (a *agent) worker(app string) *worker {
	w := a.workers[app]
	if w != nil || a.ctx == nil {
		return w
	}
	w = newWorker(a, app)
	a.workers[app] = w
	ctx := a.ctx
	a.working.Go(func() { w.run(ctx) })
	return w
}

// retire lets go of a worker if cond holds, which is called while nobody can wake it up.
func (a *agent) retire(w *worker, cond func() bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.registers(w.app) || !cond() {
		return false
	}
	if err := a.hosted.Remove(w.app); err != nil {
		a.cfg.Log.Warn("app stays on the list of those that concern this node", zap.String("app", w.app), zap.Error(err))
	}
	delete(a.workers, w.app)
	return true
}

// wake notes that an app concerns this node, and sees to a worker for it. After an error it must be called again.
func (a *agent) wake(app string, seq uint64) error {
	a.mu.Lock()
	w := a.worker(app)
	if w == nil {
		a.mu.Unlock()
		return errors.New("the agent ends")
	}
	w.wakeUp(seq)
	a.mu.Unlock()
	// The worker need not wait for the disk: a wake-up that is lost with this agent comes again. Should the worker have retired by
	// now, the next agent starts one for nothing.
	return a.hosted.Add(app)
}

// nudge has the worker of an instance's app look again. Nobody else has anything to do with it: where hundreds run, waking them
// all for each change of one would cost the square of that.
func (a *agent) nudge(instance string) {
	st, ok := a.cfg.Driver.Status(instance)
	a.mu.Lock()
	defer a.mu.Unlock()
	if !ok { // gone in between: whose it was does not show
		for _, w := range a.workers {
			w.nudge()
		}
		return
	}
	if w := a.workers[st.App]; w != nil {
		w.nudge()
	}
}

func (a *agent) nudgeAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, w := range a.workers {
		w.nudge()
	}
}

// persist writes an epoch down and tells the driver.
func (a *agent) persist(app string, epoch uint64) error {
	err := a.epochs.Persist(app, epoch)
	if w, ok := able[EpochWatcher](a.cfg.Driver); ok && err == nil {
		w.Seen(app, epoch)
	}
	return err
}

// kick has the lease renewed at once.
func (a *agent) kick() {
	select {
	case a.kicked <- struct{}{}:
	default:
	}
}

// sawSeq notes that the log has reached seq.
func (a *agent) sawSeq(seq uint64) {
	for {
		old := a.folded.Load()
		if seq <= old || a.folded.CompareAndSwap(old, seq) {
			return
		}
	}
}

func (a *agent) present() session {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.session
}

func (a *agent) lastSeqOf(ctx context.Context, agg events.Aggregate) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return a.events.LastSeqOf(ctx, agg)
}
