package sim

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/api"
)

// Programs is what runs on all nodes. It keeps a journal of who was active when, from the programs' own point of view.
type Programs struct {
	boot  func() time.Duration
	store *Store

	mu      sync.Mutex
	nodes   map[string]*machine
	journal []Span
	behave  func(node, instance string) Behaviour // nil: it starts at once and is well
}

// Broken is the command of a program that always fails at once.
const Broken = "/bin/broken"

// lastWrites is how long a program with a database writes on when it is stopped, where nothing else is said.
const lastWrites = 250 * time.Millisecond

// Behaviour of a simulated program.
type Behaviour struct {
	StartTakes time.Duration // until it is healthy
	Fails      string        // it gives up with this detail instead
	StopTakes  time.Duration
}

// Span is one life of a started program.
type Span struct {
	App, Instance, Node, Role string
	Epoch, Generation         uint64
	Fenced                    bool
	From, To                  time.Duration // To 0: still running
	Data                      bool          // it writes to a database
	Lost                      int           // acknowledged writes of lives before that it began without
}

type machine struct {
	p      *Programs
	id     string
	state  map[string]*program
	notify func(string)
	port   int
	until  time.Duration // deadline of the watchdogs
	up     func() bool   // it reaches NATS
}

type program struct {
	in    agent.Instance
	st    agent.Status
	span  int // index in the journal, -1: not running
	guard *time.Timer
	ready *time.Timer
	write *time.Timer   // the next write to its log
	done  chan struct{} // closed at its end; nil unless it is being stopped
}

func newPrograms(boot func() time.Duration) *Programs {
	return &Programs{boot: boot, store: newStore(boot), nodes: map[string]*machine{}}
}

func (p *Programs) node(id string) *machine {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nodes[id] == nil {
		p.nodes[id] = &machine{p: p, id: id, state: map[string]*program{}, port: 30000}
	}
	return p.nodes[id]
}

// reaches says how to ask whether the machine reaches NATS.
func (m *machine) reaches(nats func() bool) {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	m.up = nats
}

// Journal returns every span so far.
func (p *Programs) Journal() []Span {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.journal)
}

// Overlaps returns pairs of lives of an app as active that overlap in time.
func (p *Programs) Overlaps() []string {
	var out []string
	spans := p.Journal()
	for i, x := range spans {
		for _, y := range spans[i+1:] {
			if x.Role != "active" || y.Role != "active" || x.App != y.App {
				continue
			}
			if (x.To == 0 || x.To > y.From) && (y.To == 0 || y.To > x.From) {
				out = append(out, fmt.Sprintf("%s active twice: %+v and %+v", x.App, x, y))
			}
		}
	}
	return out
}

// GiveUp makes a running program fail for good: its node gives it up.
func (p *Programs) GiveUp(node, instance, detail string) {
	m := p.node(node)
	p.mu.Lock()
	if g := m.state[instance]; g != nil {
		m.end(g)
		g.st.State, g.st.Healthy, g.st.Detail = agent.StateFailed, false, detail
	}
	p.mu.Unlock()
	m.tell(instance)
}

func (p *Programs) crash(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.nodes[node]; m != nil {
		for _, g := range m.state {
			m.end(g)
		}
		m.state = map[string]*program{}
	}
}

func (p *Programs) stopAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.nodes {
		for _, g := range m.state {
			m.end(g)
		}
	}
}

// end notes the end of a life; the caller holds the lock.
func (m *machine) end(g *program) {
	for _, t := range []*time.Timer{g.guard, g.ready, g.write} {
		if t != nil {
			t.Stop()
		}
	}
	g.guard, g.ready, g.write = nil, nil, nil
	if g.done != nil {
		close(g.done)
		g.done = nil
	}
	if g.span >= 0 {
		life := &m.p.journal[g.span]
		if life.To = m.p.boot(); life.Data && !g.in.App.Shared() {
			m.p.store.end(m.id, life.App, life.Instance)
		}
		g.span = -1
	}
}

func (m *machine) tell(id string) {
	m.p.mu.Lock()
	f := m.notify
	m.p.mu.Unlock()
	if f != nil {
		f(id)
	}
}

// Behave sets how an instance behaves when it next starts on a node; nil: it starts at once and is well. Agents call it from
// goroutines of their own.
func (p *Programs) Behave(how func(node, instance string) Behaviour) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.behave = how
}

func (m *machine) behaviour(id string) Behaviour {
	m.p.mu.Lock()
	how := m.p.behave
	m.p.mu.Unlock()
	if how == nil {
		return Behaviour{}
	}
	return how(m.id, id)
}

// Prepare implements agent.Driver.
func (m *machine) Prepare(_ context.Context, in agent.Instance) (agent.Status, error) {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	return m.prepare(in).st, nil
}

func (m *machine) prepare(in agent.Instance) *program {
	g := m.state[in.ID]
	if g == nil {
		g = &program{span: -1, st: agent.Status{ID: in.ID, App: in.App.Name, State: agent.StateReady, Ports: map[string]int{}}}
		for name, port := range in.App.Ports {
			if port == 0 {
				m.port++
				port = m.port
			}
			g.st.Ports[name] = port
		}
		m.state[in.ID] = g
	}
	if g.span < 0 {
		g.in, g.st.State, g.st.Role, g.st.Epoch, g.st.Generation = in, agent.StateReady, in.Role, in.Epoch, in.Generation
	}
	return g
}

// Start implements agent.Driver.
func (m *machine) Start(_ context.Context, in agent.Instance) (agent.Status, error) {
	b := m.behaviour(in.ID)
	m.p.mu.Lock()
	g := m.prepare(in)
	if g.span >= 0 {
		defer m.p.mu.Unlock()
		if g.st.Epoch != in.Epoch || g.st.Generation != in.Generation {
			return g.st, fmt.Errorf("%s runs already with epoch %d", in.ID, g.st.Epoch)
		}
		return g.st, nil
	}
	g.in, g.st.Role, g.st.Epoch, g.st.Generation = in, in.Role, in.Epoch, in.Generation
	g.st.State, g.st.Healthy = agent.StateStarting, false
	m.p.journal = append(m.p.journal, Span{App: in.App.Name, Instance: in.ID, Node: m.id, Role: in.Role, Epoch: in.Epoch, Generation: in.Generation,
		Fenced: in.Fenced, From: m.p.boot()})
	g.span = len(m.p.journal) - 1
	m.watch(g)
	life := g.span
	if in.App.Process != nil && in.App.Process.Command[0] == Broken {
		b.Fails = "exit status 3"
	}
	verdict := func() {
		m.p.mu.Lock()
		if g.span != life || g.st.State == agent.StateStopping {
			m.p.mu.Unlock()
			return
		}
		if b.Fails != "" {
			m.end(g)
			g.st.State, g.st.Detail = agent.StateFailed, b.Fails
		} else {
			m.serve(g)
		}
		m.p.mu.Unlock()
		m.tell(in.ID)
	}
	if b.StartTakes > 0 {
		g.ready = time.AfterFunc(b.StartTakes, verdict)
		defer m.p.mu.Unlock()
		return g.st, nil
	}
	m.p.mu.Unlock()
	verdict()
	st, _ := m.Status(in.ID)
	return st, nil
}

// serve has a program serve; one with a database is written to from now on. The caller holds the lock.
func (m *machine) serve(g *program) {
	g.st.State, g.st.Healthy = agent.StateRunning, true
	life := &m.p.journal[g.span]
	switch {
	case life.Role != api.RoleActive || !g.in.App.Replicated():
	case g.in.App.Shared():
		life.Data, life.Lost = true, m.p.store.open(m.id, life.App, life.Instance)
		m.writes(g, 0)
	default:
		life.Data, life.Lost = true, m.p.store.begin(m.id, life.App, life.Instance, g.span)
	}
}

// writes has clients write to the log of an active from now on, the n-th time next. The caller holds the lock.
func (m *machine) writes(g *program, n int) {
	life, in := g.span, g.in
	g.write = time.AfterFunc(writeEvery, func() {
		m.p.mu.Lock()
		defer m.p.mu.Unlock()
		if g.span != life {
			return
		}
		if m.up == nil || m.up() {
			m.p.store.append(m.id, in.App.Name, in.ID, in.Epoch, row{life, n})
		}
		m.writes(g, n+1)
	})
}

// DataDir implements agent.DataKeeper.
func (m *machine) DataDir(id string) string { return "/" + m.id + "/" + id }

// Stop implements agent.Driver.
func (m *machine) Stop(ctx context.Context, id string) (agent.Status, error) {
	takes := m.behaviour(id).StopTakes
	m.p.mu.Lock()
	g := m.state[id]
	if g != nil && takes == 0 && g.in.App.Replicated() {
		takes = lastWrites
	}
	if g == nil || g.span < 0 || takes == 0 {
		m.p.mu.Unlock()
		return m.stopped(id)
	}
	if g.done == nil {
		g.done, g.st.State, g.st.Healthy = make(chan struct{}), agent.StateStopping, false
		life := g.span
		time.AfterFunc(takes, func() {
			m.p.mu.Lock()
			same := g.span == life
			m.p.mu.Unlock()
			if same {
				_ = m.Kill(id)
			}
		})
	}
	done := g.done
	m.p.mu.Unlock()
	select {
	case <-ctx.Done(): // the stopping goes on
		return agent.Status{}, ctx.Err()
	case <-done:
	}
	return m.stopped(id)
}

func (m *machine) stopped(id string) (agent.Status, error) {
	m.p.mu.Lock()
	g := m.state[id]
	if g == nil {
		m.p.mu.Unlock()
		return agent.Status{ID: id, State: agent.StateStopped}, nil
	}
	m.end(g)
	g.st.State, g.st.Healthy = agent.StateStopped, false
	st := g.st
	m.p.mu.Unlock()
	m.tell(id)
	return st, nil
}

// Kill implements agent.Driver.
func (m *machine) Kill(id string) error {
	_, err := m.stopped(id)
	return err
}

// Remove implements agent.Driver.
func (m *machine) Remove(id string, deleteData bool) error {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	if deleteData {
		m.p.store.wipe(m.id, id)
	}
	delete(m.state, id)
	return nil
}

// Status implements agent.Driver.
func (m *machine) Status(id string) (agent.Status, bool) {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	g := m.state[id]
	if g == nil {
		return agent.Status{}, false
	}
	st := g.st
	st.Ports = maps.Clone(st.Ports)
	return st, true
}

// List implements agent.Driver.
func (m *machine) List() []agent.Status {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	var out []agent.Status
	for _, id := range slices.Sorted(maps.Keys(m.state)) {
		out = append(out, m.state[id].st)
	}
	return out
}

// Adopt implements agent.Driver.
func (m *machine) Adopt(context.Context) ([]agent.Status, error) { return m.List(), nil }

// Extend implements agent.Driver: like the watchdog of a process, a timer ends each fenced program at the deadline.
func (m *machine) Extend(deadline time.Duration) {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	m.until = deadline
	for _, g := range m.state {
		m.watch(g)
	}
}

// watch sets the timer of a fenced program; the caller holds the lock.
func (m *machine) watch(g *program) {
	if g.span < 0 || !g.in.Fenced || m.until == 0 {
		return
	}
	if g.guard != nil {
		g.guard.Stop()
	}
	id := g.in.ID
	g.guard = time.AfterFunc(m.until-m.p.boot(), func() { _ = m.Kill(id) })
}

// Notify implements agent.Driver.
func (m *machine) Notify(f func(string)) {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	m.notify = f
}

// Logs implements agent.Driver; simulated programs print nothing.
func (m *machine) Logs(context.Context, string, int, bool, io.Writer) error { return nil }

// running lists what runs now, everywhere.
func (p *Programs) running() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []string{}
	for _, m := range p.nodes {
		for _, g := range m.state {
			if g.span >= 0 {
				out = append(out, fmt.Sprintf("%s on %s as %s epoch %d generation %d", g.in.ID, m.id, g.in.Role, g.in.Epoch, g.in.Generation))
			}
		}
	}
	slices.Sort(out)
	return out
}
