package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants"
	"github.com/go-cluster/go-cluster/projections"
)

var (
	cutAll  = flag.Bool("sim.cuts", false, "TestTruncatedLog: cut the log at every sequence, not once at each step of each kind of move")
	cutSeed = flag.Uint64("sim.cutseed", 0, "TestTruncatedLog: cut the log of a seed's history instead of that of testdata/every-move.txt")
)

// stepsOpen are what is open at some sequence of the history: what is moved, how, and the step that was ordered last. A pool's
// instance and one of a spread app begin, are restarted and stop alike; "data" is a singleton whose data go with it.
var stepsOpen = []string{
	"data inplace: activate", "data inplace: none", "data inplace: persist", "data inplace: step_down", "data inplace: sync",
	"data move: activate", "data move: apply", "data move: catch_up", "data move: none", "data move: persist", "data move: prepare", "data move: step_down", "data move: sync",
	"data place: activate", "data place: none", "data place: persist", "data place: prepare", "data place: recover",
	"replicas inplace: none", "replicas inplace: start", "replicas inplace: stop",
	"replicas move: none", "replicas move: start", "replicas move: stop",
	"replicas place: none", "replicas place: start",
	"replicas stop: none", "replicas stop: stop",
	"singleton inplace: activate", "singleton inplace: none", "singleton inplace: persist", "singleton inplace: step_down",
	"singleton move: activate", "singleton move: activate, back", "singleton move: none", "singleton move: persist", "singleton move: persist, back", "singleton move: prepare", "singleton move: step_down",
	"singleton place: activate", "singleton place: none", "singleton place: persist", "singleton place: prepare",
	"singleton stop: none", "singleton stop: step_down",
	"spread inplace: none", "spread inplace: start", "spread inplace: stop",
	"spread place: none", "spread place: start",
	"spread stop: none", "spread stop: stop",
	"standby place: none", "standby place: prepare",
	"standby stop: none", "standby stop: stop",
}

// history is the scenario whose log is cut.
func history(t *testing.T) scenario {
	t.Helper()
	if *cutSeed > 0 {
		return schedule(*cutSeed)
	}
	const path = "testdata/every-move.txt"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	h, err := parse(path, string(text))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// record lives through the faults of a history and returns its log. That of a seed ends in the midst of things.
func record(t *testing.T, h scenario) (log []events.Message) {
	t.Helper()
	h.steps = slices.DeleteFunc(slices.Clone(h.steps), func(s happening) bool { return s.verb == "conformance" || s.verb == "steady" && *cutSeed > 0 })
	h.start(t, func(r *runner) {
		r.play()
		log = r.c.messages()
	})
	return log
}

// Whatever the log ends with, it can be gone on from: nothing that a cluster needs is anywhere else. Each piece is given to a cluster of
// other machines, or of the same ones after a reboot, and to the same ones where only agents and services begin anew.
func TestTruncatedLog(t *testing.T) {
	random(t)
	h := history(t)
	log := record(t, h)
	if t.Failed() {
		return
	}
	rebuilt(t, log)
	var cuts []int // the first one at which each step is open
	seen := map[string]bool{}
	v := projections.NewCluster("sim")
	for i, m := range log {
		v.Apply(m)
		at := len(seen)
		for _, m := range openIn(v) {
			seen[what(v, m)] = true
		}
		if len(seen) > at || *cutAll {
			cuts = append(cuts, i+1)
		}
	}
	if *cutSeed == 0 {
		if d := cmp.Diff(stepsOpen, slices.Sorted(maps.Keys(seen))); d != "" {
			t.Errorf("open while the log is cut are (+) and not (-):\n%s", d)
		}
	}
	for i, cut := range cuts {
		for _, how := range []machines{[]machines{rebooted, others}[i%2], kept} {
			if how == kept && *cutSeed > 0 { // what becomes of machines and programs in it is not in its log
				continue
			}
			t.Run(fmt.Sprint(cut, " ", how), func(t *testing.T) { resume(t, h, log, cut, how) })
		}
	}
}

// what names a migration's kind and the step of it that is open.
func what(v *projections.Cluster, m *projections.Migration) string {
	app, step := v.Apps[m.App], "none"
	mode := string(app.Spec.Mode)
	switch {
	case m.Standby():
		mode = "standby"
	case app.Spec.Replicated():
		mode = "data"
	}
	if m.Order != nil {
		step = string(m.Order.Step)
	}
	if m.Undoing {
		step += ", back"
	}
	return fmt.Sprintf("%s %s: %s", mode, m.Kind, step)
}

// rebuilt: the fold of each prefix is the fold of all before it and one event more, and none of it is damage.
func rebuilt(t *testing.T, log []events.Message) {
	t.Helper()
	v, checker := projections.NewCluster("sim"), invariants.New()
	for i, m := range log {
		v.Apply(m)
		for _, b := range checker.Event(m) {
			t.Error(b)
		}
		for agg, why := range v.Quarantined {
			t.Fatalf("%d: %s is quarantined: %s", i+1, agg, why)
		}
		if i%50 != 0 {
			continue
		}
		again := projections.NewCluster("sim")
		for _, m := range log[:i+1] {
			again.Apply(m)
		}
		if d := cmp.Diff(v, again, cmp.Exporter(func(reflect.Type) bool { return true })); d != "" {
			t.Fatalf("the fold of %d events differs:\n%s", i+1, d)
		}
	}
}

func openIn(v *projections.Cluster) (open []*projections.Migration) {
	for _, a := range v.SortedApps() {
		open = append(open, a.SortedOpen()...)
	}
	return open
}

// folded is what a log says.
func folded(log []events.Message) *projections.Cluster {
	v := projections.NewCluster("sim")
	for _, m := range log {
		v.Apply(m)
	}
	return v
}
