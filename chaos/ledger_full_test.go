//go:build linux

package chaos

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/agent/litestream"
	"github.com/go-cluster/go-cluster/projections"
)

// small puts a small disk under the data of a node's apps. It has to be called before anything is there.
func (c *cluster) small(node, size string) (dir string) {
	c.t.Helper()
	needRoot(c.t, "a small disk")
	dir = filepath.Join(c.dir, "nodes", node, "process", "data")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=755,size="+size); err != nil {
		c.t.Fatalf("mount a small disk: %v", err)
	}
	c.t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

func other(node string) string { return map[string]string{"n1": "n2", "n2": "n1"}[node] }

// staysFor moves the app, which must fail for a reason that people are told, and returns what they are told.
func (c *cluster) staysFor(app, from string, want ...string) {
	c.t.Helper()
	r := c.cli("app", "move", app, "--from", from, "--to", other(from))
	for _, w := range want {
		if r.code == 0 || !strings.Contains(r.out+r.err, w) {
			c.t.Errorf("want an error with %q: %s", w, r)
		}
	}
	c.until("the app runs", limit, func(v *projections.Cluster) bool { return runs(v, app) })
	if on := c.on(app); !slices.Equal(on, []string{from}) {
		c.t.Errorf("it runs on %v, want %s", on, from)
	}
}

// A target whose disk is full does not get the database: the move says so before the source steps down, the source serves on.
func TestFullDiskOfTheTarget(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, calm, "n1", "n2")
	c.must("node", "cordon", "n2")
	to := c.small("n2", "40k")
	from := c.applyLedger(app)
	c.must("node", "uncordon", "n2")
	w := c.writer(app, "a")
	until(t, "the database is larger than the disk", limit, func() bool { return w.count() > 1500 })
	w.pause()
	c.staysFor(app, from, "no space left on device", to)
	w.more()
	t.Logf("%d entries acknowledged, longest pause %s", c.audits(app, false, w), w.pause().took)
}

// Where the disk of the active is full, writes fail and are not acknowledged; what was acknowledged is all there, moves away when it can
// be, and nothing is lost when there is room again.
func TestFullDiskOfTheSource(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, ttl, "n1", "n2")
	dirs := map[string]string{"n1": c.small("n1", "24m"), "n2": c.small("n2", "24m")}
	from := c.applyLedger(app)
	w := c.writer(app, "a")
	w.more()
	filler := filepath.Join(dirs[from], "filler")
	fill := func() {
		f, err := os.OpenFile(filler, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{4096, 1} {
			for err == nil {
				_, err = f.Write(make([]byte, size))
			}
			err = nil
		}
		_ = f.Close()
	}
	fill()
	before := -1
	until(t, "writes are refused", limit, func() bool {
		n := w.count()
		stuck := n == before
		before = n
		fill() // what a checkpoint gave back
		pass(t, 300*time.Millisecond)
		return stuck
	})
	r := c.cli("app", "move", app, "--from", from, "--to", other(from))
	t.Logf("a move from a full disk: %s", r)
	if r.code != 0 && !strings.Contains(r.out+r.err, "disk") && !strings.Contains(r.out+r.err, "no space left") {
		t.Errorf("want a reason: %s", r)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	c.until("the app runs", limit, func(v *projections.Cluster) bool { return runs(v, app) })
	w.more()
	at := c.on(app)[0]
	c.moveLedger(app, at, other(at))
	w.more()
	t.Logf("%d entries acknowledged", c.audits(app, false, w))
}

// storeBound bounds the store of an app's data, which is there; 0 leaves no room in it, -1 is no bound.
func (c *cluster) storeBound(app string, bytes int64) {
	c.t.Helper()
	js, err := jetstream.New(c.nc)
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := js.Stream(c.t.Context(), "OBJ_"+litestream.Bucket(c.subjects, app))
	if err != nil {
		c.t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	if cfg.MaxBytes = bytes; bytes == 0 {
		cfg.MaxBytes = int64(s.CachedInfo().State.Bytes)
	}
	if _, err := js.UpdateStream(c.t.Context(), cfg); err != nil {
		c.t.Fatal(err)
	}
}

// A store that is full stops moves before the source steps down, and nothing else. With room again all goes on where it was.
func TestFullStore(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, ttl, "n1", "n2")
	w, from := c.fillStore(app)
	c.staysFor(app, from, "maximum bytes exceeded")
	w.more()
	c.storeBound(app, -1)
	c.moveLedger(app, from, other(from))
	w.more()
	t.Logf("%d entries acknowledged, longest pause %s", c.audits(app, false, w), w.pause().took)
}

// fillStore applies the ledger and leaves no room in its store. It returns who writes to it, and where it runs.
func (c *cluster) fillStore(app string) (w *client, at string) {
	c.t.Helper()
	from := c.applyLedger(app)
	w, at = c.writer(app, "a"), other(from)
	w.more()
	c.moveLedger(app, from, at) // the bucket is there
	w.more()
	c.storeBound(app, 0)
	until(c.t, "app show says why it is not shipped", limit, func() bool {
		return strings.Contains(c.must("app", "show", app).out, "maximum bytes exceeded")
	})
	w.pause()
	return w, at
}

// Nor does a full store have a restart in place stop what serves, or keep an app that nobody wants any more. With room it is restarted.
func TestFullStoreInPlace(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, ttl, "n1", "n2")
	w, at := c.fillStore(app)
	c.must("node", "cordon", other(at)) // or it would move instead
	epoch := func() (e uint64) {
		c.view(func(v *projections.Cluster) { e = v.Apps[app].Epoch })
		return e
	}
	before := epoch()
	if r := c.cli("app", "restart", app); r.code == 0 || !strings.Contains(r.out+r.err, "maximum bytes exceeded") {
		t.Errorf("want to be told that the store is full: %s", r)
	}
	w.more()
	if after := epoch(); after != before {
		t.Errorf("it was stopped %d times", after-before)
	}
	c.storeBound(app, -1)
	c.must("app", "restart", app)
	w.more()
	if on := c.on(app); epoch() == before || !slices.Equal(on, []string{at}) {
		t.Errorf("restarted in place it runs on %v under epoch %d, it was on %s under %d", on, epoch(), at, before)
	}
	t.Logf("%d entries acknowledged, longest pause %s", c.audits(app, false, w), w.pause().took)
	c.storeBound(app, 0)
	c.must("app", "remove", app)
	c.until("it is gone", limit, func(v *projections.Cluster) bool {
		a := v.Apps[app]
		return a == nil || len(a.Instances) == 0 && len(a.Open) == 0
	})
}

// A store that does not answer stops moves before the source steps down, and nothing else.
func TestUnreachableStore(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, 10*ttl, "n1", "n2") // the lease outlives the outage
	from := c.applyLedger(app)
	w := c.writer(app, "a")
	w.more()
	server := c.proc("nats")
	if err := server.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	w.more() // it needs nobody to serve
	pass(t, 2*ttl)
	w.more()
	if err := server.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	c.moveLedger(app, from, other(from))
	w.more()
	t.Logf("%d entries acknowledged, longest pause %s", c.audits(app, false, w), w.pause().took)
}
