//go:build linux

package sqlite_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/go-cluster/go-cluster/agent/replicationtest"
	"github.com/go-cluster/go-cluster/cluster"
	"github.com/go-cluster/go-cluster/cluster/sqlite"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/sim"
)

const table = "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY AUTOINCREMENT, entry TEXT UNIQUE, epoch INTEGER)"

// branch is a node's program.
type branch struct {
	node string
	app  *cluster.Application
	db   *sql.DB
	stop func()
}

// program returns a platform with the ledger, which is not running yet.
func program(node, url, dir string) (*cluster.Platform, *branch) {
	b := &branch{node: node, app: cluster.App("ledger", cluster.Singleton())}
	b.db = sqlite.Open(b.app, "ledger.db")
	b.app.OnActive(func(ctx context.Context) error {
		_, err := b.db.ExecContext(ctx, table)
		return err
	})
	p := cluster.NewPlatform("prod", node, url, cluster.DataDir(filepath.Join(dir, node)), cluster.Address("127.0.0.1"), cluster.LeaseTTL(3*time.Second))
	return p, b
}

// branch starts a node in this process.
func start(t *testing.T, node, url, dir string) *branch {
	t.Helper()
	p, b := program(node, url, dir)
	b.run(t, p)
	return b
}

func (b *branch) run(t *testing.T, p *cluster.Platform) {
	t.Helper()
	if err := p.Register(b.app); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", b.node, err)
		}
	})
	t.Cleanup(b.stop)
}

func plane(t *testing.T) (*sim.Plane, string) {
	t.Helper()
	dir := t.TempDir()
	p, err := sim.StartPlane("prod", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p, dir
}

// bank is the ledger on some nodes, and who uses it.
type bank struct {
	t        *testing.T
	branches []*branch
	clock    atomic.Int64 // orders calls and returns

	mu      sync.Mutex
	acked   []string
	calls   []porcupine.Operation
	unknown int // writes of which is not known whether they were made
}

// client writes until ctx ends, where somebody is active, and reads anywhere: who is not active must refuse that. What fails may have been
// done, or not, and is not tried again.
func (b *bank) client(ctx context.Context, name int) {
	for n := 0; ctx.Err() == nil; n++ {
		at := slices.IndexFunc(b.branches, func(one *branch) bool { return one.app.Fence(ctx) == nil })
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Millisecond):
		}
		c := replicationtest.Use{Write: n%3 > 0, Entry: fmt.Sprintf("%d-%d", name, n)}
		if !c.Write {
			at = n / 3 % len(b.branches)
		}
		if at < 0 {
			continue
		}
		began := b.clock.Add(1)
		got, err := b.branches[at].call(ctx, c)
		op := porcupine.Operation{ClientId: name, Input: c, Call: began, Output: got, Return: b.clock.Add(1)}
		b.mu.Lock()
		switch {
		case err == nil && c.Write:
			b.acked = append(b.acked, c.Entry)
		case err != nil && !c.Write:
			b.mu.Unlock()
			continue
		case err != nil:
			op.Return = replicationtest.Never
			b.unknown++
		}
		b.calls = append(b.calls, op)
		b.mu.Unlock()
	}
}

func (b *branch) call(ctx context.Context, c replicationtest.Use) (got string, err error) {
	try, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if c.Write {
		_, err := b.db.ExecContext(try, "INSERT INTO entries (entry) VALUES (?)", c.Entry)
		return "", err
	}
	err = b.db.QueryRowContext(try, "SELECT coalesce((SELECT entry FROM entries ORDER BY id DESC LIMIT 1), '')").Scan(&got)
	return got, err
}

// active waits until the ledger is active somewhere.
func (b *bank) active() *branch {
	b.t.Helper()
	var found *branch
	until(b.t, "the ledger is active", func() bool {
		for _, one := range b.branches {
			if _, err := one.call(b.t.Context(), replicationtest.Use{}); err == nil {
				found = one
			}
		}
		return found != nil
	})
	return found
}

func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	over := time.After(time.Minute)
	for !is() {
		select {
		case <-look.C:
		case <-over:
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func (b *branch) entries(t *testing.T) (all []string) {
	t.Helper()
	var verdict string
	if err := b.db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Fatalf("integrity_check: %s, %v", verdict, err)
	}
	rows, err := b.db.QueryContext(t.Context(), "SELECT entry FROM entries ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var e string
		if err := rows.Scan(&e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// A database moves between programs while clients write and read: nothing that was acknowledged is lost or there twice, and what
// clients saw could have been one machine's.
func TestMovesUnderWrites(t *testing.T) {
	p, dir := plane(t)
	b := &bank{t: t}
	for _, node := range []string{"node-1", "node-2"} {
		b.branches = append(b.branches, start(t, node, p.URL, dir))
	}
	from := b.active()
	platform := cluster.NewPlatform("prod", "", p.URL)
	t.Cleanup(platform.Close)
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for i := range 3 {
		clients.Go(func() { b.client(ctx, i+1) })
	}
	moves := 6
	if testing.Short() {
		moves = 2
	}
	left := ""
	for n := range moves {
		b.more()
		if left == "" {
			var err error
			if left, err = from.call(t.Context(), replicationtest.Use{}); err != nil {
				t.Fatal(err)
			}
		}
		to := b.branches[1-slices.Index(b.branches, from)]
		until(t, to.node+" is a node", func() bool { return ready(p, to.node) })
		if err := platform.MoveApp(t.Context(), cluster.MoveRequest{App: "ledger", FromNode: from.node, ToNode: to.node, Sync: n%2 == 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := from.call(t.Context(), replicationtest.Use{}); !errors.Is(err, cluster.ErrFenced) {
			t.Errorf("%s after it left: %v", from.node, err)
		}
		from = to
	}
	b.more()
	stop()
	clients.Wait()
	entries := from.entries(t)
	lost, twice := compare(b.acked, entries)
	if len(lost) > 0 || twice > 0 {
		t.Errorf("%d acknowledged, %d lost: %v; %d there twice", len(b.acked), len(lost), lost, twice)
	}
	if !replicationtest.Linearizable(t, entries, b.calls) {
		t.Errorf("the history of %d calls is not linearizable", len(b.calls))
	}
	stale := porcupine.Operation{Input: replicationtest.Use{}, Output: left, Call: b.clock.Add(1), Return: b.clock.Add(1)}
	if replicationtest.Linearizable(t, entries, append(slices.Clone(b.calls), stale)) {
		t.Errorf("an answer of the first active, %s, after it has left is not noticed", left)
	}
	t.Logf("%d moves, %d calls, %d acknowledged writes, %d that nobody knows of", moves, len(b.calls), len(b.acked), b.unknown)
	from.stop()
	from = b.active()
	if lost, twice := compare(b.acked, from.entries(t)); len(lost) > 0 || twice > 0 {
		t.Errorf("after a program ended in order: %d lost, %d twice", len(lost), twice)
	}
}

// more waits until entries are acknowledged that were asked for after the call.
func (b *bank) more() {
	b.t.Helper()
	count := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.acked)
	}
	n := count()
	until(b.t, "more entries are acknowledged", func() bool { return count() > n+20 })
}

func compare(acked, have []string) (lost []string, twice int) {
	there := map[string]int{}
	for _, e := range have {
		if there[e]++; there[e] > 1 {
			twice++
		}
	}
	for _, e := range acked {
		if there[e] == 0 {
			lost = append(lost, e)
		}
	}
	return lost, twice
}

func ready(p *sim.Plane, node string) (is bool) {
	p.Base.Replica.View(func(v *projections.Cluster) {
		is = v.Nodes[node] != nil && v.Nodes[node].Status == projections.StatusReady
	})
	return is
}

// The test binary is also the program that is killed: with this variable it is the node of that name.
const (
	childNode = "GO_CLUSTER_TEST_NODE"
	childNATS = "GO_CLUSTER_TEST_NATS"
	childDir  = "GO_CLUSTER_TEST_DIR"
)

func TestMain(m *testing.M) {
	if node := os.Getenv(childNode); node != "" {
		child(node)
	}
	os.Exit(m.Run())
}

// child is a program that writes an entry after the other while it is active, and says each once it is acknowledged.
func child(node string) {
	p, b := program(node, os.Getenv(childNATS), os.Getenv(childDir))
	b.app.OnActive(func(ctx context.Context) error {
		epoch, _ := cluster.Epoch(ctx)
		if _, err := b.db.ExecContext(ctx, table); err != nil {
			return err
		}
		go func() {
			for n := 0; ctx.Err() == nil; n++ {
				entry := fmt.Sprintf("%s-%d-%d", node, epoch, n)
				if _, err := b.db.ExecContext(ctx, "INSERT INTO entries (entry, epoch) VALUES (?, ?)", entry, epoch); err == nil {
					fmt.Println("acked", entry)
				}
			}
		}()
		return nil
	})
	if err := p.Register(b.app); err != nil {
		panic(err)
	}
	err := p.Run(context.Background())
	fmt.Println("ended", err)
	os.Exit(1)
}

// spawn starts a node as a process and returns it with what it said is acknowledged.
func spawn(t *testing.T, node, url, dir string) (*exec.Cmd, func() []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childNode+"="+node, childNATS+"="+url, childDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var acked []string
	done := make(chan struct{})
	go func() {
		defer close(done)
		for in := bufio.NewScanner(out); in.Scan(); {
			if e, ok := strings.CutPrefix(in.Text(), "acked "); ok {
				mu.Lock()
				acked = append(acked, e)
				mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-done; _ = cmd.Wait() })
	return cmd, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(acked)
	}
}

// A program is killed while it writes. Another takes over with a prefix of what it wrote: what is missing is the newest of it, and the
// grant says that something may be. A program that comes back before that goes on with everything.
func TestKilledWhileItWrites(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes and real leases")
	}
	for _, back := range []bool{false, true} {
		t.Run(fmt.Sprintf("another takes over %t", !back), func(t *testing.T) {
			p, dir := plane(t)
			cmd, acked := spawn(t, "node-1", p.URL, dir)
			until(t, "it writes", func() bool { return len(acked()) > 200 })
			b := &bank{t: t}
			if !back {
				for _, node := range []string{"node-2", "node-3"} { // most of the nodes are there
					b.branches = append(b.branches, start(t, node, p.URL, dir))
					until(t, node+" is a node", func() bool { return ready(p, node) })
				}
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if back {
				b.branches = append(b.branches, start(t, "node-1", p.URL, dir))
			}
			told := acked()
			have := b.active().entries(t)
			lost, twice := compare(told, have)
			if twice > 0 {
				t.Errorf("%d are there twice", twice)
			}
			if n := len(told) - len(lost); n < 0 || !slices.Equal(lost, told[n:]) {
				t.Errorf("what is lost is not the newest: %v", lost)
			}
			possible := false
			for _, g := range grants(t, p) {
				possible = possible || g.DataLossPossible
			}
			if len(lost) > 0 && (!possible || back) {
				t.Errorf("%d of %d are lost, loss possible: %t", len(lost), len(told), possible)
			}
			t.Logf("%d acknowledged, %d lost, loss possible: %t", len(told), len(lost), possible)
		})
	}
}

// grants returns what was granted, in order.
func grants(t *testing.T, p *sim.Plane) (all []*events.LeadershipGranted) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	last, err := p.Base.Events.LastSeq(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = p.Base.Events.Follow(ctx, 1, nil, func(m events.Message) error {
		if g, ok := m.Event.Data.(*events.LeadershipGranted); ok {
			all = append(all, g)
		}
		if m.Event.Seq >= last {
			cancel()
		}
		return nil
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return all
}
