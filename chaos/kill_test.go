//go:build linux

package chaos

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// row is one death: who dies, in which kind of move, at which moment, and for how long.
type row struct {
	mode   string // singleton or pool
	victim string
	at     events.Type
	gone   time.Duration // until it is started again
}

func (r row) String() string {
	return fmt.Sprintf("%s/%s/%s/%s", r.mode, r.victim, r.at, r.gone)
}

const (
	victimSource = "source"
	victimTarget = "target"
	victimApp    = "app"
	victimNATS   = "nats"

	blink = 300 * time.Millisecond
	long  = 2 * ttl // the lease is over
)

// moments has the events of a move after each of which somebody may die.
var moments = map[string][]events.Type{
	"singleton": {"placement.plan.admitted", "placement.migration.started", "placement.step.completed", "placement.leadership.granted",
		"placement.leadership.activated"},
	"pool": {"placement.plan.admitted", "placement.migration.started", "placement.step.completed"},
}

// rows is the whole table.
func rows() (all []row) {
	victims := append(slices.Clone(serviceNames), victimSource, victimTarget, victimApp, victimNATS)
	for _, mode := range []string{"singleton", "pool"} {
		for _, victim := range victims {
			for _, at := range moments[mode] {
				all = append(all, row{mode, victim, at, blink})
				if victim == victimSource || victim == victimTarget || victim == victimNATS {
					all = append(all, row{mode, victim, at, 0}, row{mode, victim, at, long})
				}
			}
		}
	}
	return all
}

// Whoever is killed at whatever moment of a move: the move ends, and the app runs, once.
func TestKilledDuringAMove(t *testing.T) {
	chosen := rows()
	if !*all {
		dice("rows").Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
		chosen = chosen[:8]
	}
	for _, r := range chosen {
		t.Run(r.String(), func(t *testing.T) {
			t.Parallel()
			killDuringAMove(t, r)
		})
	}
}

// strike kills who has a part in a move of the app, as SIGKILL does. It returns who is to be started again, nil for nobody.
func (c *cluster) strike(victim, app, from, to string) (p *process) {
	switch victim {
	case victimSource:
		p = c.proc("agent-" + from)
	case victimTarget:
		p = c.proc("agent-" + to)
	case victimApp:
		for _, a := range c.living(app) {
			_ = syscall.Kill(a.pid, syscall.SIGKILL)
		}
		return nil
	default:
		p = c.proc(victim)
	}
	p.kill()
	return p
}

func killDuringAMove(t *testing.T, r row) {
	const app = "victim"
	nodes := []string{"n1", "n2", "n3"}
	c := start(t, ttl, nodes...)
	var from string
	if r.mode == "pool" {
		from = c.applyWeb(app, 2)[0]
	} else {
		from = c.applyCounter(app)
		c.writes(app)
	}
	on := c.on(app)
	to := nodes[slices.IndexFunc(nodes, func(n string) bool { return !slices.Contains(on, n) })]
	began := c.seq()

	hit := make(chan *process, 1) // who is to be started again, nil for nobody
	c.onEvent(r.at, app, func() {
		hit <- c.strike(r.victim, app, from, to)
	})
	// Who gives the command may lose whom it talks to, and is told so; that is not looked at here.
	c.spawn(&process{name: "move", env: c.mark(), argv: c.argv("app", "move", app, "--from", from, "--to", to, "--detach")})
	select {
	case p := <-hit:
		if p != nil {
			pass(t, r.gone)
			c.restart(p)
		}
	case <-time.After(limit):
		t.Fatalf("no %s within %s", r.at, limit)
	}

	var moves []string // every migration of the app since
	c.until("all migrations have ended", limit, func(v *projections.Cluster) bool {
		moves = moves[:0]
		for id, m := range v.Migrations {
			if m.App == app && m.Admitted.Seq > began {
				moves = append(moves, id)
				if !m.Ended() {
					return false
				}
			}
		}
		return len(moves) > 0 && runs(v, app) && ready(v, nodes...)
	})
	c.serves(app)
	if r.mode == "singleton" {
		c.writes(app)
		c.alone(app)
	}
	for _, id := range moves {
		m := ask[struct {
			Status string `json:"status"`
			Detail string `json:"detail"`
		}](c, "migration", "show", id)
		if m.Status != projections.MigrationCompleted && (m.Status != projections.MigrationFailed || m.Detail == "") {
			t.Errorf("migration %s: %s, %q", id, m.Status, m.Detail)
		}
	}
}
