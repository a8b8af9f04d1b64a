package sim

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants"
	"github.com/go-cluster/go-cluster/spec"
)

// start makes a cluster with its apps running, and then something that gives cause to move.
func start(nodes []string, apps []spec.App, before, then func(*model)) *model {
	m := newModel(nodes)
	before(m)
	for _, a := range apps {
		m.store(events.Draft{Aggregate: events.App(a.Name), App: a.Name, Data: &events.AppApplied{Spec: a.WithDefaults(), SpecRev: 1, Generation: 1}})
	}
	m = m.calm(func(*model) {})
	then(m)
	m.came = &passage{nil, "start"}
	return m
}

func labels(node, role string) func(*model) {
	return func(m *model) {
		m.store(events.Draft{Aggregate: events.Node(node), Node: node, Data: &events.NodeLabelsUpdated{Node: node, Before: m.fold(len(m.log)).Nodes[node].Labels, After: map[string]string{"role": role}}})
	}
}

func all(of ...func(*model)) func(*model) {
	return func(m *model) {
		for _, f := range of {
			f(m)
		}
	}
}

func newModel(nodes []string) *model {
	m := &model{boot: time.Hour, leases: leasesOf(), closings: closingsOf(), heads: map[events.Aggregate]events.Head{}}
	for _, id := range nodes {
		m.nodes = append(m.nodes, host{id: id, epochs: map[string]uint64{}, results: map[uint64]api.StepReport{}, told: map[uint64]bool{}})
	}
	for i := range m.nodes {
		m.join(&m.nodes[i])
		labels(m.nodes[i].id, "x")(m)
	}
	return m
}

// calm lets happen what happens without faults, until nothing does, and shows each state on the way.
func (m *model) calm(passed func(*model)) *model {
	for {
		passed(m)
		next := m.moves()
		if len(next) == 0 {
			return m
		}
		m = next[0]
	}
}

func beginDrain(node string) func(*model) {
	return func(m *model) {
		m.store(events.Draft{Aggregate: events.Node(node), Node: node, Data: &events.DrainStarted{Node: node, Order: "d-1"}})
	}
}

var modelled = []struct {
	name string
	make func() *model
}{
	{"a singleton leaves a node that lost its label", func() *model {
		return start([]string{"n1", "n2"}, []spec.App{singleton("db", "role=x")}, labels("n2", "y"), all(labels("n2", "x"), labels("n1", "y")))
	}},
	{"a singleton leaves a node that is drained", func() *model {
		return start([]string{"n1", "n2"}, []spec.App{singleton("db")}, all(), beginDrain("n1"))
	}},
	{"a pool leaves a node that is drained", func() *model {
		return start([]string{"n1", "n2", "n3"}, []spec.App{pool("web", 2)}, all(), beginDrain("n1"))
	}},
	{"two apps leave a node that is drained", func() *model {
		return start([]string{"n1", "n2"}, []spec.App{singleton("db", "role=x"), pool("web", 1, "role=x")}, labels("n2", "y"), all(labels("n2", "x"), beginDrain("n1")))
	}},
}

// TestModel looks at every order in which things can happen to small clusters, with every choice of faults: reports that are lost or
// come twice, replicas that decide on old folds, time-outs that come too early, nodes that are cut off, crash or return, agents that
// are started again. More of them fit on one path where they are of one kind.
func TestModel(t *testing.T) {
	for _, c := range modelled {
		t.Run(c.name, func(t *testing.T) {
			t.Run("faults of any kind", func(t *testing.T) { explore(t, c.make(), *modelFaults, anyFault) })
			for _, kind := range anyFault {
				t.Run(string(kind), func(t *testing.T) { explore(t, c.make(), *modelAlike, []fault{kind}) })
			}
		})
	}
}

// explore looks at every state that can be reached with so many faults of some kinds, all that take fewer first: whatever can happen in a
// state with fewer faults behind it can happen with more, so that a state that comes again is not looked at again.
func explore(t *testing.T, first *model, faults int, kinds []fault) {
	t.Helper()
	began, seen := time.Now(), map[string]bool{}
	transitions, ends := 0, 0
	todo := []*model{first}
	for used := 0; used <= faults; used++ {
		report := func(left string) {
			t.Logf("%d faults: %d states, %d transitions, %d ends, in %s%s", used, len(seen), transitions, ends, time.Since(began).Truncate(time.Millisecond), left)
		}
		todo = slices.DeleteFunc(todo, func(m *model) bool { // found with fewer faults since, or twice
			k := m.key()
			again := seen[k]
			seen[k] = true
			return again
		})
		var later []*model // with one fault more
		queued := map[string]bool{}
		for len(todo) > 0 {
			if time.Since(began) >= *modelFor {
				report(", not exhausted")
				return
			}
			m := todo[len(todo)-1].wake()
			todo = todo[:len(todo)-1]
			next := m.moves()
			if !sound(t, m, len(next) == 0) {
				return
			}
			if len(next) == 0 {
				ends++
			}
			for _, n := range next {
				transitions++
				if k := n.key(); !seen[k] {
					seen[k] = true
					todo = append(todo, n.rests())
				}
			}
			if used == faults {
				continue
			}
			for _, n := range m.faulty(kinds) {
				transitions++
				if k := n.key(); !seen[k] && !queued[k] {
					queued[k] = true
					later = append(later, n.rests())
				}
			}
		}
		report("")
		todo = later
	}
}

// sound holds a state against what must never be, and one in which nothing happens any more against what has to be then.
func sound(t *testing.T, m *model, end bool) bool {
	t.Helper()
	broken := m.wrong()
	if end {
		broken = append(broken, m.laws(!m.cut)...)
	}
	if lawless(t, m, broken) {
		return false
	}
	if why := m.rest(); end && why != "" && !m.cut {
		t.Errorf("%s\n%s", why, m.story())
		return false
	}
	return true
}

// lawless reports what a state breaks; cmd/hunt reads the first lines.
func lawless(t *testing.T, m *model, broken []invariants.Violation) bool {
	t.Helper()
	for _, v := range broken {
		fmt.Printf("violation 0 %s: %s\n", v.Name, v)
	}
	if len(broken) > 0 {
		t.Errorf("%v\n%s", broken, m.story())
	}
	return len(broken) > 0
}

// TestModelResumes: wherever the log ends, services and agents that have nothing but it, and their own journals, bring every open
// migration to the end that it had without.
func TestModelResumes(t *testing.T) {
	for _, c := range modelled {
		t.Run(c.name, func(t *testing.T) {
			path := []*model{}
			last := c.make().calm(func(m *model) { path = append(path, m) })
			want := last.fold(len(last.log))
			for _, s := range path {
				again := s.then("everybody dies, and is started again")
				again.reports = nil
				for i := range again.nodes {
					again.nodes[i].told = map[uint64]bool{}
				}
				end := again.calm(func(*model) {})
				if why := end.rest(); why != "" {
					t.Fatalf("%s\n%s", why, end.story())
				}
				got := end.fold(len(end.log))
				for _, m := range s.fold(len(s.log)).SortedMigrations() {
					if a, b := got.Migrations[m.Migration], want.Migrations[m.Migration]; a.Status != b.Status || a.To != b.To {
						t.Fatalf("%s ends as %s on %s, without the restart as %s on %s\n%s", m.Migration, a.Status, a.To, b.Status, b.To, end.story())
					}
				}
			}
			t.Logf("%d ends of the log", len(path))
		})
	}
}
