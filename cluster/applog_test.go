package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/go-cluster/go-cluster/agent/replicationtest"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants"
	"github.com/go-cluster/go-cluster/projections"
)

var bankSeeds = flag.Uint64("bank-seeds", 3, "how many histories of a moving log are lived through")

// ledger is a state: every entry there ever was, in order.
type ledger struct{ Entries []string }

func (s *ledger) Apply(_ uint64, record []byte) error {
	s.Entries = append(s.Entries, string(record))
	return nil
}

func (s *ledger) Snapshot(w io.Writer) error { return json.NewEncoder(w).Encode(s) }
func (s *ledger) Restore(r io.Reader) error  { return json.NewDecoder(r).Decode(s) }
func (s *ledger) newest() string             { return s.at(len(s.Entries) - 1) }
func (s *ledger) at(i int) string {
	if i < 0 {
		return ""
	}
	return s.Entries[i]
}

// branch is a node's program.
type branch struct {
	log   *Log
	state *ledger
	cable *cable
	stop  func()
}

// bank is a ledger on three nodes, and who uses it.
type bank struct {
	w      *world
	nodes  []string
	client *Platform

	clock    atomic.Int64 // orders calls and returns
	mu       sync.Mutex
	branches map[string]branch
	acked    []string
	asked    map[string]bool // every entry that somebody tried to write
	calls    []porcupine.Operation
}

func newBank(w *world) *bank {
	b := &bank{w: w, nodes: []string{"node-1", "node-2", "node-3"}, branches: map[string]branch{}, asked: map[string]bool{}}
	for _, node := range b.nodes {
		b.open(node)
	}
	b.client = w.platform("")
	w.until("the bank is open", func(v *projections.Cluster) bool { return v.Apps["bank"] != nil })
	w.idle("the bank serves", func() bool { return b.active() != "" })
	return b
}

// open starts a node's program, which knows nothing of what an earlier one knew.
func (b *bank) open(node string) {
	b.w.Helper()
	p, a := b.w.platform(node, LeaseTTL(6*time.Second)), App("bank", Singleton())
	br := branch{state: &ledger{}, cable: b.w.attach(p)}
	br.log = a.Log(br.state, SnapshotEvery(40))
	if err := p.Register(a); err != nil {
		b.w.Fatal(err)
	}
	br.stop = b.w.run(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.branches[node] = br
}

func (b *bank) at(node string) branch {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.branches[node]
}

// active is the node whose gate is open.
func (b *bank) active() string {
	for _, n := range b.nodes {
		if b.at(n).log.app.Fence(b.w.ctx) == nil {
			return n
		}
	}
	return ""
}

// use writes and reads until ctx ends. A write whose fate is not known is never tried again.
func (b *bank) use(ctx context.Context, client int) {
	r := rand.New(rand.NewPCG(7, uint64(client)))
	for n := 0; ctx.Err() == nil; n++ {
		c := replicationtest.Use{Write: r.IntN(3) > 0, Entry: fmt.Sprintf("%d-%d", client, n)}
		got, known := "", false
		began := b.clock.Add(1)
		for ctx.Err() == nil && !known {
			br := b.at(b.nodes[r.IntN(3)])
			try, cancel := context.WithTimeout(b.w.ctx, 2*time.Second)
			var err error
			if c.Write {
				b.mu.Lock()
				b.asked[c.Entry] = true
				b.mu.Unlock()
				_, err = br.log.Append(try, []byte(c.Entry))
			} else {
				err = br.log.View(try, func() { got = br.state.newest() })
			}
			cancel()
			if err == nil {
				known = true
			} else if !errors.Is(err, ErrFenced) {
				break
			} else {
				<-time.After(time.Duration(1+r.IntN(20)) * time.Millisecond)
				began = b.clock.Add(1) // nothing has happened
			}
		}
		ended := b.clock.Add(1)
		if !known && (!c.Write || ctx.Err() != nil) {
			continue
		}
		b.mu.Lock()
		if !known {
			ended = replicationtest.Never
		} else if c.Write {
			b.acked = append(b.acked, c.Entry)
		}
		b.calls = append(b.calls, porcupine.Operation{ClientId: client, Input: c, Call: began, Output: got, Return: ended})
		b.mu.Unlock()
		<-time.After(time.Duration(20+r.IntN(200)) * time.Millisecond)
	}
}

// judge holds the ledger of the last active against what clients were told.
func (b *bank) judge() {
	w := b.w
	w.Helper()
	node := ""
	w.idle("the bank serves", func() bool { node = b.active(); return node != "" })
	var all []string
	if err := b.at(node).log.View(w.ctx, func() { all = slices.Clone(b.at(node).state.Entries) }); err != nil {
		w.Fatal(err)
	}
	at := map[string]int{}
	last := map[string]int{} // of each client: its entries are in the order in which it wrote them
	for i, e := range all {
		if _, twice := at[e]; twice {
			w.Errorf("%s is there twice", e)
		}
		at[e] = i
		who, n, _ := strings.Cut(e, "-")
		var k int
		_, _ = fmt.Sscan(n, &k)
		if before, is := last[who]; is && k < before {
			w.Errorf("client %s: %d comes after %d", who, k, before)
		}
		last[who] = k
		if !b.asked[e] {
			w.Errorf("%s is there, and nobody wrote it", e)
		}
	}
	lost := 0
	for _, e := range b.acked {
		if _, is := at[e]; !is {
			lost++
		}
	}
	if lost > 0 || len(b.acked) == 0 {
		w.Fatalf("of %d acknowledged entries %d are lost", len(b.acked), lost)
	}
	for _, n := range b.nodes { // standbys are close behind
		if n == node || b.at(n).log.end == nil {
			continue
		}
		if err := b.at(n).log.end.CatchUp(w.ctx); err != nil {
			w.Errorf("%s: %v", n, err)
		} else if got := b.at(n).state.Entries; !slices.Equal(got, all) {
			w.Errorf("%s has %d entries, the active %d", n, len(got), len(all))
		}
	}
	if !replicationtest.Linearizable(w, all, b.calls) {
		w.Errorf("the history of %d calls is not linearizable", len(b.calls))
	}
	stale := porcupine.Operation{Input: replicationtest.Use{}, Output: all[0], Call: b.clock.Add(1), Return: b.clock.Add(1)}
	if replicationtest.Linearizable(w, all, append(slices.Clone(b.calls), stale)) {
		w.Errorf("an answer of the past, %s, at the end is not noticed", all[0])
	}
	b.laws()
	w.Logf("%d calls, %d acknowledged writes, %d lost, %d entries", len(b.calls), len(b.acked), lost, len(all))
}

// laws holds everything that was stored against the laws, and what was said of the data at each grant: a planned move's target has exactly what
// the source left, and a takeover has everything.
func (b *bank) laws() {
	w := b.w
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	c := invariants.New()
	exact, caughtUp := 0, 0
	for _, e := range w.stored {
		for _, v := range c.Event(events.Message{Event: e}) {
			w.Errorf("%v", v)
		}
		d, is := e.Data.(*events.LeadershipGranted)
		switch {
		case !is:
		case d.DataLossPossible:
			w.Errorf("epoch %d is granted with data loss possible", d.Epoch)
		case d.Result == nil || d.Result.Position == "":
			if d.Epoch > 1 && !d.Undo {
				w.Errorf("epoch %d is granted, and nobody said where its data begin", d.Epoch)
			}
		case d.Result.Checksum == "":
			w.Errorf("epoch %d begins at %s, without a checksum", d.Epoch, d.Result.Position)
		default:
			exact++
		}
		if d, is := e.Data.(*events.StepCompleted); is && d.Step == events.StepCatchUp {
			caughtUp++
		}
	}
	if exact == 0 || caughtUp == 0 {
		w.Errorf("%d epochs began at a position, %d copies were caught up", exact, caughtUp)
	}
}

// A singleton's log moves under write load, planned and unplanned: nothing that was acknowledged is lost, nothing is there twice, and
// what clients saw could have been one machine's.
func TestLogMovesUnderLoad(t *testing.T) {
	for seed := range *bankSeeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			inBubble(t, func(w *world) {
				b := newBank(w)
				ctx, stop := context.WithCancel(w.ctx)
				var clients sync.WaitGroup
				for i := range 4 {
					clients.Go(func() { b.use(ctx, i) })
				}
				r := rand.New(rand.NewPCG(seed, 2))
				for range 12 {
					<-time.After(time.Duration(200+r.IntN(2000)) * time.Millisecond)
					b.happens(r)
				}
				stop()
				clients.Wait()
				b.judge()
			})
		})
	}
}

// happens moves the bank, cuts its active off, or has a program begin anew, and returns when that is over.
func (b *bank) happens(r *rand.Rand) {
	w := b.w
	w.Helper()
	at := ""
	w.idle("the bank serves", func() bool { at = b.active(); return at != "" })
	switch r.IntN(5) {
	case 0: // cut off, and back
		b.at(at).cable.set(true)
		w.idle("another serves", func() bool { n := b.active(); return n != "" && n != at })
		b.at(at).cable.set(false)
		w.until("it is back", func(v *projections.Cluster) bool {
			n := v.Nodes[at]
			return n.Status == projections.StatusReady && n.Joined.Seq > n.Suspected.Seq
		})
	case 1: // a program ends in order and begins anew
		node := b.nodes[r.IntN(3)]
		b.at(node).stop()
		b.open(node)
	default:
		to := b.nodes[(slices.Index(b.nodes, at)+1+r.IntN(2))%3]
		if err := b.client.MoveApp(w.ctx, MoveRequest{App: "bank", ToNode: to}); err != nil {
			w.Fatalf("move from %s to %s: %v\n%s", at, to, err, w.state())
		}
		if got := b.active(); got != to {
			w.Errorf("moved to %s, active is %q", to, got)
		}
	}
}

// Without a mode, with another, twice, or without a state: the program is told before it is a node.
func TestLogFaults(t *testing.T) {
	for want, f := range map[string]func() *Application{
		"only a singleton has one writer": func() *Application { a := App("x", Replicas(2)); a.Log(&ledger{}); return a },
		"it has one":                      func() *Application { a := App("x", Singleton()); a.Log(&ledger{}); a.Log(&ledger{}); return a },
		"no state":                        func() *Application { a := App("x", Singleton()); a.Log(nil); return a },
		"SnapshotEvery 0":                 func() *Application { a := App("x", Singleton()); a.Log(&ledger{}, SnapshotEvery(0)); return a },
	} {
		p := NewPlatform("prod", "node-1", "nats://127.0.0.1:4222")
		if err := p.Register(f()); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// How far a log is, on each node that has it, is in the node's lease, in `app show` and in the node's metrics.
func TestLogPositionIsShown(t *testing.T) {
	w := newWorld(t, t.TempDir(), natsserverOptions(t))
	p := w.platform("node-1", MetricsAddr("127.0.0.1:0"))
	served := ""
	p.serving = func(at string) { served = at }
	a := App("bank", Singleton())
	state := &ledger{}
	log := a.Log(state)
	if err := p.Register(a); err != nil {
		t.Fatal(err)
	}
	w.run(p)
	w.idle("the bank serves", func() bool { return a.Fence(w.ctx) == nil })
	var last uint64
	for n := range 3 {
		var err error
		if last, err = log.Append(w.ctx, fmt.Appendf(nil, "%d", n)); err != nil {
			t.Fatal(err)
		}
	}
	want := fmt.Sprintf("e1:%d", last)
	client := w.platform("")
	shown := ""
	limit := time.Now().Add(30 * time.Second)
	w.idle("app show has the position", func() bool {
		if time.Now().After(limit) {
			t.Fatalf("app show has %q, want %q", shown, want)
		}
		v, err := client.App(w.ctx, "bank")
		if err != nil || len(v.Instances) != 1 || v.Instances[0].Data == nil {
			return false
		}
		shown = v.Instances[0].Data.Position
		return shown == want
	})
	r, err := http.Get("http://" + served + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(r.Body)
	_ = r.Body.Close()
	for _, line := range []string{
		fmt.Sprintf(`gc_replication_position{app="bank",node="node-1",role="active"} %d`, last),
		`gc_replication_epoch{app="bank",node="node-1",role="active"} 1`,
		`gc_replication_lag_seconds{app="bank",node="node-1",role="active"} 0`,
		`gc_replication_bytes_total{app="bank",node="node-1",role="active"} 3`,
	} {
		if !strings.Contains(string(b), line+"\n") {
			t.Errorf("the metrics do not have %s", line)
		}
	}
}
