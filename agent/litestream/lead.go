//go:build linux

package litestream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync"
	"time"

	lite "github.com/benbjohnson/litestream"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

// tidyTime is how long it may take to put in order what an epoch has left on the disk.
const tidyTime = 5 * time.Minute

// checkFirst is up to which size a database, with its log, is held against what was shipped before anybody is told that it was: that takes
// some milliseconds, and where they differ all of it is shipped anew. A larger one is read afterwards; see tidy.
const checkFirst = 8 << 20

var (
	errEnded   = errors.New("the shipping has ended")
	errDiffers = errors.New("what was shipped is something else")
)

// leading ships one database. Litestream does the work; when is decided here: its own loop would hold a store open at each end and
// could not say to which position it came.
type leading struct {
	r       *Replication
	d       agent.Data
	history history
	log     *zap.Logger

	ctx  context.Context
	stop context.CancelFunc
	done chan struct{}
	turn chan struct{} // whoever uses what is below has it

	db        *lite.DB
	file      os.FileInfo // of the database as it was opened
	client    *client     // replaced where the database is opened; l.mu too
	seen      walState    // of the log before the last sync that succeeded
	force     time.Time
	compacted time.Time
	snapshot  int64 // size of the newest file that has everything
	since     int64 // bytes of joined files since then
	ended     bool
	tidied    chan struct{} // closed when what is left is in order; nil where nobody is at that

	mu    sync.Mutex
	state agent.Replicated
	dirty time.Time // since when something is not shipped; zero: nothing is known of
}

// walState is what tells cheaply that nothing was written: a log that looks the same and was not just changed.
type walState struct {
	size    int64
	changed time.Time
}

// Lead implements agent.Replication. The shipping ends with ctx, too.
func (r *Replication) Lead(ctx context.Context, d agent.Data, epoch uint64) (agent.Leading, error) {
	h, err := r.history(ctx, epoch)
	if err != nil {
		m, unknown := readMark(d)
		if unknown != nil || !m.Led || m.Epoch != epoch {
			return nil, err
		}
		h = history{m.Incarnation, epoch} // it goes on once there is a store again
	}
	if err := r.promote(d, h); err != nil {
		return nil, err
	}
	l := &leading{r: r, d: d, history: h, done: make(chan struct{}), turn: make(chan struct{}, 1),
		log: r.log.With(zap.String("instance", d.Instance), zap.Uint64("epoch", epoch))}
	l.state.Position.Epoch = epoch
	l.ctx, l.stop = context.WithCancel(ctx)
	go l.run()
	return l, nil
}

// Promote implements agent.Replication.
func (r *Replication) Promote(ctx context.Context, d agent.Data, epoch uint64) error {
	h, err := r.history(ctx, epoch)
	if err != nil {
		return err
	}
	return r.promote(d, h)
}

func (r *Replication) promote(d agent.Data, h history) error {
	if err := os.MkdirAll(d.Dir, 0o700); err != nil {
		return err
	}
	m, err := readMark(d)
	if err != nil || m.Led && m.of(h) {
		return err
	}
	r.mu.Lock()
	left, is := r.tidying[d.Path]
	r.mu.Unlock()
	if is {
		left.giveUp()
		<-left.ended
	}
	// What an earlier epoch left of Litestream's would be shipped as if it were of this one.
	if err := os.RemoveAll(metaPath(d)); err != nil {
		return err
	}
	if err := begins(d); err != nil {
		return err
	}
	return writeMark(d, mark{Incarnation: h.incarnation, Epoch: h.epoch, Led: true})
}

func (l *leading) run() {
	defer close(l.done)
	wait := l.r.o.Peace
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-time.After(wait):
		}
		err := l.locked(l.ctx, l.tick)
		if l.ctx.Err() != nil {
			return
		}
		switch wait = l.r.o.Interval; {
		case err == nil, errors.Is(err, errAbsent):
			l.note("")
		default:
			if l.note(err.Error()) {
				l.log.Warn("data not shipped", zap.Error(err))
			}
			wait = max(wait, time.Second)
		}
	}
}

// note keeps why it does not go on, and says whether that is news.
func (l *leading) note(why string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := l.state.Err != why
	l.state.Err = why
	return news
}

// locked calls f when nobody else uses the database.
func (l *leading) locked(ctx context.Context, f func(context.Context) error) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if l.ended {
		return errEnded
	}
	return f(ctx)
}

// tick ships what there is, and now and then joins what was shipped.
func (l *leading) tick(ctx context.Context) error {
	if l.finished() {
		return nil
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	now := l.look()
	if now == l.seen && time.Since(now.changed) > time.Second && time.Now().Before(l.force) {
		return nil
	}
	if now != l.seen {
		l.mu.Lock()
		if l.dirty.IsZero() {
			l.dirty = time.Now()
		}
		l.mu.Unlock()
	}
	if err := l.ship(ctx); err != nil {
		return err
	}
	l.force = time.Now().Add(5 * time.Second)
	if time.Since(l.compacted) > compactEvery {
		l.compacted = time.Now()
		if err := l.compact(ctx); err != nil && ctx.Err() == nil {
			l.log.Warn("shipped data not joined", zap.Error(err)) // it is all there, in more pieces
		}
	}
	return nil
}

// finished says whether the epoch was shipped to its end and nothing has been written since.
func (l *leading) finished() bool {
	m, err := readMark(l.d)
	if err != nil || !m.Ended || !m.of(l.history) || l.db != nil {
		return false
	}
	if m.Checksum == emptySum {
		return l.r.head.check(l.d.Path) == errAbsent
	}
	size, changed, err := shape(l.d.Path)
	_, wal := os.Stat(l.d.Path + "-wal")
	if err != nil || size != m.Size || changed != m.Changed || !errors.Is(wal, os.ErrNotExist) {
		return false
	}
	l.reached(m.Seq)
	return true
}

func shape(path string) (size, changed int64, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, 0, err
	}
	return st.Size(), st.ModTime().UnixNano(), nil
}

func (l *leading) look() (s walState) {
	if st, err := os.Stat(l.d.Path + "-wal"); err == nil {
		s = walState{st.Size(), st.ModTime()}
	}
	return s
}

// open has Litestream take hold of the database once that is one.
func (l *leading) open(ctx context.Context) error {
	if err := l.check(); err != nil {
		return err
	}
	is, err := os.Stat(l.d.Path)
	if err != nil || l.db != nil && os.SameFile(is, l.file) {
		return err
	}
	l.letGo()
	s, err := l.r.openStore(ctx, l.d.App.Name)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(metaPath(l.d)); err == nil { // it was open before: what was shipped then must not be missing in the list
		switch sure, err := s.vouched(ctx); {
		case err != nil:
			return err
		case !sure:
			return fmt.Errorf("object store %s is full: what was shipped before is not known for sure, and nothing more can be", s.bucket)
		}
	}
	files, err := s.list(ctx, l.history)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.client = &client{store: s, history: l.history, files: newIndex(files)}
	l.mu.Unlock()
	replaced, err := l.opens(ctx, is)
	if err != nil {
		return err
	}
	l.snapshot, l.since = 0, 0
	for _, f := range files {
		switch {
		case f.first == 1:
			l.snapshot = max(l.snapshot, f.size)
		case f.level == 1:
			l.since += f.size
		}
	}
	db := lite.NewDB(l.d.Path)
	db.SetMetaPath(metaPath(l.d))
	db.MonitorInterval, db.ShutdownSyncTimeout, db.L0Retention = 0, 0, keepFiles
	db.SetLogger(slog.New(bridge{log: l.log}))
	db.Replica = lite.NewReplicaWithClient(db, l.client)
	db.Replica.MonitorEnabled = false
	if err := db.Open(); err != nil {
		return fmt.Errorf("open %s: %w", l.d.Path, err)
	}
	l.db, l.file, l.seen, l.compacted = db, is, walState{}, time.Now()
	if replaced { // a copy that begins now begins with a whole one
		l.compacted, l.since = time.Time{}, math.MaxInt64/2
	}
	return nil
}

// ship ships everything that was written before the call.
func (l *leading) ship(ctx context.Context) error {
	before := l.look()
	if l.db.SQLDB() == nil {
		p, err := pinned(ctx, l.d.Path)
		if err != nil {
			return err
		}
		defer func() { _ = p.release() }()
	}
	if err := l.db.SyncAndWait(ctx); err != nil {
		l.unstick()
		return err
	}
	if is, err := os.Stat(l.d.Path); err != nil || !os.SameFile(is, l.file) {
		l.letGo()
		_ = l.open(ctx) // which takes back what is of both; it is tried again, and says then what is in the way
		return fmt.Errorf("%s was replaced while it was shipped", l.d.Path)
	}
	at, err := l.db.Pos()
	if err != nil {
		return err
	}
	if at.TXID == 0 {
		return errAbsent
	}
	if newest, _ := l.client.files.newest(); newest.last < uint64(at.TXID) {
		return fmt.Errorf("%s is at %d, and %d was shipped", l.d.Path, at.TXID, newest.last)
	}
	l.seen = before
	l.reached(uint64(at.TXID))
	return nil
}

// unstick lets go of a database that Litestream has half opened: interrupted before it had prepared it, it takes it for prepared from
// then on, and fails for ever. The next try opens it anew. There is nothing to lose: nothing was read of it yet.
func (l *leading) unstick() {
	if l.db.SQLDB() != nil && l.db.PageSize() == 0 {
		l.letGo() // it says again what is in the way
	}
}

// letGo has Litestream let go of the database as it is: nothing more is shipped of it.
func (l *leading) letGo() {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_ = l.release(gone)
}

func (l *leading) reached(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Position.Seq, l.dirty = seq, time.Time{}
}

// compact joins what was shipped step by step, and stores a whole database again when the steps since the last one weigh as much.
func (l *leading) compact(ctx context.Context) error {
	joined, err := l.db.Compact(ctx, 1)
	if errors.Is(err, lite.ErrNoCompaction) {
		return nil
	}
	if err != nil {
		return err
	}
	if joined.MinTXID == 1 {
		l.snapshot = joined.Size
		return nil
	}
	if l.since += joined.Size; l.since < max(l.snapshot, 1<<20) {
		return nil
	}
	p, err := pinned(ctx, l.d.Path)
	if err != nil {
		return err
	}
	whole, err := l.db.Snapshot(ctx)
	if err = errors.Join(err, p.release()); err != nil {
		return err
	}
	l.snapshot, l.since = whole.Size, 0
	keep, err := l.db.EnforceSnapshotRetention(ctx, time.Now().Add(-keepFiles))
	if err != nil || keep == 0 {
		return err
	}
	return l.db.EnforceRetentionByTXID(ctx, 1, keep)
}

// sync ships what was written before the call.
func (l *leading) sync(ctx context.Context) error {
	return l.locked(ctx, func(ctx context.Context) error {
		if l.finished() {
			return nil
		}
		if err := l.open(ctx); err != nil {
			return err
		}
		for {
			if err := l.ship(ctx); !busy(err) || ctx.Err() != nil {
				return err
			}
			if err := l.open(ctx); err != nil { // it may have to be opened anew
				return err
			}
		}
	})
}

// linkAway says that nothing could be sent, since the connection is being made again.
func linkAway(err error) bool { return errors.Is(err, nats.ErrReconnectBufExceeded) }

// Sync implements agent.Leading. Who asks has a connection, which may have been there again a moment before that of the data.
func (l *leading) Sync(ctx context.Context) (at events.Position, err error) {
	began := time.Now()
	for err = l.sync(ctx); linkAway(err) && time.Since(began) < quietTime && ctx.Err() == nil; err = l.sync(ctx) {
		pause(ctx, 20*time.Millisecond)
	}
	if err != nil && !errors.Is(err, errAbsent) {
		return events.Position{}, err
	}
	return l.Status().Position, nil
}

// busy says whether Litestream waited in vain for the lock that writes take: an app that writes all the time hands it on to whoever asks
// first. It has waited for a second by then.
func busy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && e.Code() == sqlite3.SQLITE_BUSY
}

// Flush implements agent.Leading. After an error it can be called again. Where it is known what was shipped, what is left on the disk is
// put in order and compared with it afterwards: Close waits for that.
func (l *leading) Flush(ctx context.Context) (at events.Position, sum string, err error) {
	l.stop()
	<-l.done
	err = l.locked(ctx, func(ctx context.Context) error {
		if !l.finished() {
			sum, err = l.last(ctx)
			if err == nil && sum != "" && !l.agrees(sum) {
				sum, err = l.anew(ctx, sum)
			}
			switch at = l.Status().Position; {
			case errors.Is(err, errAbsent):
				err = l.nothing(ctx)
			case err == nil && l.db == nil: // it was looked at closely, is in order, and was written down
			case err == nil && sum == "":
				err = l.finish(ctx, "")
			case err == nil:
				l.ended = true
				l.tidy(ctx, at, sum)
				return nil
			}
			if err != nil {
				return err
			}
		}
		m, err := readMark(l.d)
		at, sum = events.Position{Epoch: m.Epoch, Seq: m.Seq}, m.Checksum
		l.ended = err == nil
		return err
	})
	return at, sum, err
}

// last ships the rest, and returns what everything that was shipped sums up to, "" where that has to be read.
func (l *leading) last(ctx context.Context) (sum string, err error) {
	if err := l.open(ctx); err != nil {
		return "", err
	}
	// A checkpoint writes into the log what is not shipped with it.
	l.db.MinCheckpointPageN, l.db.TruncatePageN, l.db.CheckpointInterval = math.MaxInt32, math.MaxInt32, 0
	if err := l.ship(ctx); err != nil {
		return "", err
	}
	if l.client.at == l.Status().Position.Seq {
		sum = l.client.shipped.String()
	}
	return sum, nil
}

// agrees says whether the database sums up to what was shipped, as far as that is quickly seen. The app has ended, and everything was shipped.
func (l *leading) agrees(sum string) bool {
	var size int64
	for _, tail := range []string{"", "-wal"} {
		if st, err := os.Stat(l.d.Path + tail); err == nil {
			size += st.Size()
		}
	}
	if size > checkFirst {
		return true
	}
	p, err := readLogged(l.d.Path)
	return err == nil && p.String() == sum
}

// anew ships a database again that is not what was shipped of it: with its log put away, Litestream ships all pages. It returns what it sums
// up to, "" where finish has seen that nothing is wrong with it.
func (l *leading) anew(ctx context.Context, sum string) (string, error) {
	err := l.finish(ctx, sum)
	if !errors.Is(err, errDiffers) {
		return "", err
	}
	l.log.Error("what was shipped is not what is here: all of it is shipped anew", zap.Error(err))
	l.mu.Lock()
	l.state.Resyncs++
	l.mu.Unlock()
	if err := l.open(ctx); err != nil {
		return "", err
	}
	l.client.whole = true
	if sum, err = l.last(ctx); err == nil && (sum == "" || !l.agrees(sum)) {
		err = fmt.Errorf("%s, shipped anew: %w", l.d.Path, errDiffers)
	}
	return sum, err
}

// tidy has finish done behind the back of whoever has what the flush said already. The turn is taken, and is taken until it is done.
func (l *leading) tidy(ctx context.Context, at events.Position, sum string) {
	held := make(chan struct{})
	l.tidied = held
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	r := l.r
	r.mu.Lock()
	r.tidying[l.d.Path] = tidying{cancel, held}
	r.mu.Unlock()
	go func() {
		defer close(held)
		defer cancel()
		err := l.finish(ctx, sum)
		r.mu.Lock()
		delete(r.tidying, l.d.Path)
		r.mu.Unlock()
		if err != nil && ctx.Err() != context.Canceled {
			l.note(err.Error())
			l.log.Error("the data were shipped, and what is left of them here is not in order", zap.Stringer("position", at), zap.Error(err))
		}
	}()
}

func (l *leading) end() mark {
	return mark{Incarnation: l.history.incarnation, Epoch: l.history.epoch, Led: true, Ended: true, Checksum: emptySum}
}

// nothing writes down that nothing was ever written.
func (l *leading) nothing(ctx context.Context) error {
	if err := l.release(ctx); err != nil {
		return err
	}
	return writeMark(l.d, l.end())
}

// finish closes the database, where everything was shipped, and writes down what it is. want is what it has to sum up to; "" where
// nobody knows.
func (l *leading) finish(ctx context.Context, want string) error {
	m := l.end()
	db := l.db
	if err := l.release(ctx); err != nil {
		return err
	}
	_, last, err := db.MaxLTX()
	if err != nil {
		return err
	}
	if newest, _ := l.client.files.newest(); newest.last != uint64(last) {
		return fmt.Errorf("%s ended at %d, and %d was shipped", l.d.Path, last, newest.last)
	}
	l.r.head.close(l.d.Path)
	if err := fold(ctx, l.d.Path); err != nil {
		return err
	}
	m.Seq = uint64(last)
	is, err := readWhile(ctx, l.d.Path)
	if err != nil {
		return err
	}
	m.Checksum = is.String()
	if want != "" && m.Checksum != want {
		return fmt.Errorf("%s sums up to %s, and what was shipped of it up to %d to %s: %w", l.d.Path, m.Checksum, last, want, errDiffers)
	}
	if m.Size, m.Changed, err = shape(l.d.Path); err != nil {
		return err
	}
	l.reached(m.Seq)
	return writeMark(l.d, m)
}

// release has Litestream let go of the database. The turn is taken.
func (l *leading) release(ctx context.Context) error {
	if l.db == nil {
		return nil
	}
	db := l.db
	l.db = nil
	return db.Close(ctx)
}

// Status implements agent.Leading.
func (l *leading) Status() agent.Replicated {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.state
	if !l.dirty.IsZero() {
		s.Lag = time.Since(l.dirty)
	}
	if l.client != nil {
		s.Bytes = l.client.stored()
	}
	return s
}

// Close implements agent.Leading.
func (l *leading) Close() error {
	l.stop()
	<-l.done
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	l.ended = true
	if l.tidied != nil {
		<-l.tidied
	}
	at := l.ctx // has ended: nothing is shipped any more
	if err := l.release(at); err != nil && !errors.Is(err, context.Canceled) {
		l.log.Debug("closed with data that are not shipped", zap.Error(err))
	}
	if l.d.App.Process != nil { // an app of this very process may have it open still
		l.r.head.close(l.d.Path)
	}
	return nil
}
