//go:build linux

package chaos

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	json "github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// ledgerMoments are the moments of a move of data at each of which somebody may die: right after an event, after the one that ends the step of
// that name, or, for applied, when the copy on the target is whole and nobody has been told yet.
var ledgerMoments = []string{"placement.migration.started", "prepare", "sync", "catch_up", "step_down", "applied", "placement.leadership.granted", "placement.leadership.activated"}

// Whoever is killed at whatever moment of a move of data: it ends, the app runs, once, and where nobody had to be taken over nothing that
// was acknowledged is lost.
func TestKilledDuringAMoveOfData(t *testing.T) {
	var table []dataKill
	for _, victim := range []string{victimSource, victimTarget, victimApp, victimNATS, events.Migrator, events.Planner} {
		for _, at := range ledgerMoments {
			for _, back := range []bool{false, true} {
				table = append(table, dataKill{victim, at, back})
			}
		}
	}
	if !*all {
		dice("ledger").Shuffle(len(table), func(i, j int) { table[i], table[j] = table[j], table[i] })
		table = table[:4]
	}
	var sum tally
	t.Run("table", func(t *testing.T) {
		for _, r := range table {
			t.Run(r.String(), func(t *testing.T) {
				t.Parallel()
				killDuringAMoveOfData(t, r, &sum)
			})
		}
	})
	t.Logf("%d kills, %d entries acknowledged; loss possible said %d times, of those %d lost something, %d entries in all", sum.kills, sum.acked, sum.possible, sum.losing, sum.lost)
}

// dataKill is one death in a move of data, or in the move back.
type dataKill struct {
	victim, at string
	back       bool
}

func (k dataKill) String() string {
	return k.victim + "/" + k.at + map[bool]string{false: "/there", true: "/back"}[k.back]
}

// tally is what became of all of them.
type tally struct {
	mu                                   sync.Mutex
	kills, acked, possible, losing, lost int
}

func (s *tally) add(acked, lost int, possible bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kills, s.acked, s.lost = s.kills+1, s.acked+acked, s.lost+lost
	if possible {
		s.possible++
	}
	if lost > 0 {
		s.losing++
	}
}

func killDuringAMoveOfData(t *testing.T, k dataKill, sum *tally) {
	victim, at := k.victim, k.at
	const app = "ledger"
	nodes := []string{"n1", "n2", "n3"}
	c := start(t, ttl, nodes...)
	from := c.applyLedger(app)
	to := nodes[slices.IndexFunc(nodes, func(n string) bool { return n != from })]
	clients := []*client{c.writer(app, "a"), c.writer(app, "b")}
	clients[0].more()
	if k.back { // what the first move left behind is in the way
		c.moveLedger(app, from, to)
		from, to = to, from
		clients[0].more()
	}
	began := c.seq()
	hit := make(chan *process, 1)
	c.onMoment(at, app, to, func() {
		hit <- c.strike(victim, app, from, to)
	})
	c.spawn(&process{name: "move", env: c.mark(), argv: c.argv("app", "move", app, "--from", from, "--to", to, "--detach")})
	select {
	case p := <-hit:
		if p != nil {
			pass(t, blink)
			c.restart(p)
		}
	case <-time.After(limit):
		t.Fatalf("no %s within %s", at, limit)
	}
	lost := false
	c.until("all migrations have ended", limit, func(v *projections.Cluster) bool {
		found := false
		for _, m := range v.Migrations {
			if m.App != app || m.Admitted.Seq <= began {
				continue
			}
			if found = true; !m.Ended() {
				return false
			}
		}
		return found && runs(v, app) && ready(v, nodes...)
	})
	for _, e := range c.stored(began) {
		if g, ok := e.Data.(*events.LeadershipGranted); ok && g.DataLossPossible {
			lost = true // and it was said
		}
	}
	c.serves(app)
	clients[0].more()
	acked, missing := c.reckon(app, lost, clients...)
	if missing > 0 && !lost {
		t.Errorf("%d of %d entries are lost, and no grant said that it may be", missing, acked)
	}
	sum.add(acked, missing, lost)
	t.Logf("%d entries acknowledged, loss possible: %t, lost: %d", acked, lost, missing)
}

// onMoment calls f once at a moment of ledgerMoments.
func (c *cluster) onMoment(at, app, to string, f func()) {
	if at != "applied" {
		c.onStep(at, app, f)
		return
	}
	from := c.seq()
	copied := filepath.Join(c.dir, "nodes", to, "replicas", app+"-0", "copy.json")
	look := time.NewTicker(time.Millisecond)
	go func() {
		defer look.Stop()
		for end := (events.Position{}); ; {
			select {
			case <-c.t.Context().Done():
				return
			case <-look.C:
			}
			for _, e := range c.stored(from) {
				if s, ok := e.Data.(*events.StepCompleted); ok && e.App == app && s.Step == events.StepStepDown && s.Result != nil {
					end, _ = events.ParsePosition(s.Result.Position)
				}
				if e.Type == "placement.leadership.granted" && e.App == app { // it was too fast to be seen
					f()
					return
				}
			}
			var has struct {
				Epoch uint64 `json:"epoch"`
				Seq   uint64 `json:"seq"`
			}
			b, err := os.ReadFile(copied)
			lines := bytes.Split(bytes.TrimSpace(b), []byte{'\n'})
			if err == nil && json.Unmarshal(lines[len(lines)-1], &has) == nil && end.Epoch > 0 && has.Epoch == end.Epoch && has.Seq == end.Seq {
				f()
				return
			}
		}
	}()
}
