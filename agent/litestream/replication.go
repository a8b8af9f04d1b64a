//go:build linux

package litestream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/events"
)

// Kind is the name of this kind of replication.
const Kind = "sqlite"

// Options are what a node chooses.
type Options struct {
	JS       jetstream.JetStream // nil with Over
	Subjects events.Subjects
	// Interval is how often an active's writes are shipped; 0 is 100 ms. It bounds what a node takes with it that dies.
	Interval time.Duration
	// Peace is how long a program that is just starting is left alone with its database before anything is shipped by itself: Litestream
	// locks it for moments, and whoever is waited for would wait for that. 0 is 250 ms, negative none.
	Peace    time.Duration
	Replicas int   // copies of a bucket that is made; 0: as many as there are of the event log
	MaxBytes int64 // bound of a bucket that is made; 0 is none
	Log      *zap.Logger
}

const (
	compactEvery = 10 * time.Second
	keepFiles    = 2 * time.Minute  // how long a copy may be away and find each step where it left off
	unnamedFor   = 10 * time.Minute // content that has no name then gets none any more
	minFree      = 16 << 20         // bytes that a copy needs on disk at the least
)

// Replication implements agent.Replication for SQLite.
type Replication struct {
	o    Options
	link *link
	log  *zap.Logger
	head *headers

	mu          sync.Mutex
	incarnation string
	replicas    int             // of the event log
	spare       map[string]mark // by path: of what Salvage has found to be in what others went on with
	tidying     map[string]tidying
}

// tidying is what is done with a database after its Flush, by path.
type tidying struct {
	giveUp context.CancelFunc
	ended  <-chan struct{}
}

var _ agent.Replication = (*Replication)(nil)

// New returns the replication of one node. It does no I/O.
func New(o Options) *Replication {
	if o.Interval <= 0 {
		o.Interval = 100 * time.Millisecond
	}
	if o.Peace == 0 {
		o.Peace = 250 * time.Millisecond
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return &Replication{o: o, link: &link{js: o.JS}, log: o.Log, head: &headers{files: map[string]*os.File{}}, spare: map[string]mark{}, tidying: map[string]tidying{}}
}

// Over returns the replication of one node of a cluster over a connection of its own, which is made by dial once there are data to carry. Close it
// after everything that leads or follows.
func Over(dial func() (*nats.Conn, error), cluster string, log *zap.Logger) (*Replication, error) {
	subjects, err := events.NewSubjects(cluster)
	if err != nil {
		return nil, err
	}
	r := New(Options{Subjects: subjects, Log: log})
	r.link.dial = dial
	return r, nil
}

// Close closes the connection that Over has made.
func (r *Replication) Close() error {
	r.link.close()
	return nil
}

// Kind implements agent.Replication.
func (*Replication) Kind() string { return Kind }

// history returns the history of an epoch in this life of the event log.
func (r *Replication) history(ctx context.Context, epoch uint64) (history, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.incarnation == "" {
		js, err := r.link.jetStream()
		if err != nil {
			return history{}, err
		}
		stream, err := js.Stream(ctx, r.o.Subjects.EventsStream())
		if err != nil {
			return history{}, fmt.Errorf("event log of cluster %s: %w", r.o.Subjects.Cluster(), err)
		}
		cfg := stream.CachedInfo().Config
		r.incarnation, r.replicas = cfg.Metadata[events.MetaIncarnation], cfg.Replicas
		if r.incarnation == "" {
			return history{}, fmt.Errorf("event log of cluster %s: it was not made by go-cluster", r.o.Subjects.Cluster())
		}
	}
	return history{r.incarnation, epoch}, nil
}

// Check implements agent.Replication.
func (r *Replication) Check(ctx context.Context, d agent.Data) error {
	if err := r.head.check(d.Path); err != nil && !errors.Is(err, errAbsent) {
		return err
	}
	for _, path := range []string{d.Path, d.Dir} {
		free, at, err := space(path)
		if err != nil {
			return err
		}
		if free < minFree {
			return fmt.Errorf("%s: the disk is full: %d KiB are free, %d needed at the least", at, free>>10, minFree>>10)
		}
	}
	bucket := Bucket(r.o.Subjects, d.App.Name)
	js, err := r.link.jetStream()
	if err != nil {
		return fmt.Errorf("object store %s cannot be reached: %w", bucket, err)
	}
	stream, err := js.Stream(ctx, "OBJ_"+bucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil // made when it is needed
	}
	if err != nil {
		return fmt.Errorf("object store %s cannot be reached: %w", bucket, err)
	}
	if st := stream.CachedInfo(); st.Config.MaxBytes > 0 && st.State.Bytes+uint64(js.Conn().MaxPayload()) > uint64(st.Config.MaxBytes) {
		return fmt.Errorf("object store %s is full: it has %d of %d bytes", bucket, st.State.Bytes, st.Config.MaxBytes)
	}
	return nil
}

// space returns what is free for a path, and where: at the nearest directory above it that is there.
func space(path string) (int64, string, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(path, &st)
		if err == nil {
			return int64(st.Bavail) * st.Bsize, path, nil
		}
		if up := filepath.Dir(path); errors.Is(err, unix.ENOENT) && up != path {
			path = up
			continue
		}
		return 0, path, fmt.Errorf("%s: %w", path, err)
	}
}

// Local implements agent.Replication.
func (*Replication) Local(d agent.Data) (uint64, error) {
	if _, err := os.Lstat(d.Path); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return 0, nil
		}
		return 0, err
	}
	m, err := readMark(d)
	return m.Epoch, err
}

// Prove implements agent.Replication.
func (r *Replication) Prove(ctx context.Context, d agent.Data, epoch uint64) error {
	h, err := r.history(ctx, epoch)
	if err != nil {
		return err
	}
	s, err := r.openStore(ctx, d.App.Name)
	if err != nil {
		return err
	}
	return r.prove(ctx, s, d, h)
}

// Forget implements agent.Replication. It may be ended at any moment and called again: what is deleted is of epochs that nobody reads any
// more, since there is a newer one, which was restored before and is not touched.
func (r *Replication) Forget(ctx context.Context, d agent.Data, keep uint64) (int, error) {
	h, err := r.history(ctx, keep)
	if err != nil {
		return 0, err
	}
	s, err := r.openStore(ctx, d.App.Name)
	if err != nil {
		return 0, err
	}
	old, err := s.before(ctx, h)
	if err != nil || len(old) == 0 {
		return 0, err
	}
	if err := r.prove(ctx, s, d, h); err != nil {
		return 0, fmt.Errorf("data of %s before epoch %d are kept: %w", d.App.Name, keep, err)
	}
	for n, f := range old {
		if err := s.remove(ctx, f); err != nil {
			return n, err
		}
	}
	// Who leads the epoch that is kept stores one thing after the other, so that what it is at is newer than what it has. The rest of what
	// somebody was killed in storing is older, or will be under a later epoch.
	kept, err := s.list(ctx, h)
	if err != nil {
		return len(old), err
	}
	if newest, ok := newIndex(kept).newest(); ok {
		if err := s.sweep(ctx, newest.stored.Add(-unnamedFor)); err != nil {
			return len(old), err
		}
	}
	r.log.Info("old epochs deleted", zap.String("app", d.App.Name), zap.Uint64("before", keep), zap.Int("objects", len(old)))
	return len(old), nil
}

// prove restores what the store has of a history, beside the database, and checks it.
func (r *Replication) prove(ctx context.Context, s *store, d agent.Data, h history) error {
	files, err := s.list(ctx, h)
	if err != nil {
		return err
	}
	x := newIndex(files)
	newest, ok := x.newest()
	if !ok {
		return fmt.Errorf("nothing of epoch %d is stored", h.epoch)
	}
	path := filepath.Join(d.Dir, "proof.db")
	if err := errors.Join(os.MkdirAll(d.Dir, 0o700), erase(path)); err != nil {
		return err
	}
	defer func() { _ = erase(path) }()
	c := copyTo{path: path, spool: d.Dir}
	defer func() { _ = c.close() }()
	for at := uint64(0); at < newest.last; {
		f, ok := x.next(at)
		if !ok {
			return fmt.Errorf("epoch %d: after %d there is nothing, and %d is the newest", h.epoch, at, newest.last)
		}
		if err := c.apply(ctx, s, f, at); err != nil {
			return err
		}
		at = f.last
	}
	if err := c.close(); err != nil {
		return err
	}
	return sound(ctx, path)
}
