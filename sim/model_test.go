package sim

import (
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/services/labeler"
	"github.com/go-cluster/go-cluster/spec"
)

var (
	modelFaults = flag.Int("sim.model", 1, "TestModel: faults of any kind on one path")
	modelAlike  = flag.Int("sim.model-alike", 2, "TestModel: faults on one path where all are of one kind")
	modelTicks  = flag.Int("sim.model-ticks", 4, "TestModel: times on one path that time passes until something is due")
	modelFor    = flag.Duration("sim.model-for", time.Second, "TestModel: of each cluster and kind of faults; what was not looked at by then is said")
)

// model is a whole cluster at one moment, without servers, goroutines or clocks: a log, what each agent holds, and what is under way
// between them. What happens next is one of its moves; each is one atomic act of the real deciders. Services have no state but the
// log, and fold it anew for every decision, as if they had just been started.
type model struct {
	log      []events.Message // nil while it rests
	last     *entry           // of the log
	sum      string           // of the log
	boot     time.Duration
	nodes    []host
	reports  []api.StepReport // under way, in no order
	leases   map[string]services.SeenLease
	closings map[string]labeler.Closing
	ticks    int  // times that time has passed
	cut      bool // it would go on, but time has passed often enough
	heads    map[events.Aggregate]events.Head
	folded   *projections.Cluster // of the whole log, once it was asked for; not to be changed
	came     *passage
}

// entry is an event of a log and those before it, which many states share.
type entry struct {
	before *entry
	of     events.Message
	n      int
}

// rests lets go of what can be made again: a search has a million states that are to be looked at later.
func (m *model) rests() *model {
	m.log, m.folded = nil, nil
	return m
}

// wake makes it again.
func (m *model) wake() *model {
	if m.last != nil {
		m.log = make([]events.Message, m.last.n)
	}
	for e := m.last; e != nil; e = e.before {
		m.log[e.n-1] = e.of
	}
	return m
}

// passage is how a state came about, without the states that were passed: those are let go once all that follows from them is known.
type passage struct {
	from *passage
	by   string // the move
}

// host is a machine with an agent.
type host struct {
	id      string
	n       int // incarnation
	silent  bool
	heard   int           // events that a silent one has read
	until   time.Duration // the agent's own deadline
	runs    []agent.Status
	epochs  map[string]uint64
	results map[uint64]api.StepReport
	told    map[uint64]bool
	ended   []api.FencedEpoch
}

const (
	modelTTL    = 10 * time.Second
	modelMargin = time.Second
)

var modelStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (h *host) inc() string { return fmt.Sprint(h.id, ".", h.n) }

func (m *model) now() time.Time { return modelStart.Add(m.boot) }

// then returns a copy on which a move is made.
func (m *model) then(by string) *model {
	c := *m
	c.came, c.folded, c.cut = &passage{m.came, by}, nil, false
	c.heads = maps.Clone(m.heads)
	c.log, c.reports = slices.Clip(m.log), slices.Clone(m.reports)
	c.leases, c.closings = maps.Clone(m.leases), maps.Clone(m.closings)
	c.nodes = slices.Clone(m.nodes)
	for i := range c.nodes {
		h := &c.nodes[i]
		h.runs, h.ended = slices.Clone(h.runs), slices.Clone(h.ended)
		h.epochs, h.results, h.told = maps.Clone(h.epochs), maps.Clone(h.results), maps.Clone(h.told)
	}
	return &c
}

// fold returns the fold of the log up to a length; it is shared and not to be changed.
func (m *model) fold(upTo int) *projections.Cluster {
	if upTo == len(m.log) && m.folded != nil {
		return m.folded
	}
	v := projections.NewCluster("model")
	for _, e := range m.log[:upTo] {
		v.Apply(e)
	}
	if upTo == len(m.log) {
		m.folded = v
	}
	return v
}

// store appends an event.
func (m *model) store(d events.Draft) {
	typ, err := events.TypeOf(d.Data)
	if err != nil {
		panic(err)
	}
	m.boot += time.Microsecond
	head, seq := m.heads[d.Aggregate], uint64(len(m.log)+1)
	b, err := json.Marshal(d.Data, json.Deterministic(true))
	if err != nil {
		panic(err)
	}
	e := events.Event{ID: fmt.Sprintf("id-%d-%s", seq, typ), Type: typ, V: 1, App: d.App, Node: d.Node, Rev: head.Rev + 1, Actor: d.Actor, Cause: d.Cause,
		Correlation: d.Correlation, Prev: head.Hash, Data: d.Data, Aggregate: d.Aggregate, Target: d.Target, Seq: seq, Stored: m.now()}
	sum := fnv.New128a()
	fmt.Fprint(sum, head.Hash, typ, d.Aggregate, string(b))
	e.Hash = fmt.Sprintf("%x", sum.Sum(nil))
	m.log, m.folded = append(m.log, events.Message{Event: e}), nil
	m.last = &entry{m.last, m.log[len(m.log)-1], len(m.log)}
	sum.Reset()
	fmt.Fprint(sum, m.sum, d.Aggregate, e.Hash)
	m.sum = string(sum.Sum(nil))
	m.heads[d.Aggregate] = events.Head{Seq: e.Seq, Rev: e.Rev, Hash: e.Hash}
}

// join has a host's agent take its lease and be declared.
func (m *model) join(h *host) {
	h.n++
	h.silent, h.until = false, m.boot+modelTTL-modelMargin
	clear(h.told)
	l := api.Lease{State: api.LeaseHeld, Node: h.id, Inc: h.inc(), Machine: "machine-" + h.id, TTL: spec.Duration(modelTTL)}
	m.lease(h.id, l)
	m.store(events.Draft{Aggregate: events.Node(h.id), Node: h.id, Data: &events.NodeJoined{Node: h.id, Inc: h.inc(), Machine: l.Machine,
		TTL: l.TTL, Epochs: maps.Clone(h.epochs), Facts: events.Facts{Address: h.id, CPU: 4000, Memory: 1 << 33, Drivers: []string{"process"}}}})
}

func (m *model) lease(node string, l api.Lease) {
	s := services.SeenLease{FirstSeen: m.boot}
	s.Lease, s.Seq = l, m.leases[node].Seq+1
	m.leases[node] = s
}

// key tells states apart.
func (m *model) key() string {
	sum := fnv.New128a()
	fmt.Fprint(sum, m.sum, m.boot/time.Millisecond, m.ticks, m.closings)
	for _, h := range m.nodes {
		heard := 0
		if h.silent {
			heard = h.heard
		}
		fmt.Fprint(sum, "|", h.n, h.silent, heard, h.until/time.Millisecond, h.runs, h.epochs, len(h.results), h.told, h.ended)
		for _, o := range slices.Sorted(maps.Keys(h.results)) {
			fmt.Fprint(sum, o, h.results[o].Failed)
		}
		l := m.leases[h.id]
		fmt.Fprint(sum, l.Lease.State, l.Lease.Inc, l.Lease.Instances, l.Lease.Fenced, l.FirstSeen/time.Millisecond)
	}
	var reports []string
	for _, r := range m.reports {
		reports = append(reports, fmt.Sprint(r.OrderSeq, r.Node, r.Failed))
	}
	slices.Sort(reports)
	fmt.Fprint(sum, reports)
	return string(sum.Sum(nil))
}

// path tells how a state came about.
func (m *model) path() string {
	var lines []string
	for s := m.came; s != nil; s = s.from {
		lines = append(lines, s.by)
	}
	slices.Reverse(lines)
	return strings.Join(lines, "\n  ")
}

func (m *model) story() string {
	c := &Cluster{start: modelStart}
	s := m.path() + "\n"
	for _, e := range m.log {
		s += c.line(e.Event) + "\n"
	}
	return s
}

// wrong says what must not be at any moment: an app that is active twice.
func (m *model) wrong() []invariants.Violation {
	on := map[string]string{}
	for _, h := range m.nodes {
		for _, st := range h.runs {
			if st.Role != api.RoleActive {
				continue
			}
			if other := on[st.App]; other != "" {
				return []invariants.Violation{{Invariant: invariants.Alone, Detail: fmt.Sprintf("%s is active on %s and on %s", st.App, other, h.id)}}
			}
			on[st.App] = h.id
		}
	}
	return nil
}

// laws holds the whole log against the laws; atRest says that nothing can happen any more.
func (m *model) laws(atRest bool) []invariants.Violation {
	ch := invariants.New()
	var out []invariants.Violation
	for _, e := range m.log {
		out = append(out, ch.Event(e)...)
	}
	if atRest {
		out = append(out, ch.End()...)
	}
	return out
}

// rest says what is not as it has to be when nothing happens any more: what runs is what the log has.
func (m *model) rest() string {
	v := m.fold(len(m.log))
	for _, a := range v.SortedApps() {
		if len(a.Open) > 0 {
			return a.Name + " has an open migration"
		}
		for _, in := range a.SortedInstances() {
			i := slices.IndexFunc(m.nodes, func(h host) bool { return h.id == in.Node })
			if !slices.ContainsFunc(m.nodes[i].runs, func(st agent.Status) bool { return st.ID == in.ID && st.State == agent.StateRunning }) && a.Pending == nil {
				return fmt.Sprintf("%s is on %s in the log, and does not run", in.ID, in.Node)
			}
		}
		if len(a.Instances) < a.Desired() && a.Pending == nil {
			return a.Name + " misses an instance and is not Pending"
		}
	}
	return ""
}

func leasesOf() map[string]services.SeenLease { return map[string]services.SeenLease{} }

func closingsOf() map[string]labeler.Closing { return map[string]labeler.Closing{} }
