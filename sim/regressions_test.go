package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// declare sends a spec and does not wait for what comes of it.
func declare(c *Cluster, a spec.App) {
	c.T.Helper()
	if _, err := Ask[api.ApplyReply](c, api.AppApply, api.ApplyRequest{Meta: c.Meta(), Spec: a}); err != nil {
		c.T.Fatal(err)
	}
}

func running(a spec.App, command string) spec.App {
	a.Process = &spec.Process{Command: []string{command}}
	return a
}

// Seed 8: planner and migrator saw the restart of an instance in place differently where an app that keeps away had come later, and
// admitted and refused it for ever. It waits, and says for what.
func TestRestartBesideAnAppThatKeepsAway(t *testing.T) {
	Run(t, plain("n1", "n2", "n3"), func(c *Cluster) {
		t := c.T
		web := pool("web", 3)
		c.Apply(web)
		c.Apply(singleton("db"))
		db := singleton("db")
		db.AwayFromApp = []string{"web"}
		declare(c, db)
		c.For(time.Second)
		declare(c, running(web, "/bin/app2"))
		beside := c.On("db")[0]
		c.Until("web waits beside db", 2*time.Minute, func(v *projections.Cluster) bool {
			a := v.Apps["web"]
			old := 0
			for _, in := range a.Instances {
				if in.Generation != a.Generation && in.Node == beside {
					old++
				}
			}
			return a.Pending != nil && old == 1 && len(a.Open) == 0
		})
		before := len(c.Log())
		c.For(5 * time.Minute)
		if stored := len(c.Log()) - before; stored > 30 {
			t.Errorf("%d events while nothing can be done\n%s", stored, c.Story())
		}
		if _, err := Ask[api.Ack](c, api.AppRemove, api.AppRequest{Meta: c.Meta(), App: "db"}); err != nil {
			t.Fatal(err)
		}
		c.Until("web is whole and new", 2*time.Minute, func(v *projections.Cluster) bool { return Runs(v, "web") && isNew(v, "web") == 3 })
	})
}

// isNew counts the instances of an app's newest generation.
func isNew(v *projections.Cluster, app string) int {
	count, a := 0, v.Apps[app]
	for _, in := range a.Instances {
		if in.Generation == a.Generation {
			count++
		}
	}
	return count
}

// A singleton whose new program does not run goes back to its node and to the program that ran there.
func TestBadReleaseOfASingleton(t *testing.T) {
	Run(t, plain("n1", "n2", "n3"), func(c *Cluster) {
		t := c.T
		db := singleton("db")
		c.Apply(db)
		from := c.On("db")[0]
		declare(c, running(db, Broken))
		c.Until("the new program has failed elsewhere", time.Minute, func(v *projections.Cluster) bool {
			return len(v.Apps["db"].Backoff) > 0 && len(v.Apps["db"].Open) == 0
		})
		for range 20 {
			if on := c.On("db"); len(on) != 1 || on[0] != from || isOld(c, "db") != 1 {
				t.Fatalf("db is on %v, %d of the old program\n%s", on, isOld(c, "db"), c.Story())
			}
			c.Until("no try is under way", time.Minute, func(v *projections.Cluster) bool { return len(v.Apps["db"].Open) == 0 })
			c.For(3 * time.Second)
			c.Until("no try is under way", time.Minute, func(v *projections.Cluster) bool { return len(v.Apps["db"].Open) == 0 })
		}
		for _, s := range c.Programs.Journal() {
			if s.Node == from && s.Generation != 1 {
				t.Errorf("the new program ran where the old one did: %+v", s)
			}
		}
		c.Apply(running(db, "/bin/app2"))
		c.Until("db is new", time.Minute, func(v *projections.Cluster) bool { return Runs(v, "db") && isNew(v, "db") == 1 })
		alone(t, c)
	})
}

// isOld counts the programs of an app that run and are of an older generation than its newest.
func isOld(c *Cluster, app string) int {
	newest := uint64(0)
	c.View(func(v *projections.Cluster) { newest = v.Apps[app].Generation })
	count := 0
	for _, s := range c.Programs.Journal() {
		if s.App == app && s.To == 0 && s.Generation < newest {
			count++
		}
	}
	return count
}

// A program that does not run takes one member of a pool down, and not one after the other.
func TestBadReleaseOfAPool(t *testing.T) {
	for _, nodes := range [][]string{{"n1", "n2", "n3"}, {"n1", "n2", "n3", "n4"}} {
		Run(t, plain(nodes...), func(c *Cluster) {
			t := c.T
			web := pool("web", 3)
			c.Apply(web)
			declare(c, running(web, Broken))
			for range 60 {
				c.For(5 * time.Second)
				if old := isOld(c, "web"); old < 2 {
					t.Fatalf("%d of 3 members are left\n%s", old, c.Story())
				}
			}
			declare(c, running(web, "/bin/app2"))
			c.Until("web is whole and new", 15*time.Minute, func(v *projections.Cluster) bool { return Runs(v, "web") && isNew(v, "web") == 3 })
		})
	}
}

// A program that cannot be activated is said to have failed in its own words: the lease, which only says that its epoch has ended,
// does not come before the report.
func TestFailedActivationSaysWhy(t *testing.T) {
	Run(t, plain("n1", "n2", "n3", "n4"), func(c *Cluster) {
		t := c.T
		declare(c, running(singleton("db"), Broken))
		c.For(time.Minute)
		failed := 0
		for _, e := range c.Log() {
			if d, ok := e.Data.(*events.MigrationFailed); ok {
				if failed++; !strings.Contains(d.Detail, "exit status 3") {
					t.Errorf("%d: %s", e.Seq, d.Detail)
				}
			}
		}
		if failed < 8 {
			t.Errorf("tried %d times\n%s", failed, c.Story())
		}
	})
}

// Where an app has failed is tried again after everywhere else.
func TestNodeWhereItFailedGoesLast(t *testing.T) {
	Run(t, plain("n1", "n2", "n3"), func(c *Cluster) {
		t := c.T
		db := singleton("db")
		db.Prefer = []spec.Preference{{Node: "n2", Weight: 100}}
		c.Programs.Behave(func(node, _ string) Behaviour {
			if node == "n2" {
				return Behaviour{Fails: "exit status 3"}
			}
			return Behaviour{}
		})
		c.Apply(db)
		c.For(10 * time.Second) // the back-off of n2 is over
		declare(c, running(db, "/bin/app"))
		if _, err := Ask[api.Ack](c, api.AppMove, api.MoveRequest{Meta: c.Meta(), App: "db"}); err != nil {
			t.Fatal(err)
		}
		c.Until("db runs", time.Minute, func(v *projections.Cluster) bool { return Runs(v, "db") })
		tried := 0
		for _, s := range c.Programs.Journal() {
			if s.Node == "n2" {
				tried++
			}
		}
		if on := c.On("db"); slices.Contains(on, "n2") || tried != 1 {
			t.Errorf("on %v, tried on n2 %d times\n%s", on, tried, c.Story())
		}
	})
}
