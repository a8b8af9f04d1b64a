//go:build linux

package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/agent/litestream"
	"github.com/go-cluster/go-cluster/cluster"
	"github.com/go-cluster/go-cluster/cluster/sqlite"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/sim"
	"github.com/go-cluster/go-cluster/spec"
)

// vault is the store of the ledger's data, of which a test says whether it takes anything.
type vault struct {
	t  *testing.T
	js jetstream.JetStream
}

func openVault(t *testing.T, p *sim.Plane) vault {
	t.Helper()
	nc, err := nats.Connect(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return vault{t, js}
}

// takes has the store take what comes, or nothing any more.
func (v vault) takes(anything bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := v.js.Stream(ctx, "OBJ_GC_prod_DATA_ledger")
	if err != nil {
		return err
	}
	cfg := s.CachedInfo().Config
	if cfg.MaxBytes = -1; !anything {
		cfg.MaxBytes = int64(s.CachedInfo().State.Bytes)
	}
	_, err = v.js.UpdateStream(ctx, cfg)
	return err
}

// has returns the entries that a machine would go on with which has nothing but the store.
func (v vault) has(epoch uint64) (entries []string) {
	v.t.Helper()
	subjects, err := events.NewSubjects("prod")
	if err != nil {
		v.t.Fatal(err)
	}
	dir := v.t.TempDir()
	d := agent.Data{App: spec.App{Name: "ledger"}, Instance: "ledger-0", Path: filepath.Join(dir, "ledger.db"), Dir: filepath.Join(dir, "own")}
	if _, err := litestream.New(litestream.Options{JS: v.js, Subjects: subjects}).Recover(v.t.Context(), d, []agent.Term{{Epoch: epoch, Activated: true}}); err != nil {
		v.t.Fatal(err)
	}
	db, err := sql.Open("sqlite", d.Path)
	if err != nil {
		v.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	return (&branch{db: db}).entries(v.t)
}

// after calls f once, as soon as a step of the ledger's move has ended.
func after(t *testing.T, p *sim.Plane, step events.Step, f func()) {
	t.Helper()
	from, err := p.Base.Events.LastSeq(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.Base.Events.Follow(t.Context(), from+1, nil, func(m events.Message) error {
			if s, ok := m.Event.Data.(*events.StepCompleted); ok && s.Step == step {
				f()
				return context.Canceled
			}
			return nil
		})
	}()
}

func (b *branch) put(t *testing.T, patience time.Duration, entry string) error {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := b.db.ExecContext(ctx, "INSERT INTO entries (entry) VALUES (?)", entry)
	return err
}

// The store takes nothing any more in the final phase of a move. With Sync nothing is acknowledged then that is not stored, and the source serves
// on as ever once the move has failed. Without, what is acknowledged is on one machine alone: that is what this test would not notice otherwise.
func TestFinalPhaseWithoutStore(t *testing.T) {
	if testing.Short() {
		t.Skip("a real lease has to run out")
	}
	for _, synchronous := range []bool{true, false} {
		t.Run(fmt.Sprintf("sync %t", synchronous), func(t *testing.T) {
			p, dir := plane(t)
			v := openVault(t, p)
			b := &bank{t: t, branches: []*branch{start(t, "node-1", p.URL, dir)}}
			from := b.active()
			target, _ := spawn(t, "node-2", p.URL, dir)
			until(t, "node-2 is a node", func() bool { return ready(p, "node-2") })
			platform := cluster.NewPlatform("prod", "", p.URL)
			t.Cleanup(platform.Close)
			ctx, stop := context.WithCancel(t.Context())
			var clients sync.WaitGroup
			for i := range 3 {
				clients.Go(func() { b.client(ctx, i+1) })
			}
			b.more()
			full := make(chan error, 1)
			after(t, p, events.StepPrepare, func() { _ = target.Process.Signal(syscall.SIGSTOP) }) // the final phase lasts as long as its lease
			after(t, p, events.StepSync, func() { full <- v.takes(false) })
			moved := make(chan error, 1)
			go func() {
				moved <- platform.MoveApp(t.Context(), cluster.MoveRequest{App: "ledger", FromNode: "node-1", ToNode: "node-2", Sync: synchronous})
			}()
			if err := <-full; err != nil {
				t.Fatal(err)
			}
			if err := from.put(t, 300*time.Millisecond, "late"); synchronous != errors.Is(err, sqlite.ErrNotStored) || synchronous != errors.Is(err, context.DeadlineExceeded) || !synchronous && err != nil {
				t.Errorf("a commit that cannot be stored: %v", err)
			}
			b.mu.Lock()
			acked := slices.Clone(b.acked)
			b.mu.Unlock()
			have := v.has(1)
			lost, _ := compare(acked, have)
			if synchronous != (len(lost) == 0) {
				t.Errorf("%d of %d that were acknowledged are not stored", len(lost), len(acked))
			}
			if !slices.Contains(from.entries(t), "late") {
				t.Error("what was not acknowledged is not there: it was said to be committed")
			}
			if err := <-moved; !errors.Is(err, cluster.ErrFailed) {
				t.Errorf("the move: %v", err)
			}
			until(t, "the source acknowledges again", func() bool { return from.put(t, time.Second, fmt.Sprint("on-", time.Now().UnixNano())) == nil })
			b.more()
			stop()
			clients.Wait()
			t.Logf("%d acknowledged, of them %d only here; %d in the store", len(acked), len(lost), len(have))
		})
	}
}

// The target has not stored its first copy yet, as long as the store takes nothing: with Sync it acknowledges nothing until then, and the move
// has not ended.
func TestTargetStoresFirst(t *testing.T) {
	p, dir := plane(t)
	v := openVault(t, p)
	b := &bank{t: t, branches: []*branch{start(t, "node-1", p.URL, dir)}}
	from := b.active()
	if err := from.put(t, time.Minute, "before"); err != nil {
		t.Fatal(err)
	}
	platform, to := program("node-2", p.URL, dir)
	begun := make(chan error, 1)
	to.app.OnActive(func(ctx context.Context) error {
		err := v.takes(false) // before anything is shipped from here
		_, own := to.db.ExecContext(ctx, "INSERT INTO entries (entry) VALUES ('begun')")
		if early := to.put(t, 100*time.Millisecond, "early"); !errors.Is(early, sqlite.ErrNotStored) {
			t.Errorf("a client, while OnActive runs: %v", early)
		}
		begun <- errors.Join(err, own)
		return nil
	})
	to.run(t, platform)
	until(t, "node-2 is a node", func() bool { return ready(p, "node-2") })
	moved := make(chan error, 1)
	go func() {
		moved <- platform.MoveApp(t.Context(), cluster.MoveRequest{App: "ledger", FromNode: "node-1", ToNode: "node-2", Sync: true})
	}()
	if err := <-begun; err != nil {
		t.Fatal(err)
	}
	if err := to.put(t, 300*time.Millisecond, "late"); !errors.Is(err, sqlite.ErrNotStored) {
		t.Errorf("before the first copy is stored: %v", err)
	}
	select {
	case err := <-moved:
		t.Errorf("the move has ended before the first copy is stored: %v", err)
	default:
	}
	if err := v.takes(true); err != nil {
		t.Fatal(err)
	}
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	if have := v.has(2); !slices.Equal(have, []string{"before", "begun", "early", "late"}) {
		t.Errorf("once the move has ended the store has %q", have)
	}
}
