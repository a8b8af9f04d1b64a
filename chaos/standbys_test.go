//go:build linux

package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

const standbyOf = ledgerSpec + "standbys: 1\n"

// stands waits until the app's standby has a copy that is close behind the active, and returns its node.
func (c *cluster) stands(app string) (node string) {
	c.t.Helper()
	until(c.t, "a standby has caught up", limit, func() bool {
		var active, standby *api.InstanceView
		for _, in := range ask[api.AppDetail](c, "app", "show", app).Instances {
			if in.Role == api.RoleStandby {
				standby = &in
			} else {
				active = &in
			}
		}
		if active == nil || standby == nil || active.Data == nil || standby.Data == nil || standby.Data.Error != "" {
			return false
		}
		led, err1 := events.ParsePosition(active.Data.Position)
		has, err2 := events.ParsePosition(standby.Data.Position)
		node = standby.Node
		return err1 == nil && err2 == nil && led.Epoch == has.Epoch && has.Seq > 0
	})
	return node
}

// file identifies the file of the app's database on a node: one that was restored anew is another.
func (c *cluster) file(app, node string) string {
	c.t.Helper()
	info, err := os.Stat(filepath.Join(c.dir, "nodes", node, "process", "data", app+"-0", "ledger.db"))
	if err != nil {
		c.t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// gone kills a node's agent and every process of the app with it, and keeps both from coming back.
func (c *cluster) gone(app, node string) {
	c.t.Helper()
	c.proc("agent-" + node).kill()
	for _, p := range c.living(app) {
		_ = syscall.Kill(p.pid, syscall.SIGKILL)
	}
}

// The node of the active dies: its standby goes on with the very file that it has kept, another node gets a standby, and what is moved then
// goes to that one and leaves its source behind as the next.
func TestStandbyTakesOver(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, ttl, "n1", "n2", "n3")
	c.apply(app, fmt.Sprintf(standbyOf, app, binary, c.journal(app)))
	first := c.on(app)[0]
	w := c.writer(app, "a")
	w.more()
	second := c.stands(app)
	w.more()
	kept, began := c.file(app, second), c.seq()
	c.gone(app, first)
	c.until("the standby's node has the app", limit, func(v *projections.Cluster) bool {
		in := v.Apps[app].Instances[app+"-0"]
		return in != nil && in.Node == second && in.Healthy
	})
	w.more()
	if now := c.file(app, second); now != kept {
		t.Errorf("the database on %s was made anew: file %s, it was %s", second, now, kept)
	}
	var recovered, wait int64
	lossy := false
	for _, e := range c.stored(began) {
		switch d := e.Data.(type) {
		case *events.LeadershipGranted:
			lossy = lossy || d.DataLossPossible
			if d.Result != nil {
				recovered = d.Result.TookMS
			}
		case *events.NodeLost:
			wait = d.Waited.D().Milliseconds()
		}
	}
	pause := w.pause()
	third := c.stands(app)
	if third == first || third == second {
		t.Errorf("the next standby is on %s; %s is dead and %s has the app", third, first, second)
	}
	w.more()
	kept = c.file(app, third)
	r := c.must("app", "move", app)
	c.until("the standby's node has the app", limit, func(v *projections.Cluster) bool {
		in := v.Apps[app].Instances[app+"-0"]
		return in != nil && in.Node == third && len(v.Apps[app].Open) == 0
	})
	if now := c.file(app, third); now != kept {
		t.Errorf("the database on %s was made anew for a move: file %s, it was %s", third, now, kept)
	}
	w.more()
	if back := c.stands(app); back != second {
		t.Errorf("the standby is on %s and not on %s, which the app has left: %s", back, second, r)
	}
	acked := c.audits(app, lossy, w)
	t.Logf("%d entries acknowledged, loss possible: %t; lease waited out %d ms, recovery on the standby's node %d ms, pause %s", acked, lossy, wait, recovered, pause.took)
}

// The agent of a standby's node dies and comes back: the copy goes on where it was.
func TestStandbySurvivesItsAgent(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, ttl, "n1", "n2")
	c.apply(app, fmt.Sprintf(standbyOf, app, binary, c.journal(app)))
	w := c.writer(app, "a")
	w.more()
	node := c.stands(app)
	kept := c.file(app, node)
	p := c.proc("agent-" + node)
	p.kill()
	w.more()
	c.restart(p)
	w.more()
	led := c.dataOn(app, c.on(app)[0])
	until(t, "the copy has what was written meanwhile", limit, func() bool { return c.dataOn(app, node).Reached(led) })
	if now := c.file(app, node); now != kept {
		t.Errorf("the copy was begun anew: file %s, it was %s", now, kept)
	}
	c.view(func(v *projections.Cluster) {
		for _, m := range v.Migrations {
			if m.App == app && m.Kind != events.KindPlace {
				t.Errorf("something moved: %+v", m.Move)
			}
		}
	})
	c.audits(app, false, w)
}

// dataOn returns how far the data on a node are.
func (c *cluster) dataOn(app, node string) (p events.Position) {
	c.t.Helper()
	for _, in := range ask[api.AppDetail](c, "app", "show", app).Instances {
		if in.Node == node && in.Data != nil {
			p, _ = events.ParsePosition(in.Data.Position)
		}
	}
	return p
}

// With two standbys the app moves, moves again before everybody follows the epoch between, and is taken over: each time by a node with a copy,
// and with nothing lost but what nobody had.
func TestTwoStandbysOverEpochs(t *testing.T) {
	t.Parallel()
	const app = "ledger"
	c := start(t, ttl, "n1", "n2", "n3")
	c.apply(app, fmt.Sprintf(ledgerSpec+"standbys: 2\n", app, binary, c.journal(app)))
	w := c.writer(app, "a")
	w.more()
	two := func() {
		t.Helper()
		until(t, "both standbys follow what is written now", limit, func() bool {
			led, n := c.dataOn(app, c.on(app)[0]), 0
			for _, in := range ask[api.AppDetail](c, "app", "show", app).Instances {
				if at, err := events.ParsePosition(positionOf(in)); in.Role == api.RoleStandby && err == nil && at.Epoch == led.Epoch && at.Seq > 0 && in.Data.Error == "" {
					n++
				}
			}
			return n == 2 && led.Seq > 0
		})
	}
	two()
	c.must("app", "move", app)
	c.must("app", "move", app)
	c.until("the moves have ended", limit, func(v *projections.Cluster) bool {
		return runs(v, app) && len(v.Apps[app].Open) == 0 && v.Apps[app].Epoch == 3
	})
	w.more()
	two()
	w.more()
	first := c.on(app)[0]
	kept := map[string]string{}
	for _, n := range []string{"n1", "n2", "n3"} {
		kept[n] = c.file(app, n)
	}
	began := c.seq()
	c.gone(app, first)
	c.until("a standby's node has the app", limit, func(v *projections.Cluster) bool {
		in := v.Apps[app].Instances[app+"-0"]
		return in != nil && in.Node != first && in.Healthy
	})
	w.more()
	now := c.on(app)[0]
	if is := c.file(app, now); is != kept[now] {
		t.Errorf("the database on %s was made anew: file %s, it was %s", now, is, kept[now])
	}
	lossy := false
	for _, e := range c.stored(began) {
		if d, ok := e.Data.(*events.LeadershipGranted); ok {
			lossy = lossy || d.DataLossPossible
		}
	}
	t.Logf("%d entries acknowledged, loss possible: %t", c.audits(app, lossy, w), lossy)
}

func positionOf(in api.InstanceView) string {
	if in.Data == nil {
		return ""
	}
	return in.Data.Position
}
