package sim

import (
	"context"
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

var (
	hunts = flag.Uint64("sim.hunts", 0, "TestHunt: live through that many seeds, from -sim.from, with the mistake that is planted, until a law is broken")
	hunt  = flag.Bool("sim.hunt", false, "TestHunt: live through the scenario that is made for the mistake")
)

// TestHunt lives through scenarios with a planted mistake and says which laws they break. What else fails does not matter: with a
// mistake planted nothing is promised. cmd/hunt runs it.
func TestHunt(t *testing.T) {
	if *hunt {
		play, ok := made[planted.Name()]
		if !ok {
			t.Skip("there is none")
		}
		Run(t, plain("n1", "n2", "n3"), func(c *Cluster) {
			defer confess(c, 0)
			play(c)
			quiet(c)
		})
	}
	if !*hunt && *hunts == 0 {
		t.Skip("for builds with a mistake: make bugs")
	}
	for k := *seedsAt; k < *seedsAt+*hunts; k++ {
		begin(k)
		t.Run(fmt.Sprint(k), func(t *testing.T) {
			schedule(k).start(t, func(r *runner) {
				defer confess(r.c, k)
				r.play()
				quiet(r.c)
			})
		})
		begin(0)
	}
}

// confess prints the laws broken, also when the scenario cannot go on.
func confess(c *Cluster, k uint64) {
	for _, v := range c.violations(true) {
		fmt.Printf("violation %d %s: %s\n", k, v.Name, v)
	}
}

// quiet waits until nothing has been stored for a while, or for some minutes.
func quiet(c *Cluster) {
	var at uint64
	for since, until := time.Now(), time.Now().Add(10*time.Minute); time.Since(since) < 40*time.Second && time.Now().Before(until); c.For(time.Second) {
		c.View(func(v *projections.Cluster) {
			if v.Seq != at {
				at, since = v.Seq, time.Now()
			}
		})
	}
}

// send sends a command and does not mind what becomes of it.
func send[Rep any, Req any](c *Cluster, e api.Endpoint, req Req) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if rep, err := transport.Call[Req, Rep](ctx, c.NC, c.Subjects, e, req); err == nil {
		c.told(req, rep)
	}
}

func (c *Cluster) move(app, to string) {
	send[api.Ack](c, api.AppMove, api.MoveRequest{Meta: c.Meta(), App: app, From: c.On(app)[0], To: to})
}

func (c *Cluster) other(node string) string {
	for _, id := range []string{"n1", "n2", "n3"} {
		if id != node {
			return id
		}
	}
	return ""
}

func (c *Cluster) slow(b Behaviour) { c.Programs.Behave(func(string, string) Behaviour { return b }) }

// undone moves a singleton to a node where it cannot start, so that it has to go back.
func undone(c *Cluster) {
	c.Apply(singleton("db"))
	from := c.On("db")[0]
	c.Programs.Behave(func(node, _ string) Behaviour {
		if node != from {
			return Behaviour{Fails: "exit status 3"}
		}
		return Behaviour{}
	})
	c.move("db", c.other(from))
}

// moved moves a singleton there and back.
func moved(c *Cluster) {
	c.Apply(singleton("db"))
	from := c.On("db")[0]
	c.move("db", c.other(from))
	c.Until("db runs elsewhere", time.Minute, func(v *projections.Cluster) bool {
		return Runs(v, "db") && v.Apps["db"].SortedInstances()[0].Node != from
	})
	c.move("db", from)
}

// withData is a singleton whose data move with it.
func withData() spec.App {
	db := singleton("db")
	db.SQLite = "$GC_DATA_DIR/app.db"
	return db
}

// beside has a database whose standby has nowhere to be but where the active is.
func beside(c *Cluster) {
	db := withData()
	db.Standbys, db.OnNodes = 1, []string{"n1"}
	c.Apply(db)
	c.For(3 * time.Second)
}

// carried moves a database that is written to.
func carried(c *Cluster) {
	c.Apply(withData())
	c.For(3 * time.Second)
	c.move("db", c.other(c.On("db")[0]))
}

// silent cuts a node off for good.
func silent(c *Cluster) {
	c.Apply(singleton("db"))
	c.Link(c.On("db")[0]).Cut()
	c.For(2 * time.Minute)
}

func uncordoned(c *Cluster) {
	for _, e := range []api.Endpoint{api.NodeCordon, api.NodeUncordon} {
		send[api.Ack](c, e, api.NodeRequest{Meta: c.Meta(), Node: "n1"})
	}
}

// made has a history for each mistake that random ones meet seldom.
var made = map[string]func(*Cluster){
	"rev_gap":      uncordoned,
	"chain_cut":    uncordoned,
	"ack_unstored": uncordoned,
	"no_quarantine": func(c *Cluster) {
		c.Apply(singleton("db"))
		if _, err := c.JS.Publish(context.Background(), c.Subjects.Event(events.App("db"), "app.spec.applied", ""), []byte("no event")); err != nil {
			c.T.Fatal(err)
		}
		c.For(time.Second)
		send[api.Ack](c, api.AppRestart, api.AppRequest{Meta: c.Meta(), App: "db"})
	},
	"complete_twice":    moved,
	"epoch_not_written": moved,
	"early_start":       moved,
	"prepare_starts":    moved,
	"standby_beside":    beside,
	"reuse_epoch":       undone,
	"activates_target":  undone,
	"suspected_is_lost": silent,
	"no_wait":           silent,
	"no_fence":          silent,
	"approval_unasked": func(c *Cluster) {
		c.Apply(singleton("db"))
		var p spec.Policy
		p.Migration.RequireApproval = true
		send[api.Ack](c, api.PolicySet, api.PolicyRequest{Meta: c.Meta(), Policy: p})
		app := singleton("db")
		app.OnNodes = []string{c.other(c.On("db")[0])}
		send[api.ApplyReply](c, api.AppApply, api.ApplyRequest{Meta: c.Meta(), Spec: app})
	},
	"metric_twice": undone,
	"budget_ignored": func(c *Cluster) {
		app := spec.App{Name: "edge", Mode: spec.Spread, MaxUnavail: 1, Process: &spec.Process{Command: []string{"/bin/app"}}}
		c.Apply(app)
		c.For(10 * time.Second)
		c.slow(Behaviour{StopTakes: 3 * time.Second})
		for _, n := range []string{"n1", "n2"} {
			send[api.DrainReply](c, api.NodeDrain, api.DrainRequest{Meta: c.Meta(), Nodes: []string{n}})
		}
	},
	"window_ignored": func(c *Cluster) {
		c.Apply(singleton("db"))
		var p spec.Policy
		p.Migration.MaintenanceWindows = []spec.TimeWindow{{Start: "12:00", End: "13:00"}} // bubbles begin at midnight
		send[api.Ack](c, api.PolicySet, api.PolicyRequest{Meta: c.Meta(), Policy: p})
		app := singleton("db")
		app.OnNodes = []string{c.other(c.On("db")[0])}
		send[api.ApplyReply](c, api.AppApply, api.ApplyRequest{Meta: c.Meta(), Spec: app})
	},
	"too_many": func(c *Cluster) {
		var p spec.Policy
		p.Migration.MaxConcurrent = 1
		send[api.Ack](c, api.PolicySet, api.PolicyRequest{Meta: c.Meta(), Policy: p})
		for _, name := range []string{"a", "b", "c", "d"} {
			c.Apply(singleton(name))
		}
		c.slow(Behaviour{StopTakes: 3 * time.Second})
		send[api.DrainReply](c, api.NodeDrain, api.DrainRequest{Meta: c.Meta(), Nodes: []string{"n1"}})
	},
	"labels_kept": func(c *Cluster) {
		for _, l := range []api.LabelRequest{{Set: map[string]string{"zone": "a"}}, {Remove: []string{"zone"}}} {
			l.Meta, l.Node = c.Meta(), "n1"
			send[api.LabelReply](c, api.NodeLabel, l)
		}
	},
	"copy_behind": carried,
	"flush_early": carried,
	"loss_untold": func(c *Cluster) { // what was written last is on a machine that is off
		c.Apply(withData())
		c.For(3500 * time.Millisecond)
		c.Crash(c.On("db")[0])
		c.For(2 * time.Minute)
	},
	"step_down_lies": func(c *Cluster) {
		c.slow(Behaviour{StopTakes: 3 * time.Second})
		moved(c)
	},
	"duplicate_command": func(c *Cluster) {
		c.Apply(singleton("db"))
		again := api.AppRequest{Meta: c.Meta(), App: "db"}
		for range 2 {
			send[api.Ack](c, api.AppRestart, again)
		}
	},
	"skip_compare": func(c *Cluster) {
		for _, s := range []string{"s2", "s3", "s4"} {
			c.StartServices(s)
		}
		for i := range 6 {
			send[api.ApplyReply](c, api.AppApply, api.ApplyRequest{Meta: c.Meta(), Spec: singleton(fmt.Sprint("app", i))})
		}
	},
	"ignore_lock": func(c *Cluster) {
		c.Apply(singleton("db"))
		c.slow(Behaviour{StopTakes: 5 * time.Second})
		from := c.On("db")[0]
		for _, to := range []string{"n1", "n2", "n3"} { // by force, elsewhere: nothing but the lock is in the way of the second
			if to != from {
				send[api.Ack](c, api.AppMove, api.MoveRequest{Meta: c.Meta(), App: "db", From: from, To: to, Force: true})
			}
		}
	},
	"stop_before_start": func(c *Cluster) {
		c.Apply(pool("web", 2))
		c.move("web", "")
	},
	"ignore_cordon": func(c *Cluster) {
		for _, n := range []string{"n1", "n2", "n3"} {
			send[api.Ack](c, api.NodeCordon, api.NodeRequest{Meta: c.Meta(), Node: n})
		}
		send[api.ApplyReply](c, api.AppApply, api.ApplyRequest{Meta: c.Meta(), Spec: singleton("db")})
	},
	"forget_in_flight": func(c *Cluster) { // two of 9 Gi do not fit on a node of 16
		app := singleton("big0")
		app.Resources.Memory = 9 << 30
		c.Apply(app)
		c.slow(Behaviour{StopTakes: 5 * time.Second})
		to := c.other(c.On("big0")[0])
		c.move("big0", to)
		c.For(time.Second) // it stops, and is not there yet
		app.Name, app.Prefer = "big1", []spec.Preference{{Node: to, Weight: 100}}
		send[api.ApplyReply](c, api.AppApply, api.ApplyRequest{Meta: c.Meta(), Spec: app})
	},
	"pending_untold": func(c *Cluster) {
		send[api.ApplyReply](c, api.AppApply, api.ApplyRequest{Meta: c.Meta(), Spec: singleton("db", "role=none")})
	},
	"freeze_ignored": func(c *Cluster) {
		c.Apply(singleton("db"))
		send[api.Ack](c, api.MovesFreeze, api.FreezeRequest{Meta: c.Meta(), Why: "test"})
		c.move("db", c.other(c.On("db")[0]))
	},
	"no_cooldown": func(c *Cluster) {
		var p spec.Policy
		p.AutoRebalance.Enabled, p.AutoRebalance.CooldownPeriod = true, spec.Duration(time.Hour)
		send[api.Ack](c, api.PolicySet, api.PolicyRequest{Meta: c.Meta(), Policy: p})
		for i := range 9 {
			c.Apply(singleton(fmt.Sprint("app", i)))
		}
		for _, n := range []string{"n4", "n5"} {
			c.StartNode(n, nil, "boot")
			c.For(time.Minute)
		}
	},
	"drain_early": func(c *Cluster) {
		c.Apply(singleton("db"))
		c.For(time.Minute)
		on := c.On("db")[0]
		c.slow(Behaviour{StopTakes: 5 * time.Second})
		send[api.DrainReply](c, api.NodeDrain, api.DrainRequest{Meta: c.Meta(), Nodes: []string{on}})
	},
	"labels_twice": func(c *Cluster) {
		for range 2 {
			send[api.LabelReply](c, api.NodeLabel, api.LabelRequest{Meta: c.Meta(), Node: "n1", Set: map[string]string{"zone": "a"}})
		}
	},
	"raw_newline": func(c *Cluster) {
		send[api.Ack](c, api.MovesFreeze, api.FreezeRequest{Meta: c.Meta(), Why: "first line\nsecond line"})
	},
}
