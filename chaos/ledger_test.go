//go:build linux

package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	json "github.com/go-json-experiment/json"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/go-cluster/go-cluster/agent/litestream"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/examples/ledger"
	"github.com/go-cluster/go-cluster/projections"
)

const ledgerSpec = `name: %s
mode: singleton
process:
  command: [%s, sample, ledger]
  stop_timeout: 5s
  env: {JOURNAL: %s}
sqlite: $GC_DATA_DIR/ledger.db
`

func (c *cluster) applyLedger(app string) (node string) {
	c.t.Helper()
	c.apply(app, fmt.Sprintf(ledgerSpec, app, binary, c.journal(app)))
	return c.on(app)[0]
}

const (
	pace  = 2 * time.Millisecond // of a client's entries
	again = 2 * time.Millisecond // after so long one that was not acknowledged is asked for again
)

// client writes to the ledger, one entry after the other, each until it is acknowledged, and journals what it was told.
type client struct {
	c    *cluster
	find func() []string // where to ask, one after the other
	name string
	http http.Client
	stop chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex
	acked   []ledger.Entry
	last    time.Time
	longest gap // between two acknowledgements since it was looked at
}

// gap is a time in which a client was told nothing.
type gap struct {
	took  time.Duration
	until time.Time
}

// writer is a client that finds the app by the log, as a load balancer would.
func (c *cluster) writer(app, name string) *client {
	return c.writerAt(name, func() []string { return []string{c.base(app)} })
}

// writerAt is a client that asks everywhere until it is answered.
func (c *cluster) writerAt(name string, find func() []string) *client {
	w := &client{c: c, find: find, name: name, http: c.web(2 * time.Second), stop: make(chan struct{}), last: time.Now()}
	w.done.Go(w.run)
	c.t.Cleanup(w.end)
	return w
}

func (w *client) end() {
	select {
	case <-w.stop:
	default:
		close(w.stop)
	}
	w.done.Wait()
}

func (w *client) run() {
	next, retry := time.NewTicker(pace), time.NewTicker(again)
	defer next.Stop()
	defer retry.Stop()
	for n, at := int64(1), ""; ; {
		wait, try := next.C, []string{at}
		if at == "" {
			wait = retry.C
		}
		select {
		case <-w.stop:
			return
		case <-wait:
		}
		if at == "" {
			try = w.find()
		}
		if at = w.post(n, try); at != "" {
			n++
		}
	}
}

// post returns where entry n was acknowledged, "" for nowhere.
func (w *client) post(n int64, try []string) string {
	for _, at := range try {
		e, err := call[ledger.Entry](&w.http, http.MethodPost, fmt.Sprintf("%s/entries?writer=%s&n=%d", at, w.name, n))
		if err != nil {
			if _, unreached := errors.AsType[*url.Error](err); unreached {
				w.http.CloseIdleConnections()
			}
			continue
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.acked = append(w.acked, e)
		now := time.Now()
		if took := now.Sub(w.last); took > w.longest.took {
			w.longest = gap{took, now}
		}
		w.last = now
		return at
	}
	return ""
}

// pause returns the longest time without an acknowledgement since the last call.
func (w *client) pause() (g gap) {
	w.mu.Lock()
	defer w.mu.Unlock()
	g, w.longest = w.longest, gap{}
	return g
}

func (w *client) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

// more waits until entries are acknowledged that were asked for after the call.
func (w *client) more() {
	w.c.t.Helper()
	n := w.count()
	until(w.c.t, "more entries are acknowledged", limit, func() bool { return w.count() > n+5 })
}

// base is where the app answers as the log has it.
func (c *cluster) base(app string) (url string) {
	c.view(func(v *projections.Cluster) {
		if a := v.Apps[app]; a != nil {
			for _, in := range a.Instances {
				if url = c.sites[in.Node]; url == "" {
					url = fmt.Sprintf("http://%s:%d", in.Address, in.Ports["http"])
				}
			}
		}
	})
	return url
}

func call[T any](h *http.Client, method, url string) (v T, err error) {
	req, err := http.NewRequestWithContext(context.Background(), method, url, nil)
	if err != nil {
		return v, err
	}
	res, err := h.Do(req)
	if err != nil {
		return v, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, body)
	}
	if err != nil {
		return v, err
	}
	return v, json.Unmarshal(body, &v)
}

// whole compares what a ledger has with what its clients were told: what is missing that was acknowledged, what is there twice, what
// is out of order.
func whole(have, acked []ledger.Entry) (lost, twice, disorder int) {
	type key struct {
		writer string
		n      int64
	}
	at, next := map[key]int64{}, map[string]int64{}
	for _, e := range have {
		k := key{e.Writer, e.N}
		if _, again := at[k]; again {
			twice++
		} else if e.N != next[e.Writer]+1 {
			disorder++
		}
		at[k], next[e.Writer] = e.ID, e.N
	}
	for _, e := range acked {
		if id, there := at[key{e.Writer, e.N}]; !there || id != e.ID {
			lost++
		}
	}
	return lost, twice, disorder
}

// What the other tests rely on.
func TestWhole(t *testing.T) {
	e := func(id int64, n int64) ledger.Entry { return ledger.Entry{ID: id, Writer: "w", N: n} }
	for _, c := range []struct {
		have, acked           []ledger.Entry
		lost, twice, disorder int
	}{
		{[]ledger.Entry{e(1, 1), e(2, 2)}, []ledger.Entry{e(1, 1), e(2, 2)}, 0, 0, 0},
		{[]ledger.Entry{e(1, 1)}, []ledger.Entry{e(1, 1), e(2, 2)}, 1, 0, 0},
		{[]ledger.Entry{e(1, 1), e(2, 3)}, []ledger.Entry{e(1, 1)}, 0, 0, 1},
		{[]ledger.Entry{e(1, 1), e(2, 1)}, nil, 0, 1, 0},
		{[]ledger.Entry{e(5, 1)}, []ledger.Entry{e(1, 1)}, 1, 0, 0}, // it was stored anew
	} {
		if lost, twice, disorder := whole(c.have, c.acked); lost != c.lost || twice != c.twice || disorder != c.disorder {
			t.Errorf("%v of %v: lost %d, twice %d, out of order %d", c.have, c.acked, lost, twice, disorder)
		}
	}
}

// audits ends the clients and holds the ledger against what they were told; mayLose says that the last move was none that promises to
// lose nothing.
func (c *cluster) audits(app string, mayLose bool, clients ...*client) (acked int) {
	c.t.Helper()
	told, lost := c.reckon(app, mayLose, clients...)
	if lost > 0 && !mayLose {
		c.t.Errorf("%d entries acknowledged: %d lost", told, lost)
	}
	return told
}

// reckon is audits for who counts what is lost; mayLose excuses what lies in disorder after a loss.
func (c *cluster) reckon(app string, mayLose bool, clients ...*client) (acked, missing int) {
	c.t.Helper()
	var told []ledger.Entry
	for _, w := range clients {
		w.end()
		told = append(told, w.acked...)
	}
	h := c.web(10 * time.Second)
	have, err := call[[]ledger.Entry](&h, http.MethodGet, c.base(app)+"/entries")
	if err != nil {
		c.t.Fatal(err)
	}
	if verdict, err := call[string](&h, http.MethodGet, c.base(app)+"/check"); err != nil || verdict != "ok" {
		c.t.Errorf("integrity_check: %q, %v", verdict, err)
	}
	lost, twice, disorder := whole(have, told)
	if twice > 0 || disorder > 0 && !mayLose {
		c.t.Errorf("%d entries acknowledged: %d lost, %d there twice, %d out of order", len(told), lost, twice, disorder)
	}
	all, _ := lives(c.t, c.journal(app))
	for _, bad := range faults(all, nil) {
		c.t.Error(bad)
	}
	return len(told), lost
}

// moveLedger moves the app and returns the id of its migration, which has ended well.
func (c *cluster) moveLedger(app, from, to string) string {
	c.t.Helper()
	began := c.seq()
	c.must("app", "move", app, "--from", from, "--to", to)
	var id string
	c.until("the move has ended well", limit, func(v *projections.Cluster) bool {
		for i, m := range v.Migrations {
			if m.App == app && m.Admitted.Seq > began {
				id = i
				return m.Ended() && v.Apps[app].Instances[app+"-0"] != nil && v.Apps[app].Instances[app+"-0"].Node == to
			}
		}
		return false
	})
	return id
}

// A singleton with a database moves while clients write, and nothing that they were told is lost.
func TestLedgerMovesUnderWrites(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, calm, "n1", "n2")
	from, to := c.applyLedger(app), "n1"
	if from == to {
		to = "n2"
	}
	clients := []*client{c.writer(app, "a"), c.writer(app, "b")}
	clients[0].more()
	for range 3 {
		c.moveLedger(app, from, to)
		clients[0].more()
		from, to = to, from
	}
	c.onlyNewest(app)
	t.Logf("%d entries acknowledged in 3 moves, longest pause %s", c.audits(app, false, clients...), max(clients[0].pause().took, clients[1].pause().took))
}

// onlyNewest waits until the store has nothing of the app but what its newest epoch has shipped.
func (c *cluster) onlyNewest(app string) {
	c.t.Helper()
	js, err := jetstream.New(c.nc)
	if err != nil {
		c.t.Fatal(err)
	}
	store, err := js.ObjectStore(c.t.Context(), litestream.Bucket(c.subjects, app))
	if err != nil {
		c.t.Fatal(err)
	}
	var newest uint64
	c.view(func(v *projections.Cluster) { newest = v.Apps[app].Epoch })
	until(c.t, "old epochs are deleted", limit, func() bool {
		all, err := store.List(c.t.Context())
		return err == nil && len(all) > 0 && !slices.ContainsFunc(all, func(o *jetstream.ObjectInfo) bool {
			return !strings.Contains(o.Name, fmt.Sprintf("/e%d/", newest))
		})
	})
}

// onStep calls f once, when the log has an event of the type, or one that ends the step of that name.
func (c *cluster) onStep(at, app string, f func()) {
	if strings.Contains(at, ".") {
		c.onEvent(events.Type(at), app, f)
		return
	}
	from := c.seq()
	look := time.NewTicker(2 * time.Millisecond)
	go func() {
		defer look.Stop()
		for {
			select {
			case <-c.t.Context().Done():
				return
			case <-look.C:
			}
			for _, e := range c.stored(from) {
				if s, ok := e.Data.(*events.StepCompleted); ok && e.App == app && string(s.Step) == at {
					f()
					return
				}
			}
		}
	}()
}

// The active, its agent or both stand still for twice the lease and wake up: what they write then is nobody's.
func TestStoppedLedger(t *testing.T) {
	for _, who := range []string{"app", "agent", "both"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			const app = "ledger"
			c := start(t, ttl, "n1", "n2")
			from := c.applyLedger(app)
			w := c.writer(app, "a")
			w.more()
			agent := c.proc("agent-" + from)
			var stopped []int
			if who != "agent" {
				for _, p := range c.living(app) {
					stopped = append(stopped, p.pid)
				}
			}
			for _, pid := range stopped {
				_ = syscall.Kill(pid, syscall.SIGSTOP)
			}
			if who != "app" {
				if err := agent.signal(syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			pass(t, 2*ttl)
			for _, pid := range stopped {
				_ = syscall.Kill(pid, syscall.SIGCONT)
			}
			if who != "app" {
				if err := agent.signal(syscall.SIGCONT); err != nil {
					t.Fatal(err)
				}
			}
			c.until("the app runs", limit, func(v *projections.Cluster) bool { return runs(v, app) && ready(v, "n1", "n2") })
			c.serves(app)
			w.more()
			c.audits(app, who != "app", w)
		})
	}
}

// A database that is none, or has no log, stays where it is: the move says why and the source serves on.
func TestWhatCannotBeMoved(t *testing.T) {
	for name, content := range map[string]string{
		"not a SQLite database": "text text text text text text\n",
		"not in WAL mode":       "SQLite format 3\x00\x10\x00\x01\x01",
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			c := start(t, calm, "n1", "n2")
			c.apply("odd", fmt.Sprintf("name: odd\nmode: singleton\nprocess:\n  command: [%s, sample, counter]\n  env: {JOURNAL: %s, INTERVAL: 20ms}\nsqlite: $GC_DATA_DIR/odd.db\n", binary, c.journal("odd")))
			from := c.on("odd")[0]
			to := other(from)
			found, err := filepath.Glob(filepath.Join(c.dir, "nodes", from, "process", "data", "odd-0"))
			if err != nil || len(found) != 1 {
				t.Fatalf("data directory: %v %v", found, err)
			}
			if err := os.WriteFile(filepath.Join(found[0], "odd.db"), append([]byte(content), bytes.Repeat([]byte{1}, 5000)...), 0o600); err != nil {
				t.Fatal(err)
			}
			r := c.cli("app", "move", "odd", "--from", from, "--to", to)
			if r.code == 0 || !strings.Contains(r.out+r.err, name) || !strings.Contains(r.out+r.err, "odd.db") {
				t.Errorf("want an error that names the file and %q: %s", name, r)
			}
			c.until("the app runs", limit, func(v *projections.Cluster) bool { return runs(v, "odd") })
			if on := c.on("odd"); !slices.Equal(on, []string{from}) {
				t.Errorf("it runs on %v", on)
			}
			c.writes("odd")
			c.alone("odd")
		})
	}
}
