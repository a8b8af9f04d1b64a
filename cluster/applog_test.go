package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

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

// use is one read or write, wherever somebody answers; an answer that does not come is one of any later time.
type use struct {
	write bool
	entry string
}

// use writes and reads until ctx ends. A write whose fate is not known is never tried again.
func (b *bank) use(ctx context.Context, client int) {
	r := rand.New(rand.NewPCG(7, uint64(client)))
	for n := 0; ctx.Err() == nil; n++ {
		c := use{write: r.IntN(3) > 0, entry: fmt.Sprintf("%d-%d", client, n)}
		got, known := "", false
		began := b.clock.Add(1)
		for ctx.Err() == nil && !known {
			br := b.at(b.nodes[r.IntN(3)])
			try, cancel := context.WithTimeout(b.w.ctx, 2*time.Second)
			var err error
			if c.write {
				b.mu.Lock()
				b.asked[c.entry] = true
				b.mu.Unlock()
				_, err = br.log.Append(try, []byte(c.entry))
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
		if !known && (!c.write || ctx.Err() != nil) {
			continue
		}
		b.mu.Lock()
		if !known {
			ended = 1 << 60
		} else if c.write {
			b.acked = append(b.acked, c.entry)
		}
		b.calls = append(b.calls, porcupine.Operation{ClientId: client, Input: c, Call: began, Output: got, Return: ended})
		b.mu.Unlock()
		<-time.After(time.Duration(20+r.IntN(200)) * time.Millisecond)
	}
}

// model: a read sees the newest write.
var model = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		if c := input.(use); c.write {
			return true, c.entry
		}
		return output == state, state
	},
	DescribeOperation: func(input, output any) string {
		if c := input.(use); c.write {
			return "write " + c.entry
		}
		return fmt.Sprintf("read %s", output)
	},
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
		w.Errorf("of %d acknowledged entries %d are lost", len(b.acked), lost)
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
	switch porcupine.CheckOperationsTimeout(model, b.calls, time.Minute) {
	case porcupine.Illegal:
		w.Errorf("the history of %d calls is not linearizable", len(b.calls))
	case porcupine.Unknown:
		w.Errorf("whether the history of %d calls is linearizable was not found out within a minute", len(b.calls))
	}
	w.Logf("%d calls, %d acknowledged writes, %d lost, %d entries", len(b.calls), len(b.acked), lost, len(all))
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
