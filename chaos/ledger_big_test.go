//go:build linux

package chaos

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// An agent dies while a database that takes a while is being copied: that of the target or that of the source. The move ends, the app runs once
// with all that was acknowledged unless the grant said otherwise, and the next move takes it there.
func TestKilledWhileCopying(t *testing.T) {
	const size = 48 << 20
	for _, victim := range []string{victimTarget, victimSource} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			const app = "ledger"
			c := start(t, calm, "n1", "n2")
			from := c.applyLedger(app)
			to := other(from)
			w := c.writer(app, "a")
			w.more()
			c.fill(app, from, size)
			until(t, "it is shipped", limit, func() bool {
				_, stored := c.objects(app, 1)
				info, err := os.Stat(c.database(app, from) + "-wal")
				return len(stored) > 0 && err == nil && info.Size() > 0 && c.dataOn(app, from).Seq > 1
			})
			began := c.seq()
			c.spawn(&process{name: "move", env: c.mark(), argv: c.argv("app", "move", app, "--from", from, "--to", to, "--detach")})
			copied, hit := int64(0), time.Now()
			until(t, "some of it is copied", limit, func() bool {
				copied = 0
				for _, pattern := range []string{c.database(app, to), filepath.Join(c.dir, "nodes", to, "replicas", app+"-0", "*")} {
					found, _ := filepath.Glob(pattern)
					for _, f := range found {
						if info, err := os.Stat(f); err == nil && info.Mode().IsRegular() {
							copied += info.Size()
						}
					}
				}
				return copied > size/8
			})
			p := c.strike(victim, app, from, to)
			t.Logf("%s killed %s after %d of %d KiB were there", victim, time.Since(hit).Round(time.Millisecond), copied>>10, size>>10)
			pass(t, blink)
			c.restart(p)
			c.until("the move has ended, and the app runs", limit, func(v *projections.Cluster) bool {
				found := false
				for _, m := range v.Migrations {
					if m.App == app && m.Admitted.Seq > began {
						if found = true; !m.Ended() {
							return false
						}
					}
				}
				return found && runs(v, app) && ready(v, "n1", "n2")
			})
			w.more()
			lossy := false
			for _, e := range c.stored(began) {
				if g, ok := e.Data.(*events.LeadershipGranted); ok {
					lossy = lossy || g.DataLossPossible
				}
			}
			if now := c.on(app)[0]; now == from {
				c.moveLedger(app, from, to)
			} else {
				c.moveLedger(app, to, from)
			}
			w.more()
			if info, err := os.Stat(c.database(app, c.on(app)[0])); err != nil || info.Size() < size {
				t.Errorf("the database there: %v, %v", info, err)
			}
			t.Logf("%d entries acknowledged, loss possible: %t", c.audits(app, lossy, w), lossy)
		})
	}
}
