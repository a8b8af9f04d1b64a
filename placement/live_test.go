package placement

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-cluster/go-cluster/events"
)

// Whatever happens, and however many are waiting, planning on from what is known is planning from nothing.
func TestLiveIsMake(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newScene()
		s.live = &Live{}
		nodes := rapid.IntRange(1, 5).Draw(t, "nodes")
		places := []string{"zone=x", "zone=y", "zone=z"}
		join := func(i int) {
			must(t, s.do([]string{"node", fmt.Sprint("n", i), rapid.SampledFrom(places).Draw(t, "zone"), fmt.Sprint("host=10.0.0.", i/2), "cpu=8",
				rapid.SampledFrom([]string{"rack=1", "rack=2", "code=a1,a3", "code=a3,a1"}).Draw(t, "more")}))
		}
		for i := range nodes {
			join(i)
		}
		if rapid.Bool().Draw(t, "limits?") {
			must(t, s.do([]string{"policy", "{migration: {max_concurrent: 1, cooldown_period: 30s}}"}))
		}
		app := func(i int) {
			f := []string{"app", fmt.Sprint("a", i), rapid.SampledFrom([]string{"singleton", "singleton", "spread", "replicas=1", "replicas=3"}).Draw(t, "mode")}
			for _, rule := range []string{"require=zone=x", "require=zone!=y", "over=zone:1", "with=a0", "away=a1", "away=a2", "cpu=3", "cpu=2", "mem=5Gi", "prefer=zone=y:60", "on_nodes=n0,n1", "code=", "port=80", "standbys=1", "on_invalid=keep"} {
				if rapid.IntRange(0, 9).Draw(t, rule) == 4 {
					f = append(f, rule)
				}
			}
			if old := s.v.Apps[f[1]]; old != nil && string(old.Spec.Mode)[:2] != f[2][:2] {
				return
			}
			_ = s.do(f) // what does not validate is not applied
		}
		apps := rapid.IntRange(1, 16).Draw(t, "apps")
		for i := range apps {
			app(i)
		}
		open := func(m events.Move) {
			m.Migration = fmt.Sprintf("m%d", s.v.Seq+1)
			s.add(events.Cluster("test"), &events.PlanAdmitted{Plan: "p", Moves: []events.Move{m}})
		}
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			n := fmt.Sprint("n", rapid.IntRange(0, nodes-1).Draw(t, "node"))
			a := fmt.Sprint("a", rapid.IntRange(0, apps-1).Draw(t, "app"))
			switch what := rapid.SampledFrom([]string{"label", "cordon", "uncordon", "drain", "undrain", "suspect", "lost", "join", "again", "app", "remove", "restart", "fail", "at", "load",
				"hold", "balance", "plan", "plan", "plan", "admit", "admit", "admit", "end", "end"}).Draw(t, "what"); what {
			case "label":
				must(t, s.do([]string{what, n, rapid.SampledFrom(places).Draw(t, "zone")}))
			case "cordon", "uncordon", "drain", "undrain", "suspect", "lost":
				must(t, s.do([]string{what, n}))
			case "join":
				join(nodes)
				nodes++
			case "again":
				must(t, s.do([]string{"node", n, "cpu=8"}))
			case "app":
				app(rapid.IntRange(0, apps).Draw(t, "which"))
				apps = max(apps, len(s.v.Apps))
			case "remove", "restart":
				if s.v.Apps[a] != nil {
					must(t, s.do([]string{what, a}))
				}
			case "fail":
				if s.v.Apps[a] == nil {
					continue
				}
				for _, in := range s.v.Apps[a].SortedInstances() {
					must(t, s.do([]string{what, in.ID, in.Node}))
					break
				}
			case "at":
				must(t, s.do([]string{what, rapid.SampledFrom([]string{"1s", "20s", "1h"}).Draw(t, "for")}))
				s.compare()
			case "load":
				must(t, s.do([]string{what, n, rapid.SampledFrom([]string{"0.1", "0.95"}).Draw(t, "load")}))
				s.compare()
			case "hold":
				must(t, s.do([]string{what}))
			case "balance":
				order := fmt.Sprintf("r%d", s.v.Seq)
				s.add(events.Cluster("test"), &events.RebalanceTriggered{Order: order, Trigger: events.TriggerManual, Moves: Balance(s.v, nil).Moves})
				if rapid.Bool().Draw(t, "called off?") {
					s.add(events.Cluster("test"), &events.RebalanceCompleted{Order: order, Stopped: true})
				}
			case "plan":
				s.last = Make(s.v, s.loads, s.now)
				s.carry()
			case "admit": // and it does not end yet
				for _, d := range Make(s.v, s.loads, s.now).Moves {
					open(d.Move)
				}
			case "end":
				for _, m := range s.v.SortedMigrations() {
					if a := s.v.Apps[m.App]; a.Open[m.Migration] != nil {
						s.add(events.App(a.Name), &events.MigrationStarted{Ref: m.Ref(), Role: m.Role, Kind: m.Move.Kind(), SpecRev: m.SpecRev, Generation: a.Generation, FromInc: m.FromInc, ToInc: m.ToInc})
						s.add(events.App(a.Name), &events.MigrationCompleted{Ref: m.Ref()})
					}
				}
			}
		}
	})
}

// Whether there is nothing to even out is told from what is counted, among nodes that have apps in common.
func TestEven(t *testing.T) {
	s := settledCluster(t, 1000, 10)
	do := func(line ...string) {
		t.Helper()
		if err := s.do(line); err != nil {
			t.Fatal(err)
		}
	}
	do("policy", "{migration: {max_concurrent: 1000}}")
	var live Live
	after := func(line ...string) bool {
		t.Helper()
		if len(line) > 0 {
			do(line...)
		}
		for { // with all of it done
			p := live.Plan(s.v, s.now)
			if len(p.Moves) == 0 {
				return live.Even()
			}
			for _, d := range p.Moves {
				s.admit(d.Move)
			}
		}
	}
	for _, step := range []struct {
		line string
		even bool
	}{
		{"", true},
		{"node other group=elsewhere", true}, // no app may use it
		{"app one replicas=1 require=group=g1 cpu=1", true},
		{"app two replicas=50 require=group=g2 cpu=1", true},
		{"app three replicas=100 require=group=g2 cpu=1", true}, // half of them have three by now
		{"app both replicas=1 require=zone=z1 cpu=1", false},    // all groups have nodes in z1
		{"remove both", true},
		{"node next group=g2", false},
		{"label next group=elsewhere", true},
		{"app choosy replicas=1 require=group=g3 prefer=zone=z2:30", false},
		{"remove choosy", true},
		{"cordon node-00003", false}, // what is there may not be evened out, nor where others go that leave
		{"uncordon node-00003", true},
		{"app big replicas=1 require=group=nowhere cpu=1", false}, // it is Pending
	} {
		if got := after(strings.Fields(step.line)...); got != step.even {
			t.Errorf("%s: %v", step.line, got)
		}
	}
}

// Who goes with somebody that loses its place in a pass loses its own in the same one.
func TestWhoGoesWithFollowersIsLookedAt(t *testing.T) {
	s := newScene()
	s.live = &Live{}
	for _, line := range []string{
		"node n0 zone=x", "node n1", "node n2", "node n3", "node n4", "node n5",
		"app a0 replicas=3 over=zone:1", "app a2 replicas=2 with=a0", "app a5 spread with=a2 on_invalid=keep",
		"carry", "label n0 role=b", "carry", "carry", "carry", "carry",
	} {
		if line == "carry" {
			s.last = Make(s.v, s.loads, s.now)
			s.carry()
		} else if err := s.do(strings.Fields(line)); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.last.Moves) > 0 {
		t.Errorf("it still moves: %v", s.last.Moves)
	}
}
