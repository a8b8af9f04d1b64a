//go:build linux

package chaos

import (
	"fmt"
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
			everywhere := func() (urls []string) {
				c.view(func(*projections.Cluster) {
					for _, n := range nodes {
						urls = append(urls, c.sites[n])
					}
				})
				return urls
			}
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
