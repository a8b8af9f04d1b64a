package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants"
	"github.com/go-cluster/go-cluster/invariants/planted"
)

// messages returns the log as it is stored.
func (c *Cluster) messages() []events.Message {
	ctx := context.Background()
	log, err := events.Open(ctx, c.JS, c.Subjects, time.Now)
	if err != nil {
		c.T.Fatal(err)
	}
	last, err := log.LastSeq(ctx)
	if err != nil {
		c.T.Fatal(err)
	}
	var out []events.Message
	enough := errors.New("enough")
	err = log.Follow(ctx, 1, nil, func(m events.Message) error {
		m.Raw = bytes.Clone(m.Raw)
		if out = append(out, m); m.Event.Seq >= last {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		c.T.Fatal(err)
	}
	return out
}

// spans returns the lives of all programs.
func (c *Cluster) spans() []invariants.Span {
	var out []invariants.Span
	for _, s := range c.Programs.Journal() {
		out = append(out, invariants.Span{App: s.App, Instance: s.Instance, Node: s.Node, Role: s.Role, Epoch: s.Epoch, From: s.From, To: s.To, Running: s.To == 0})
	}
	return out
}

// booted is when the programs' clock was zero.
func (c *Cluster) booted() time.Time { return c.start.Add(-c.Boot() + time.Since(c.start)) }

// violations holds everything that has happened against the laws; settled says that nothing is under way.
func (c *Cluster) violations(settled bool) []invariants.Violation {
	ch := invariants.New()
	ch.BootedAt(c.booted())
	var out []invariants.Violation
	for _, m := range c.messages() {
		out = append(out, ch.Event(m)...)
	}
	out = append(out, ch.Journal(c.spans())...)
	if settled {
		out = append(out, ch.End()...)
	}
	return out
}

// lawful fails the test for every law that is broken.
func lawful(t *testing.T, c *Cluster, settled bool) {
	t.Helper()
	broken := c.violations(settled)
	for _, v := range broken {
		t.Errorf("violation %s: %s", v.Name, v)
	}
	if len(broken) > 0 {
		t.Log(c.Story())
	}
}

// TestLaws lives through random histories and holds each against the laws of the log and of the journals.
func TestLaws(t *testing.T) {
	random(t)
	last := *seedsAt + *seeds - 1
	if testing.Short() {
		last = min(last, *seedsAt+4)
	}
	for k := *seedsAt; k <= last; k++ {
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			h := schedule(k)
			Run(t, h.nodes, func(c *Cluster) {
				r := newRunner(c, h)
				settled := false
				defer func() { lawful(t, c, settled) }()
				began := time.Now()
				for _, s := range h.steps {
					if wait := s.at - time.Since(began); wait > 0 {
						c.For(wait)
					}
					s.do(r)
				}
				r.well()
				r.settle(t)
				settled = true
			})
		})
	}
}

// TestMadeHistories are lawful where no mistake is planted.
func TestMadeHistories(t *testing.T) {
	if planted.Name() != "" {
		t.Skip("this build has the mistake " + planted.Name())
	}
	for name, play := range made {
		t.Run(name, func(t *testing.T) {
			Run(t, plain("n1", "n2", "n3"), func(c *Cluster) {
				play(c)
				quiet(c)
				lawful(t, c, true)
			})
		})
	}
}
