//go:build linux

package chaos

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// The program that a database leaves is killed in the final phase of the move, and another takes over. With --sync nothing that it acknowledged in
// that phase is lost, and the grant does not say that something may be; without, that is said, and may be so.
func TestKilledInTheFinalPhase(t *testing.T) {
	kinds := []bool{true, false}
	if !*all {
		kinds = kinds[:1]
	}
	for _, synchronous := range kinds {
		t.Run(fmt.Sprintf("sync %t", synchronous), func(t *testing.T) {
			t.Parallel()
			const app = "ledger"
			nodes := []string{"n1", "n2", "n3"}
			c := startPrograms(t, "sqlite", nodes...)
			from := c.on(app)[0]
			to := "n1"
			if from == to {
				to = "n2"
			}
			everywhere := c.everywhere(nodes)
			clients := []*client{c.writerAt("a", everywhere), c.writerAt("b", everywhere)}
			clients[0].more()
			began := c.seq()
			source, target := c.proc("agent-"+from), c.proc("agent-"+to)
			final := make(chan struct{})
			c.onStep("prepare", app, func() { // it cannot catch up: the final phase goes on
				if err := target.signal(syscall.SIGSTOP); err != nil {
					t.Error(err)
				}
			})
			c.onStep("sync", app, func() { close(final) })
			args := []string{"app", "move", app, "--from", from, "--to", to, "--detach"}
			if synchronous {
				args = append(args, "--sync")
			}
			c.must(args...)
			<-final
			before := clients[0].count() + clients[1].count()
			for _, w := range clients {
				w.more()
			}
			source.kill()
			within := clients[0].count() + clients[1].count() - before
			if err := target.signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
			c.until("another has taken over", limit, func(v *projections.Cluster) bool {
				in := v.Apps[app].Instances[app+"-0"]
				return in != nil && in.Node != from && runs(v, app)
			})
			said := false
			for _, e := range c.stored(began) {
				if g, ok := e.Data.(*events.LeadershipGranted); ok && g.DataLossPossible {
					said = true
				}
			}
			for _, w := range clients {
				w.more()
			}
			acked, missing := c.reckon(app, !synchronous, clients...)
			if missing > 0 && (synchronous || !said) || said == synchronous {
				t.Errorf("%d of %d entries are lost, and the grant says that some may be: %t", missing, acked, said)
			}
			t.Logf("%d entries acknowledged, of them %d in the final phase; lost %d, said %t", acked, within, missing, said)
		})
	}
}

// The program that a database comes to with --sync is killed while it serves and has not stored its first copy: the store has no room for that. What its
// clients were not told is nobody's loss, nothing else is lost, and the grant to whoever takes over does not say that something may be.
func TestKilledBeforeTheFirstCopy(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	nodes := []string{"n1", "n2", "n3"}
	c := startPrograms(t, "sqlite", nodes...)
	from := c.on(app)[0]
	to := nodes[slices.IndexFunc(nodes, func(n string) bool { return n != from })]
	everywhere := c.everywhere(nodes)
	clients := []*client{c.writerAt("a", everywhere), c.writerAt("b", everywhere)}
	clients[0].more()
	began := c.seq()
	target := c.proc("agent-" + to)
	full := make(chan struct{})
	c.onEvent("placement.leadership.granted", app, func() { // it has what the source left, and stores nothing before it is active
		if err := target.signal(syscall.SIGSTOP); err != nil {
			t.Error(err)
		}
		close(full)
	})
	c.must("app", "move", app, "--from", from, "--to", to, "--sync", "--detach")
	<-full
	c.storeBound(app, 0)
	told := clients[0].count() + clients[1].count()
	if err := target.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	until(t, "the target is active", limit, func() bool {
		return slices.ContainsFunc(c.linesOf(to), func(l line) bool { return l.Msg == "instance started" })
	})
	pass(t, blink)
	if now := clients[0].count() + clients[1].count(); now != told {
		t.Errorf("%d entries were acknowledged while nothing could be stored", now-told)
	}
	target.kill()
	c.storeBound(app, -1)
	c.until("another has taken over", limit, func(v *projections.Cluster) bool {
		in := v.Apps[app].Instances[app+"-0"]
		return in != nil && in.Node != to && runs(v, app)
	})
	for _, e := range c.stored(began) {
		if g, ok := e.Data.(*events.LeadershipGranted); ok && g.DataLossPossible {
			t.Errorf("the grant of epoch %d says that something may be lost (%+v)", g.Epoch, g.Result)
		}
	}
	for _, w := range clients {
		w.more()
	}
	acked, missing := c.reckon(app, false, clients...)
	if missing > 0 {
		t.Errorf("%d of %d entries are lost", missing, acked)
	}
	t.Logf("%d entries acknowledged, none lost", acked)
}

// everywhere returns how to ask where clients may find an app of programs: at any of the nodes.
func (c *cluster) everywhere(nodes []string) func() []string {
	return func() (urls []string) {
		c.view(func(*projections.Cluster) {
			for _, n := range nodes {
				urls = append(urls, c.sites[n])
			}
		})
		return urls
	}
}
