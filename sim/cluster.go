package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	"github.com/go-cluster/go-cluster/services/auditor"
	"github.com/go-cluster/go-cluster/services/labeler"
	"github.com/go-cluster/go-cluster/services/migrator"
	"github.com/go-cluster/go-cluster/services/planner"
	"github.com/go-cluster/go-cluster/services/rebalancer"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
	"github.com/go-cluster/go-cluster/transport/embedded"
)

// TTL is what the leases of simulated nodes promise.
const TTL = 30 * time.Second

// Cluster is a running cluster named "sim". Its methods fail the test instead of returning errors, but for those that say so.
type Cluster struct {
	T        testing.TB
	Subjects events.Subjects
	NC       *nats.Conn // of the person at the command line
	JS       jetstream.JetStream
	Programs *Programs // what runs on the nodes, and when

	dir      string
	server   *embedded.Server
	start    time.Time
	log      *zap.Logger
	replicas map[string]*process
	nodes    map[string]*process
	labels   map[string]map[string]string
	boots    map[string]int // times that a machine has crashed
	programs []spec.App     // that the programs of nodes declare
	commands atomic.Int64
	watch    *watch
	links    []*Link // all that there have been
	mu       sync.Mutex
	failures []error
}

// process is something that can be killed and started again: a process with services, or an agent.
type process struct {
	link   *Link
	cancel context.CancelFunc
	done   chan struct{}
	base   *services.Base // of a process with services
	ahead  atomic.Int64   // of its wall clock, ns
}

// now is the process's wall clock.
func (p *process) now() time.Time { return time.Now().Add(time.Duration(p.ahead.Load())) }

// Run starts a cluster with the given nodes (id → labels) and one replica of each service, in a bubble of its own, and calls f.
func Run(t *testing.T, nodes map[string]map[string]string, f func(c *Cluster)) {
	t.Helper()
	RunPrograms(t, nodes, nil, f)
}

// RunPrograms is Run with apps that the program on each node declares.
func RunPrograms(t *testing.T, nodes map[string]map[string]string, programs []spec.App, f func(c *Cluster)) {
	t.Helper()
	embedded.RegisterBubble()
	synctest.Test(t, func(t *testing.T) {
		c := &Cluster{T: t, dir: storage(t), start: time.Now(), log: zap.NewNop(), replicas: map[string]*process{}, nodes: map[string]*process{},
			labels: map[string]map[string]string{}, boots: map[string]int{}, programs: programs}
		c.Programs = newPrograms(c.Boot)
		c.up()
		defer c.down()
		c.watch = watchLog(c)
		defer c.watch.end()
		c.StartServices("s1")
		for _, id := range slices.Sorted(maps.Keys(nodes)) {
			c.StartNode(id, nodes[id], "boot")
		}
		for id := range nodes {
			c.Until("node "+id+" is ready", time.Minute, func(v *projections.Cluster) bool {
				return v.Nodes[id] != nil && v.Nodes[id].Status == projections.StatusReady
			})
		}
		f(c)
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, err := range c.failures {
			t.Error(err)
		}
	})
}

// nats is where connections go.
func (c *Cluster) nats() nats.InProcessConnProvider {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == nil {
		return nil
	}
	return c.server
}

func (c *Cluster) newLink() *Link {
	l := newLink(c.nats)
	c.links = append(c.links, l)
	return l
}

// Boot is the bubble's CLOCK_BOOTTIME.
func (c *Cluster) Boot() time.Duration { return time.Since(c.start) + time.Hour }

func (c *Cluster) up() {
	var err error
	if c.server, err = embedded.Start(embedded.Options{StoreDir: filepath.Join(c.dir, "nats")}); err != nil {
		c.T.Fatal(err)
	}
	if c.Subjects, err = events.NewSubjects("sim"); err != nil {
		c.T.Fatal(err)
	}
	if c.NC, err = c.newLink().dial("cli"); err != nil {
		c.T.Fatal(err)
	}
	if c.JS, err = jetstream.New(c.NC); err != nil {
		c.T.Fatal(err)
	}
	if err := transport.Bootstrap(c.T.Context(), c.JS, c.Subjects, transport.BootstrapOptions{Replicas: 1}); err != nil {
		c.T.Fatal(err)
	}
}

func (c *Cluster) down() {
	for id := range c.nodes {
		c.KillAgent(id)
	}
	for id := range c.replicas {
		c.KillServices(id)
	}
	c.Programs.stopAll()
	c.NC.Close()
	if c.server != nil {
		synctest.Wait() // nobody asks it anything any more: who does may wait for a lock that it holds asleep, and time stand still
		c.server.Shutdown()
	}
	synctest.Wait()
}

func (c *Cluster) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures = append(c.failures, err)
}

// StopNATS ends the server, with every connection; these first, since clients answer its good-bye with requests that wait for a
// mutex which it holds while it sleeps, and the bubble's time would stand still.
func (c *Cluster) StopNATS() {
	c.mu.Lock()
	server := c.server
	c.server = nil
	c.mu.Unlock()
	for _, l := range c.links {
		l.Drop()
	}
	synctest.Wait()
	server.Shutdown()
}

// StartNATS starts it again on the same store.
func (c *Cluster) StartNATS() {
	server, err := embedded.Start(embedded.Options{StoreDir: filepath.Join(c.dir, "nats")})
	if err != nil {
		c.T.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server = server
}

// StartServices starts a process with all five services.
func (c *Cluster) StartServices(id string) {
	link := c.newLink()
	nc, err := link.dial(id)
	if err != nil {
		c.T.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{link: link, cancel: cancel, done: make(chan struct{})}
	b, err := services.Open(ctx, services.Config{Cluster: "sim", Replica: id, Version: "sim", NC: nc, Dial: func() (*nats.Conn, error) { return link.dial(id + "-work") },
		Log: c.log, Boot: c.Boot, Now: p.now})
	if err != nil {
		c.T.Fatal(err)
	}
	p.base = b
	c.replicas[id] = p
	var wg sync.WaitGroup
	run := func(name string, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil && !errors.Is(err, context.Canceled) && ctx.Err() == nil {
				c.fail(fmt.Errorf("%s of %s ended: %w", name, id, err))
			}
		})
	}
	run("base", b.Run)
	run("labeler", labeler.New(b).Run)
	run("planner", planner.New(b).Run)
	run("migrator", migrator.New(b).Run)
	run("rebalancer", rebalancer.New(b).Run)
	run("auditor", auditor.New(b).Run)
	go func() {
		wg.Wait()
		nc.Close()
		close(p.done)
	}()
}

// KillServices ends a process with services; nothing of its memory is left.
func (c *Cluster) KillServices(id string) { c.kill(c.replicas, id) }

// StartNode starts a node's agent in the given boot of its machine.
func (c *Cluster) StartNode(id string, labels map[string]string, boot string) {
	link := c.newLink()
	nc, err := link.dial(id)
	if err != nil {
		c.T.Fatal(err)
	}
	c.labels[id] = labels
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{link: link, cancel: cancel, done: make(chan struct{})}
	c.nodes[id] = p
	data := replication{s: c.Programs.store, node: id, up: link.Clear}
	c.Programs.node(id).reaches(link.Clear)
	go func() {
		defer close(p.done)
		defer nc.Close()
		err := agent.Run(ctx, agent.Config{Cluster: "sim", Node: id, Dir: filepath.Join(c.dir, id), Labels: labels, Address: id + ".sim", Version: "sim", TTL: TTL,
			NC: nc, Dial: func() (*nats.Conn, error) { return link.dial(id + "-work") }, Driver: c.Programs.node(id), Log: c.log, BootID: boot,
			Replications: []agent.Replication{data, logs{data}},
			Clock:        agent.Clock{Boot: c.Boot, Now: p.now}, Facts: events.Facts{CPU: 8000, Memory: 16 << 30, Drivers: []string{"process"}, Apps: c.programs}})
		if err != nil && !errors.Is(err, context.Canceled) && ctx.Err() == nil {
			c.fail(fmt.Errorf("agent of %s ended: %w", id, err))
		}
	}()
}

// KillAgent ends an agent; what it ran runs on until its watchdog ends it.
func (c *Cluster) KillAgent(id string) { c.kill(c.nodes, id) }

// RestartAgent starts it again on the same directory; after a crash that is another boot of the machine.
func (c *Cluster) RestartAgent(id string) {
	boot := "boot"
	if n := c.boots[id]; n > 0 {
		boot = fmt.Sprintf("boot-%d", n)
	}
	c.StartNode(id, c.labels[id], boot)
}

// Crash takes the whole machine: programs and agent.
func (c *Cluster) Crash(id string) {
	c.boots[id]++
	if p := c.nodes[id]; p != nil {
		p.link.Cut() // a dead machine says nothing any more
	}
	c.Programs.crash(id)
	c.kill(c.nodes, id)
	c.Programs.crash(id) // what the agent may have begun between the two
}

func (c *Cluster) kill(from map[string]*process, id string) {
	p := from[id]
	if p == nil {
		return
	}
	delete(from, id)
	p.cancel()
	<-p.done
	p.link.Cut()
}

// Link returns the network between a node and NATS.
func (c *Cluster) Link(node string) *Link { return c.nodes[node].link }

// View calls f with the newest fold of the processes with services.
func (c *Cluster) View(f func(v *projections.Cluster)) {
	var newest *projections.Replica
	for _, id := range slices.Sorted(maps.Keys(c.replicas)) {
		if r := c.replicas[id].base.Replica; newest == nil || r.Seq() > newest.Seq() {
			newest = r
		}
	}
	if newest == nil {
		c.T.Fatal("no services run")
	}
	newest.View(f)
}

// Until waits, in virtual time, until the fold is as wanted.
func (c *Cluster) Until(what string, within time.Duration, want func(v *projections.Cluster) bool) {
	c.T.Helper()
	deadline := time.Now().Add(within)
	for {
		ok := false
		c.View(func(v *projections.Cluster) { ok = want(v) })
		if ok {
			return
		}
		if time.Now().After(deadline) {
			c.T.Fatalf("not within %s: %s\n%s", within, what, c.Story())
		}
		<-time.After(20 * time.Millisecond)
	}
}

// For lets virtual time go on.
func (c *Cluster) For(d time.Duration) { <-time.After(d) }

// Ask sends a command or question.
func Ask[Rep any, Req any](c *Cluster, e api.Endpoint, req Req) (Rep, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return transport.Call[Req, Rep](ctx, c.NC, c.Subjects, e, req)
}

// Meta returns what a person's next command carries.
func (c *Cluster) Meta() api.Meta {
	m := transport.NewMeta("ana", time.Now(), time.Minute)
	m.ID = fmt.Sprintf("cmd%d", c.commands.Add(1))
	return m
}

// Apply declares an app and waits until all of it runs.
func (c *Cluster) Apply(a spec.App) {
	c.T.Helper()
	if _, err := Ask[api.ApplyReply](c, api.AppApply, api.ApplyRequest{Meta: c.Meta(), Spec: a}); err != nil {
		c.T.Fatal(err)
	}
	c.Until(a.Name+" runs", time.Minute, func(v *projections.Cluster) bool { return Runs(v, a.Name) })
}

// Runs says whether an app is whole: all instances run and nothing of it is moving.
func Runs(v *projections.Cluster, app string) bool {
	a := v.Apps[app]
	if a == nil || len(a.Open) > 0 || a.Pending != nil || a.Spec.Mode != spec.Spread && len(a.Instances) != a.Desired() {
		return false
	}
	for _, in := range a.Instances {
		if in.State != "running" {
			return false
		}
	}
	return true
}

// On says where an app's instances are placed, ordered by instance.
func (c *Cluster) On(app string) []string {
	var out []string
	c.View(func(v *projections.Cluster) {
		if a := v.Apps[app]; a != nil {
			for _, in := range a.SortedInstances() {
				out = append(out, in.Node)
			}
		}
	})
	return out
}

// Label sets labels on a node.
func (c *Cluster) Label(node string, set map[string]string) api.LabelReply {
	c.T.Helper()
	rep, err := Ask[api.LabelReply](c, api.NodeLabel, api.LabelRequest{Meta: c.Meta(), Node: node, Set: set})
	if err != nil {
		c.T.Fatal(err)
	}
	return rep
}

// Log returns every event so far.
func (c *Cluster) Log() []events.Event {
	var out []events.Event
	for _, m := range c.messages() {
		if m.Err != nil {
			c.T.Error(m.Err)
		}
		out = append(out, m.Event)
	}
	return out
}

// Story returns the log as lines, for the message of a failure.
func (c *Cluster) Story() string {
	var s strings.Builder
	for _, e := range c.Log() {
		s.WriteString(c.line(e) + "\n")
	}
	return s.String()
}

// line is one event of a story.
func (c *Cluster) line(e events.Event) string {
	s := fmt.Sprintf("%4d %10s %s %s", e.Seq, e.Stored.Sub(c.start).Truncate(time.Millisecond), e.Aggregate, e.Type)
	switch d := e.Data.(type) {
	case *events.PlanAdmitted:
		for _, m := range d.Moves {
			s += fmt.Sprintf(" [%s %s→%s %s: %s]", m.Instance, m.From, m.To, m.Reason, m.Why)
		}
	case *events.MigrationPlanned:
		s += held(d.Move, d.Holds)
	case *events.MigrationHeld:
		s += held(d.Move, d.Holds)
	case *events.MigrationStarted:
		s += fmt.Sprintf(" %s %s→%s", d.Instance, d.FromNode, d.ToNode)
	case *events.MigrationCompleted:
		s += " " + d.Instance
	case *events.MigrationFailed:
		s += fmt.Sprintf(" %s %s: %s; left: %s", d.Instance, d.Code, d.Detail, d.Left)
	case *events.StepRequested:
		s += fmt.Sprintf(" %s on %s: %s", d.Next.Step, d.Next.Node, d.Why)
	case *events.StepFailed:
		s += " " + d.Instance + " " + string(d.Step) + ": " + d.Detail
	case *events.StepTimedOut:
		s += " " + d.Instance + " " + string(d.Step) + " on " + d.Node
	case *events.StepCompleted:
		s += " " + d.Instance + " " + string(d.Step)
	case *events.LeadershipGranted:
		s += fmt.Sprintf(" epoch %d undo %t", d.Epoch, d.Undo)
	case *events.LeadershipReleased:
		s += fmt.Sprintf(" epoch %d on %s, %s", d.Epoch, d.Node, d.Why)
	case *events.RequestRefused:
		s += " " + d.Detail
	case *events.CancelRequested:
		s += " " + d.Instance + " " + d.Why
	case *events.PlacementInvalid:
		s += " " + d.Reason
	case *events.InstanceFailed:
		s += " " + d.Instance + " on " + d.Node + ": " + d.Detail
	case *events.InstanceStopped:
		s += " " + d.Instance + " on " + d.Node + ": " + d.Detail
	case *events.InstanceUnhealthy:
		s += " " + d.Instance + " on " + d.Node + ": " + d.Detail
	case *events.NodeLost:
		s += " " + d.Reason
	case *events.NodeLabelsUpdated:
		s += fmt.Sprintf(" %v", d.After)
	}
	if e.Target != "" {
		s += " ⇒ " + e.Target
	}
	return s
}

// held is what a proposal is, and what holds it.
func held(m events.Move, holds []events.Hold) string {
	s := fmt.Sprintf(" [%s %s→%s %s]", m.Instance, m.From, m.To, m.Reason)
	for _, h := range holds {
		s += fmt.Sprintf(" %s: %s", h.Rule, h.Detail)
	}
	return s
}
