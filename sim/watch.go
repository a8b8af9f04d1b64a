package sim

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"reflect"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants"
)

// watch holds every event against the laws as it is stored, and what runs at that moment against each other.
type watch struct {
	c       *Cluster
	log     *events.Log
	cancel  context.CancelFunc
	done    chan struct{}
	laws    sync.Mutex // guards the checker
	checker *invariants.Checker

	// The rest is guarded by the cluster's lock.
	seen  []events.Message
	found []invariants.Violation
	acked []acked
}

// acked is what a command was told.
type acked struct {
	id  string
	seq uint64
}

// told notes the answer to a command, when it says that something was stored.
func (c *Cluster) told(req, rep any) {
	meta, ok := reflect.Indirect(reflect.ValueOf(req)).FieldByName("Meta").Interface().(api.Meta)
	ack, is := rep.(api.Ack)
	if !is && reflect.ValueOf(rep).Kind() == reflect.Struct {
		if f := reflect.ValueOf(rep).FieldByName("Ack"); f.IsValid() {
			ack, is = f.Interface().(api.Ack)
		}
	}
	if ok && is && ack.Changed {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.watch.acked = append(c.watch.acked, acked{meta.ID, ack.Seq})
	}
}

func watchLog(c *Cluster) *watch {
	ctx, cancel := context.WithCancel(context.Background())
	log, err := events.Open(ctx, c.JS, c.Subjects, time.Now)
	if err != nil {
		c.T.Fatal(err)
	}
	w := &watch{c: c, log: log, cancel: cancel, done: make(chan struct{}), checker: invariants.New()}
	w.checker.BootedAt(c.booted())
	go func() {
		defer close(w.done)
		for from := uint64(1); ctx.Err() == nil; {
			_ = log.Follow(ctx, from, nil, func(m events.Message) error {
				w.next(m)
				from = m.Event.Seq + 1
				return nil
			})
			select {
			case <-ctx.Done():
			case <-time.After(time.Second): // NATS is away
			}
		}
	}()
	return w
}

func (w *watch) end() {
	w.cancel()
	<-w.done
}

// most is how many events are stored within a second at most. More are stored as fast as somebody can: time would stand still
// for ever, and nothing but the end of the process can end that.
const most = 400

func (w *watch) next(m events.Message) {
	m.Raw = bytes.Clone(m.Raw)
	w.laws.Lock()
	broken := w.checker.Event(m)
	w.laws.Unlock()
	broken = append(broken, w.c.Programs.twice()...)
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.seen, w.found = append(w.seen, m), append(w.found, broken...)
	if n := len(w.seen); n > most && m.Event.Stored.Sub(w.seen[n-most].Event.Stored) < time.Second {
		s := ""
		for _, m := range w.seen[n-80:] {
			s += w.c.line(m.Event) + "\n"
		}
		panic("events without end:\n" + s)
	}
}

// twice finds apps that are active twice at this moment.
func (p *Programs) twice() (out []invariants.Violation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	active := map[string]Span{}
	for _, m := range p.nodes {
		for _, g := range m.state {
			if g.span < 0 || p.journal[g.span].Role != "active" {
				continue
			}
			s := p.journal[g.span]
			if other, is := active[s.App]; is {
				out = append(out, invariants.Violation{Invariant: invariants.Alone, Detail: fmt.Sprintf("%+v and %+v", other, s)})
			}
			active[s.App] = s
		}
	}
	return out
}

// broken returns the laws broken so far.
func (c *Cluster) broken() []invariants.Violation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]invariants.Violation(nil), c.watch.found...)
}

// messages returns the log so far, as it is stored.
func (c *Cluster) messages() []events.Message {
	last, err := c.watch.log.LastSeq(context.Background())
	if err != nil {
		c.T.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; c.For(10 * time.Millisecond) {
		c.mu.Lock()
		seen := c.watch.seen
		c.mu.Unlock()
		if len(seen) > 0 && seen[len(seen)-1].Event.Seq >= last || last == 0 {
			return seen
		}
		if time.Now().After(deadline) {
			c.T.Fatalf("the log has %d events, %d were seen", last, len(seen))
		}
	}
}

// violations holds everything that has happened against the laws; settled says that nothing is under way.
func (c *Cluster) violations(settled bool) []invariants.Violation {
	seen := c.messages()
	c.watch.laws.Lock()
	defer c.watch.laws.Unlock()
	out := c.broken()
	c.mu.Lock()
	told := c.watch.acked
	c.mu.Unlock()
	for _, a := range told {
		out = append(out, c.watch.checker.Acked(a.id, a.seq)...)
	}
	out = append(out, c.watch.checker.Journal(c.spans())...)
	if settled {
		out = append(out, c.watch.checker.End()...)
		if len(seen) > 0 {
			last := seen[len(seen)-1].Event.Seq
			out = append(append(out, c.metered(last)...), c.believed(last)...)
		}
	}
	return out
}

// spans returns the lives of all programs.
func (c *Cluster) spans() []invariants.Span {
	var out []invariants.Span
	for _, s := range c.Programs.Journal() {
		out = append(out, invariants.Span{App: s.App, Instance: s.Instance, Node: s.Node, Role: s.Role, Epoch: s.Epoch, From: s.From, To: s.To, Running: s.To == 0,
			Data: s.Data, Lost: s.Lost})
	}
	return out
}

// booted is when the programs' clock was zero.
func (c *Cluster) booted() time.Time { return c.start.Add(-c.Boot() + time.Since(c.start)) }

// storage returns a directory for a cluster's files: in memory where there is room, since a simulation writes thousands of them.
func storage(t *testing.T) string {
	const shm = "/dev/shm"
	var fs syscall.Statfs_t
	if err := syscall.Statfs(shm, &fs); err != nil || uint64(fs.Bsize)*fs.Bavail < 512<<20 {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(shm, "sim")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
