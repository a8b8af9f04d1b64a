package placement

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// Whatever is said to give an app a place does: done as people would do it, by events, all of the app runs, and no app that had a place
// is left without one.
func TestRelaxGivesAPlace(t *testing.T) {
	seen, helped := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		s.settle(t)
		for _, pd := range s.last.Pending {
			seen++
			relax := Relax(s.v, s.loads, s.now, pd)
			if len(relax) > 0 {
				helped++
			}
			for _, r := range relax {
				after := s.again()
				for _, what := range strings.Split(r.Detail, ", and ") {
					after.obey(t, what)
				}
				after.settle(t)
				a := after.v.Apps[pd.App]
				if missing := missingSlots(a); len(missing) > 0 {
					t.Fatalf("%s of %s still has nowhere to go after: %s", missing, pd.App, r.Detail)
				}
				for _, p := range after.last.Pending {
					if p.App == pd.App || !slices.ContainsFunc(s.last.Pending, func(had Pending) bool { return had.App == p.App }) {
						t.Fatalf("%s is Pending after what should help %s: %s\n%s", p.App, pd.App, r.Detail, p.Reason)
					}
				}
				if len(r.Codes) == 0 || r.Detail == "" {
					t.Fatalf("%+v says nothing", r)
				}
			}
		}
	})
	t.Logf("something would help in %d of %d", helped, seen)
	// It is 94 of 100 of thousands. Of a hundred draws, in which those without help come together, it was 86 once: chance decides.
	if seen == 0 || seen >= 1000 && helped < seen*9/10 || seen >= 100 && helped < seen*8/10 {
		t.Errorf("something would help in %d of %d", helped, seen)
	}
}

// settle plans and carries out until nothing is left to do.
func (s *scene) settle(t *rapid.T) {
	for range 40 {
		s.last = Make(s.v, s.loads, s.now)
		if len(s.last.Moves) == 0 {
			return
		}
		s.carry()
	}
	t.Fatal("does not settle")
}

// again is the same scene a second time: its events are folded anew.
func (s *scene) again() *scene {
	c := newScene()
	c.now, c.loads = s.now, s.loads
	for _, e := range s.log {
		c.log = append(c.log, e)
		c.v.Apply(e)
	}
	return c
}

var (
	uncordonIt = regexp.MustCompile(`^uncordon (\S+)$`)
	endDrain   = regexp.MustCompile(`^end the drain of (\S+) and uncordon it$`)
	labelIt    = regexp.MustCompile(`^label (\S+) (\S+)$`)
	bringBack  = regexp.MustCompile(`^bring (\S+) back$`)
	dropRule   = regexp.MustCompile(`^drop "(.*)" from require of (\S+)$`)
	share      = regexp.MustCompile(`^let (\S+) and (\S+) share a node$`)
	giveCPU    = regexp.MustCompile(`^give (\S+) cpu (\S+) more$`)
	lower      = regexp.MustCompile(`^lower replicas of (\S+) from \d+ to (\d+)$`)
	dropWith   = regexp.MustCompile(`^drop with_app of (\S+)$`)
	dropOver   = regexp.MustCompile(`^drop spread_over of (\S+)$`)
	addNodes   = regexp.MustCompile(`^add (a|\d+) nodes?(?: with (\S+))?$`)
	waitUntil  = regexp.MustCompile(`^wait until (\S+), when \S+ is tried again$`)
)

// obey does what is said, as somebody who reads it would.
func (s *scene) obey(t *rapid.T, what string) {
	change := func(app string, f func(a *spec.App)) {
		a := s.v.Apps[app]
		sp := a.Spec
		f(&sp)
		s.add(events.App(app), &events.AppApplied{Spec: sp, SpecRev: a.SpecRev + 1, Generation: a.Generation})
	}
	if m := uncordonIt.FindStringSubmatch(what); m != nil {
		s.add(events.Node(m[1]), &events.NodeUncordoned{Node: m[1]})
	} else if m := endDrain.FindStringSubmatch(what); m != nil {
		s.add(events.Node(m[1]), &events.DrainCancelled{Node: m[1]})
		s.add(events.Node(m[1]), &events.NodeUncordoned{Node: m[1]})
	} else if m := labelIt.FindStringSubmatch(what); m != nil {
		c, err := spec.ParseLabelChange([]string{m[2]})
		must(t, err)
		s.add(events.Node(m[1]), &events.NodeLabelsUpdated{Node: m[1], After: c.Apply(s.v.Nodes[m[1]].Labels)})
	} else if m := bringBack.FindStringSubmatch(what); m != nil {
		n := s.v.Nodes[m[1]]
		s.add(events.Node(m[1]), &events.NodeJoined{Node: n.ID, Inc: n.Inc, Machine: n.Machine, Facts: n.Facts})
	} else if m := dropRule.FindStringSubmatch(what); m != nil {
		change(m[2], func(a *spec.App) { a.Require = without(a.Require, m[1]) })
	} else if m := share.FindStringSubmatch(what); m != nil {
		change(m[1], func(a *spec.App) { a.AwayFromApp = without(a.AwayFromApp, m[2]) })
		change(m[2], func(a *spec.App) { a.AwayFromApp = without(a.AwayFromApp, m[1]) })
	} else if m := giveCPU.FindStringSubmatch(what); m != nil {
		f := s.v.Nodes[m[1]].Facts
		var more spec.CPU
		must(t, more.UnmarshalText([]byte(m[2])))
		f.CPU += more
		s.add(events.Node(m[1]), &events.NodeFactsUpdated{Node: m[1], Facts: f})
	} else if m := lower.FindStringSubmatch(what); m != nil {
		n, err := strconv.Atoi(m[2])
		must(t, err)
		change(m[1], func(a *spec.App) { a.Replicas = &n })
	} else if m := dropWith.FindStringSubmatch(what); m != nil {
		change(m[1], func(a *spec.App) { a.WithApp = nil })
	} else if m := dropOver.FindStringSubmatch(what); m != nil {
		change(m[1], func(a *spec.App) { a.SpreadOver = nil })
	} else if m := addNodes.FindStringSubmatch(what); m != nil {
		n, _ := strconv.Atoi(m[1])
		for i := range max(n, 1) {
			f := []string{"node", fmt.Sprintf("added-%d", i)}
			if m[2] != "" {
				f = append(f, strings.Split(m[2], ",")...)
			}
			must(t, s.do(f))
		}
	} else if m := waitUntil.FindStringSubmatch(what); m != nil {
		s.now = s.now.Add(2 * 600e9) // no rest is longer
	} else {
		t.Fatalf("nobody knows how to %s", what)
	}
}

// A refused node is named with every rule that it fails, and none that it meets.
func TestRejectionsAreComplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		p := newPlanner(s.v, s.loads, s.now)
		for _, a := range s.v.SortedApps() {
			for _, x := range p.survey(a, "").nodes {
				got := map[string]bool{}
				for _, r := range x.refused {
					if got[r.Code] = true; r.Node != x.node.ID || r.Detail == "" {
						t.Fatalf("%+v for %s", r, x.node.ID)
					}
				}
				want := fails(s, a, x.node)
				if len(want) == 0 && a.FailedLately(x.node.ID, s.now) > 0 && a.Backoff[x.node.ID].Until.After(s.now) {
					want[events.RuleFailed] = true
				}
				if fmt.Sprint(sortedKeys(got)) != fmt.Sprint(sortedKeys(want)) {
					t.Fatalf("%s on %s fails %v, said is %v", a.Name, x.node.ID, sortedKeys(want), sortedKeys(got))
				}
			}
		}
	})
}

// fails judges a node once more, in another way.
func fails(s *scene, a *projections.App, n *projections.Node) map[string]bool {
	out := map[string]bool{}
	if n.Status != projections.StatusReady {
		out[events.RuleNotReady] = true
	}
	if n.Cordoned && n.Drain == nil {
		out[events.RuleCordoned] = true
	}
	if n.Drain != nil {
		out[events.RuleDraining] = true
	}
	for _, rule := range a.Spec.Require {
		if k, v, _ := strings.Cut(rule, "="); n.Labels[k] != v {
			out[events.RuleLabel] = true
		}
	}
	free := n.Facts.CPU
	for _, in := range s.v.On(n.ID) {
		o := s.v.Apps[in.App]
		free -= o.Spec.Resources.CPU
		if o.Name == a.Name {
			out[events.RuleOccupied] = true
		} else if slices.Contains(o.Spec.AwayFromApp, a.Name) || slices.Contains(a.Spec.AwayFromApp, o.Name) {
			out[events.RuleAwayFrom] = true
		}
	}
	for _, lead := range a.Spec.WithApp {
		if !slices.ContainsFunc(s.v.On(n.ID), func(in *projections.Instance) bool { return in.App == lead }) {
			out[events.RuleWith] = true
		}
	}
	for _, so := range a.Spec.SpreadOver {
		value, has := n.Labels[so.Label]
		count := map[string]int{}
		for _, o := range s.v.Nodes {
			v, has := o.Labels[so.Label]
			if !has || o.Drain != nil {
				continue
			}
			fits := o.Status == projections.StatusReady && !o.Cordoned
			for _, rule := range a.Spec.Require {
				k, want, _ := strings.Cut(rule, "=")
				fits = fits && o.Labels[k] == want
			}
			if fits {
				count[v] += 0
			}
			for _, in := range s.v.On(o.ID) {
				if in.App == a.Name {
					count[v]++
				}
			}
		}
		count[value]++
		least := count[value]
		for _, c := range count {
			least = min(least, c)
		}
		if !has || a.Spec.Mode != spec.Spread && count[value]-least > so.MaxSkew {
			out[events.RuleSpread] = true
		}
	}
	if need := a.Spec.Resources.CPU; need > 0 && need > free {
		out[events.RuleCPU] = true
	}
	return out
}
