//go:build linux

package litestream

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

const (
	saveEvery  = time.Second            // what a copy has is written down so often
	doubtAfter = 300 * time.Millisecond // without what is waited for, the store is asked itself
	watchCheck = 5 * time.Second        // so often a silent watch is compared with the store
	lookAgain  = time.Second
	closely    = time.Minute // after a CatchUp, whose caller is about to want the copy as it is, what comes is on the disk at once
)

// following keeps a copy of one database.
type following struct {
	r       *Replication
	d       agent.Data
	history history
	log     *zap.Logger
	files   *index

	ctx  context.Context
	stop context.CancelFunc
	done sync.WaitGroup // whoever uses the copy
	wake chan struct{}  // something may be new
	turn chan struct{}  // whoever uses the copy has it
	copy copyTo
	at   uint64 // the copy has everything up to here
	save time.Time
	near time.Time // until then every step that is applied is made durable
	over bool

	doubt bool // of run alone: something was not there that the watch has told of, and may be there by another object

	mu     sync.Mutex
	store  *store
	state  agent.Replicated
	behind time.Time     // since when more is known than there is here; zero: nothing is
	moved  chan struct{} // closed when the copy got further or cannot
	full   error         // the copy's own disk: it does not go on by waiting
}

// Follow implements agent.Replication. The following ends with ctx, too.
func (r *Replication) Follow(ctx context.Context, d agent.Data, epoch uint64) (agent.Following, error) {
	h, err := r.history(ctx, epoch)
	if err != nil {
		return nil, err
	}
	if m, err := readMark(d); err != nil {
		return nil, err
	} else if m.Led && !m.Ended { // what was written last may be nowhere else
		if err := r.aside(ctx, d); err != nil {
			return nil, err
		}
	}
	return r.follow(ctx, d, h)
}

func (r *Replication) follow(ctx context.Context, d agent.Data, h history) (*following, error) {
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return nil, err
	}
	m, err := readMark(d)
	if err != nil {
		return nil, err
	}
	_, absent := os.Lstat(d.Path)
	f := &following{r: r, d: d, history: h, files: newIndex(nil), wake: make(chan struct{}, 1), turn: make(chan struct{}, 1),
		copy: copyTo{path: d.Path, spool: d.Dir}, moved: make(chan struct{}), log: r.log.With(zap.String("instance", d.Instance), zap.Uint64("epoch", h.epoch))}
	if m.of(h) && !m.Led && absent == nil {
		f.at = m.Seq
	} else {
		if err := writeMark(d, mark{Incarnation: h.incarnation, Epoch: h.epoch}); err != nil {
			return nil, err
		}
		if err := errors.Join(erase(d.Path), os.RemoveAll(metaPath(d))); err != nil {
			return nil, err
		}
	}
	f.r.head.close(d.Path)
	f.state.Position = events.Position{Epoch: h.epoch, Seq: f.at}
	f.ctx, f.stop = context.WithCancel(ctx)
	go f.watch()
	f.done.Go(f.run)
	return f, nil
}

// watch keeps the list of what there is.
func (f *following) watch() {
	for f.ctx.Err() == nil {
		if err := f.watched(); err != nil && f.ctx.Err() == nil {
			f.failed(err)
		}
		pause(f.ctx, lookAgain)
	}
}

func (f *following) watched() error {
	s, err := f.open(f.ctx)
	if err != nil {
		return err
	}
	updates, stop, err := s.watch(f.ctx)
	if err != nil {
		return err
	}
	defer stop()
	check := time.NewTicker(watchCheck)
	defer check.Stop()
	var told bool
	var last uint64
	for {
		select {
		case <-f.ctx.Done():
			return nil
		case info, ok := <-updates:
			if !ok {
				return fmt.Errorf("watch of object store %s ended", s.bucket)
			}
			told = true
			if info == nil {
				continue
			}
			if one, ok := f.history.parse(info); ok && !info.Deleted {
				f.files.add(one)
				poke(f.wake)
			}
		case <-check.C:
			// A watch that has silently come to its end looks like a store where nothing happens.
			st, err := s.stream.Info(f.ctx)
			if err != nil {
				return err
			}
			if !told && st.State.LastSeq != last && last != 0 {
				known, at := f.known(), f.Status().Position.Seq
				if f.relist(f.ctx); f.known() > max(known, at) { // else it was a part of something that is not all there yet
					return fmt.Errorf("object store %s went on to %d, and its watch said nothing", s.bucket, st.State.LastSeq)
				}
			}
			told, last = false, st.State.LastSeq
		}
	}
}

// known returns up to where there is anything.
func (f *following) known() uint64 {
	newest, _ := f.files.newest()
	return newest.last
}

// open returns the store, bound once.
func (f *following) open(ctx context.Context) (*store, error) {
	f.mu.Lock()
	s := f.store
	f.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := f.r.openStore(ctx, f.d.App.Name)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.store = s
	f.mu.Unlock()
	return s, nil
}

// relist asks the store itself what there is.
func (f *following) relist(ctx context.Context) {
	s, err := f.open(ctx)
	if err == nil {
		var files []file
		if files, err = s.list(ctx, f.history); err == nil {
			f.files.replace(files)
			poke(f.wake)
			return
		}
	}
	if ctx.Err() == nil {
		f.failed(err)
	}
}

// run applies what there is.
func (f *following) run() {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-f.wake:
		case <-tick.C:
			if f.doubt {
				f.doubt = false
				f.relist(f.ctx)
			}
		}
		f.turn <- struct{}{}
		if !f.over {
			if err := f.advance(f.ctx); err != nil && f.ctx.Err() == nil {
				f.failed(err)
			}
		}
		<-f.turn
	}
}

// advance applies everything there is. The turn is taken.
func (f *following) advance(ctx context.Context) error {
	s, err := f.open(ctx)
	if err != nil {
		return err
	}
	if f.at > 0 {
		switch err := f.copy.know(); {
		case errors.Is(err, errTorn), errors.Is(err, fs.ErrNotExist):
			f.anew(ctx, err)
		case err != nil:
			return err
		}
	}
	for ctx.Err() == nil {
		next, ok := f.files.next(f.at)
		if !ok {
			break
		}
		f.lagging(true)
		whole := f.at > 0 && next.first == 1
		if err := f.copy.apply(ctx, s, next, f.at); err != nil {
			if errors.Is(err, errGone) {
				f.files.drop(next.span)
				f.doubt = true
				continue
			}
			return err
		}
		f.at = next.last
		f.files.forget(f.at)
		f.reached(next.size, whole)
		if time.Since(f.save) > saveEvery {
			if err := f.keep(); err != nil {
				return err
			}
		}
	}
	if time.Now().Before(f.near) { // while nobody waits for it: Apply finds it done
		if err := f.copy.sync(); err != nil {
			return err
		}
	}
	if newest, ok := f.files.newest(); ok && newest.last > f.at {
		return fmt.Errorf("between %d, which the copy has, and %d, which starts with %d, the store has nothing", f.at, newest.last, newest.first)
	}
	f.lagging(false)
	return nil
}

// keep makes durable what the copy has, and then that it does.
func (f *following) keep() error {
	f.save = time.Now()
	if err := f.copy.sync(); err != nil {
		return err
	}
	return writeMark(f.d, mark{Incarnation: f.history.incarnation, Epoch: f.history.epoch, Seq: f.at})
}

func (f *following) lagging(is bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !is:
		f.behind, f.state.Err, f.full = time.Time{}, "", nil
	case f.behind.IsZero():
		f.behind = time.Now()
	}
}

func (f *following) reached(size int64, whole bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state.Position.Seq = f.at
	f.state.Bytes += uint64(size)
	if whole {
		f.state.Resyncs++
		f.log.Warn("copy begun anew: the steps from where it was are not in the store any more", zap.Uint64("at", f.at))
	}
	close(f.moved)
	f.moved = make(chan struct{})
}

func (f *following) failed(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state.Err != err.Error() {
		f.log.Warn("copy does not go on", zap.Error(err))
	}
	f.state.Err = err.Error()
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS) {
		f.full = err
		close(f.moved)
		f.moved = make(chan struct{})
	}
}

// CatchUp implements agent.Following. It reads the whole copy and compares it with what was written to it, so that nobody need do so
// in the pause of a move.
func (f *following) CatchUp(ctx context.Context, p events.Position) (events.Position, error) {
	if at, err := f.reach(ctx, p); err != nil {
		return at, err
	}
	if err := f.verify(ctx); err != nil {
		return f.Status().Position, err
	}
	return f.reach(ctx, p)
}

// verify compares the copy on the disk with what was written, and makes it durable. One that is another begins anew.
func (f *following) verify(ctx context.Context) error {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	f.near = time.Now().Add(closely)
	if f.over || f.at == 0 {
		return nil
	}
	err := f.copy.know()
	if err == nil {
		err = f.copy.verify()
	}
	if err == nil {
		return f.keep()
	}
	f.anew(ctx, err)
	return nil
}

// anew begins a copy anew that is damaged. The turn is taken.
func (f *following) anew(ctx context.Context, why error) {
	f.log.Error("copy begun anew: it is damaged", zap.Error(why))
	f.mu.Lock()
	f.at, f.state.Position.Seq, f.state.Resyncs = 0, 0, f.state.Resyncs+1
	f.mu.Unlock()
	f.relist(ctx)
}

// reach returns once everything up to p is in the copy.
func (f *following) reach(ctx context.Context, p events.Position) (events.Position, error) {
	if p.Epoch != f.history.epoch {
		return f.Status().Position, fmt.Errorf("copy of %s follows epoch %d, and %s is none of it", f.d.Instance, f.history.epoch, p)
	}
	for wait := doubtAfter; ; wait = lookAgain {
		f.mu.Lock()
		at, moved, full, why := f.state.Position, f.moved, f.full, f.state.Err
		f.mu.Unlock()
		switch {
		case at.Reached(p):
			return at, nil
		case full != nil:
			return at, fmt.Errorf("copy of %s: %w", f.d.Instance, full)
		case f.ctx.Err() != nil:
			return at, errEnded
		}
		select {
		case <-moved:
		case <-time.After(wait):
			f.relist(ctx)
		case <-f.ctx.Done():
		case <-ctx.Done():
			if why == "" {
				why = "nothing newer was found"
			}
			return at, fmt.Errorf("%w: %s", context.Cause(ctx), why)
		}
	}
}

// Apply implements agent.Following. What the copy sums up to is known from what was written to it.
func (f *following) Apply(ctx context.Context, p events.Position, sum string) error {
	if _, err := f.reach(ctx, p); err != nil {
		return err
	}
	at, got, err := f.finish(ctx)
	switch {
	case err != nil:
		return err
	case at != p:
		return fmt.Errorf("copy of %s is at %s, past the end %s", f.d.Instance, at, p)
	case got != sum:
		return fmt.Errorf("copy of %s at %s has the checksum %s, and the database that was left there %s", f.d.Instance, at, got, sum)
	}
	return nil
}

// finish ends the following and leaves a database that can be opened. It is on the disk; that it is there, up to which position, is written
// down by whoever promotes it.
func (f *following) finish(context.Context) (at events.Position, sum string, err error) {
	f.stop()
	f.done.Wait()
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	f.over = true
	at = events.Position{Epoch: f.history.epoch, Seq: f.at}
	if f.at == 0 {
		return at, emptySum, errors.Join(f.copy.close(), erase(f.d.Path))
	}
	if err := errors.Join(f.copy.know(), f.copy.close()); err != nil {
		return at, "", err
	}
	return at, f.copy.pages.String(), entrust(f.d.Path)
}

// Status implements agent.Following.
func (f *following) Status() agent.Replicated {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.state
	if !f.behind.IsZero() {
		s.Lag = time.Since(f.behind)
	}
	return s
}

// Close implements agent.Following.
func (f *following) Close() error {
	f.stop()
	f.done.Wait()
	f.turn <- struct{}{}
	defer func() { <-f.turn }()
	if f.over {
		return nil
	}
	f.over = true
	return errors.Join(f.keep(), f.copy.close())
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
