package sim

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// runner does to a cluster what a scenario says. Commands go on in the background: a control plane that is away holds nothing up.
type runner struct {
	c        *Cluster
	s        scenario
	began    time.Time
	asking   sync.WaitGroup
	nodes    map[string]map[string]string // all that have ever been there
	down     map[string]bool              // nodes whose machine is off
	ahead    map[string]time.Duration     // wall clocks
	replaced map[string]bool              // nodes whose first machine is gone for good
	silent   bool                         // NATS is stopped
	later    []func()                     // processes to start when it is back
	mu       sync.Mutex
	program  map[string]Behaviour // node/app →
}

func newRunner(c *Cluster, s scenario) *runner {
	r := &runner{c: c, s: s, began: time.Now(), program: map[string]Behaviour{}, down: map[string]bool{}, ahead: map[string]time.Duration{},
		nodes: map[string]map[string]string{}, replaced: map[string]bool{}}
	for id, labels := range s.nodes {
		r.nodes[id] = labels
	}
	c.Programs.Behave(func(node, instance string) Behaviour {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.program[node+"/"+instance[:strings.LastIndexByte(instance, '-')]]
	})
	return r
}

// tell adds a line to what is shown of a scenario that fails.
func (r *runner) tell(format string, args ...any) {
	r.c.T.Helper()
	r.c.T.Logf("%9s "+format, append([]any{time.Since(r.began).Truncate(time.Millisecond)}, args...)...)
}

// order sends a command in the background and notes what became of it.
func order[Rep any, Req any](r *runner, e api.Endpoint, req Req, what string) {
	r.asking.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		rep, err := transport.Call[Req, Rep](ctx, r.c.NC, r.c.Subjects, e, req)
		switch code := api.CodeOf(err); {
		case err == nil:
			r.c.told(req, rep)
			r.tell("          %s: done", what)
		case code == api.CodeInternal || code == api.CodeUnsupported || code == api.CodeInvalid && e != api.AppMove: // what it would move may just have changed
			r.c.fail(fmt.Errorf("%s: %s: %w", what, code, err))
		default:
			r.tell("          %s: %s: %s", what, code, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	})
}

func (r *runner) apply(args []string) error {
	app, err := appOf(args)
	if err == nil {
		order[api.ApplyReply](r, api.AppApply, api.ApplyRequest{Meta: r.c.Meta(), Spec: app}, "apply "+app.Name)
	}
	return err
}

func (r *runner) label(args []string) error {
	change, err := spec.ParseLabelChange(args[1:])
	if err == nil {
		order[api.LabelReply](r, api.NodeLabel, api.LabelRequest{Meta: r.c.Meta(), Node: args[0], Set: change.Set, Remove: change.Remove}, "label "+args[0])
	}
	return err
}

func (r *runner) node(e api.Endpoint, node string) {
	order[api.Ack](r, e, api.NodeRequest{Meta: r.c.Meta(), Node: node}, e.Verb+" "+node)
}

func (r *runner) app(e api.Endpoint, app string) {
	order[api.Ack](r, e, api.AppRequest{Meta: r.c.Meta(), App: app}, e.Verb+" "+app)
}

// again has a person whose answer did not come ask once more, with the same command.
func (r *runner) again(app string) {
	req := api.AppRequest{Meta: r.c.Meta(), App: app}
	order[api.Ack](r, api.AppRestart, req, "restart "+app)
	r.asking.Go(func() {
		r.c.For(3 * time.Second)
		order[api.Ack](r, api.AppRestart, req, "restart "+app+", again")
	})
}

func (r *runner) drain(args []string) error {
	var timeout time.Duration
	force, drop := false, false
	err := options(args[1:], map[string]any{"timeout": &timeout, "force": &force, "delete": &drop})
	order[api.DrainReply](r, api.NodeDrain, api.DrainRequest{Meta: r.c.Meta(), Nodes: args[:1], Timeout: spec.Duration(timeout), Force: force, DeleteLocal: drop}, "drain "+args[0])
	return err
}

func (r *runner) evacuate(args []string) error {
	var timeout time.Duration
	err := options(args[1:], map[string]any{"timeout": &timeout})
	order[api.Ack](r, api.AppEvacuate, api.EvacuateRequest{Meta: r.c.Meta(), Selector: args[0], Timeout: spec.Duration(timeout)}, "evacuate "+args[0])
	return err
}

// move moves the first instance of an app.
func (r *runner) move(args []string) error {
	app, to, from := args[0], "", ""
	if len(args) > 1 {
		to = args[1]
	}
	r.view(func(v *projections.Cluster) {
		if a := v.Apps[app]; a != nil && len(a.Instances) > 0 {
			from = a.SortedInstances()[0].Node
		}
	})
	order[api.Ack](r, api.AppMove, api.MoveRequest{Meta: r.c.Meta(), App: app, From: from, To: to}, "move "+app)
	return nil
}

func (r *runner) rebalance() {
	order[api.RebalanceReply](r, api.AppRebalance, api.RebalanceRequest{Meta: r.c.Meta(), All: true}, "rebalance")
}

func (r *runner) cancel(args []string) error {
	id := ""
	r.view(func(v *projections.Cluster) {
		if a := v.Apps[args[0]]; a != nil && len(a.Open) > 0 {
			id = a.SortedOpen()[0].Migration
		}
	})
	if id != "" {
		order[api.Ack](r, api.MigrationCancel, api.MigrationRequest{Meta: r.c.Meta(), Migration: id}, "cancel "+id)
	}
	return nil
}

// judge says yes or no to what waits for that.
func (r *runner) judge(e api.Endpoint, app string) {
	var ids []string
	r.view(func(v *projections.Cluster) {
		if a := v.Apps[app]; a != nil {
			for _, in := range slices.Sorted(maps.Keys(a.Proposals)) {
				if p := a.Proposals[in]; p.Awaits {
					ids = append(ids, p.Migration)
				}
			}
		}
	})
	for _, id := range ids {
		order[api.Ack](r, e, api.JudgeRequest{Meta: r.c.Meta(), Migration: id}, e.Verb+" "+id)
	}
}

func (r *runner) policy(args []string) error {
	doc, err := document(args)
	if err != nil {
		return err
	}
	p := spec.Policy{}
	if doc != "" {
		if p, err = spec.DecodePolicy([]byte(doc)); err != nil {
			return err
		}
	}
	order[api.Ack](r, api.PolicySet, api.PolicyRequest{Meta: r.c.Meta(), Policy: p}, "policy")
	return nil
}

func (r *runner) freeze() {
	order[api.Ack](r, api.MovesFreeze, api.FreezeRequest{Meta: r.c.Meta(), Why: "test"}, "freeze")
}

func (r *runner) unfreeze() {
	order[api.Ack](r, api.MovesUnfreeze, api.FreezeRequest{Meta: r.c.Meta(), Why: "test"}, "unfreeze")
}

func (r *runner) lost(node string) {
	if r.down[node] || r.replaced[node] { // an operator says that a machine is off when it is
		order[api.Ack](r, api.NodeLost, api.NodeRequest{Meta: r.c.Meta(), Node: node, Confirm: true}, "lost "+node)
	}
}

// process returns a node's agent or a process with services, nil when it does not run.
func (r *runner) process(id string) *process {
	if p := r.c.nodes[id]; p != nil {
		return p
	}
	return r.c.replicas[id]
}

func (r *runner) isNode(id string) bool { return r.nodes[id] != nil }

func (r *runner) killProcess(args []string) error {
	id := args[0]
	if p := r.process(id); p != nil && len(args) > 1 {
		p.link.Cut()
	}
	if r.isNode(id) {
		r.c.KillAgent(id)
	} else {
		r.c.KillServices(id)
	}
	return nil
}

func (r *runner) startProcess(args []string) error {
	id := args[0]
	if r.silent {
		r.later = append(r.later, func() { _ = r.startProcess(args) })
		return nil
	}
	switch {
	case r.process(id) != nil:
		return nil
	case r.isNode(id):
		r.c.RestartAgent(id)
		delete(r.down, id)
	default:
		r.c.StartServices(id)
	}
	r.setClock(id)
	return nil
}

func (r *runner) crash(node string) {
	r.c.Crash(node)
	r.down[node] = true
}

// replace has another machine, with nothing of the first one's, take a node's name.
func (r *runner) replace(node string) error {
	r.crash(node)
	delete(r.down, node)
	r.replaced[node] = true
	r.c.Programs.store.wipe(node, "")
	if err := os.RemoveAll(filepath.Join(r.c.dir, node)); err != nil {
		return err
	}
	r.c.StartNode(node, r.nodes[node], "boot")
	return nil
}

// loseLeases empties the stream of the leases, as a restored server has it that never had one. No services may run.
func (r *runner) loseLeases() {
	ctx, c := context.Background(), r.c
	if err := c.JS.DeleteStream(ctx, c.Subjects.LeasesStream()); err != nil {
		c.T.Fatal(err)
	}
	if err := transport.Bootstrap(ctx, c.JS, c.Subjects, transport.BootstrapOptions{Replicas: 1}); err != nil {
		c.T.Fatal(err)
	}
}

func (r *runner) join(args []string) error {
	id := args[0]
	labels, err := pairs(args[1:])
	if err != nil || r.isNode(id) {
		return err
	}
	if r.silent {
		r.later = append(r.later, func() { _ = r.join(args) })
		return nil
	}
	r.nodes[id] = labels
	r.c.StartNode(id, labels, "boot")
	return nil
}

func (r *runner) clock(args []string) error {
	d, err := time.ParseDuration(args[1])
	r.ahead[args[0]] = d
	r.setClock(args[0])
	return err
}

func (r *runner) setClock(id string) {
	if p := r.process(id); p != nil {
		p.ahead.Store(int64(r.ahead[id]))
	}
}

// still waits until nothing happens by itself: no connection is just being made then; see Link.
func (r *runner) still() { synctest.Wait() }

func (r *runner) noise(args []string) error {
	n := Noise{Delay: time.Second}
	if err := options(args[1:], map[string]any{"lose": &n.Lose, "repeat": &n.Repeat, "late": &n.Late, "delay": &n.Delay, "seed": &n.Seed}); err != nil {
		return err
	}
	if p := r.process(args[0]); p != nil {
		r.still()
		p.link.Noisy(n)
	}
	return nil
}

func (r *runner) nats(args []string) error {
	switch args[0] {
	case "stop":
		if !r.silent {
			r.silent = true
			r.c.StopNATS()
		}
	case "start":
		r.startNATS()
	default:
		return fmt.Errorf("nats stop or start, not %s", args[0])
	}
	return nil
}

func (r *runner) startNATS() {
	if r.silent {
		r.silent = false
		r.c.StartNATS()
		for _, start := range r.later {
			start()
		}
		r.later = nil
	}
}

func (r *runner) behaviour(args []string) error {
	var b Behaviour
	if err := options(args[2:], map[string]any{"start": &b.StartTakes, "stop": &b.StopTakes, "fails": &b.Fails}); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.program[args[1]+"/"+args[0]] = b
	return nil
}

// view is Cluster.View, and nothing while no services run.
func (r *runner) view(f func(v *projections.Cluster)) {
	if len(r.c.replicas) > 0 {
		r.c.View(f)
	}
}

// well ends every fault: all processes run, all links are up, no program misbehaves, nothing is frozen by an operator.
func (r *runner) well() {
	r.mu.Lock()
	clear(r.program)
	r.mu.Unlock()
	clear(r.ahead)
	r.startNATS()
	for id, p := range r.c.replicas {
		p.link.Heal()
		r.setClock(id)
	}
	for id, p := range r.c.nodes {
		p.link.Heal()
		r.setClock(id)
	}
	_ = r.startProcess([]string{r.s.services[0]})
	for id := range r.nodes {
		_ = r.startProcess([]string{id})
	}
	r.asking.Wait()
	insist(r, "unfreeze", func() error {
		_, err := Ask[api.Ack](r.c, api.MovesUnfreeze, api.FreezeRequest{Meta: r.c.Meta()})
		return err
	})
	insist(r, "policy", func() error { // what only holds moves back would hold the end up
		var p spec.Policy
		r.c.View(func(v *projections.Cluster) { p = v.Policy })
		p.Migration = spec.MigrationPolicy{MaxConcurrent: p.Migration.MaxConcurrent}
		_, err := Ask[api.Ack](r.c, api.PolicySet, api.PolicyRequest{Meta: r.c.Meta(), Policy: p})
		return err
	})
	var broken []spec.App
	r.c.View(func(v *projections.Cluster) {
		for _, a := range v.SortedApps() {
			if !a.Removed && a.Spec.Process != nil && a.Spec.Process.Command[0] == Broken {
				broken = append(broken, a.Spec)
			}
		}
	})
	for _, app := range broken {
		r.tell("apply %s, no longer broken", app.Name)
		insist(r, "declare "+app.Name, func() error {
			_, err := Ask[api.ApplyReply](r.c, api.AppApply, api.ApplyRequest{Meta: r.c.Meta(), Spec: mended(app)})
			return err
		})
	}
}

// mended returns the app with a program that works.
func mended(app spec.App) spec.App {
	p := *app.Process
	p.Command = append([]string{"/bin/app"}, p.Command[1:]...)
	app.Process = &p
	return app
}

// insist repeats a command until it is carried out: what failed before, and what is being removed, takes its time.
func insist(r *runner, what string, f func() error) {
	for end := time.Now().Add(10 * time.Minute); ; r.c.For(time.Second) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			r.c.T.Fatalf("%s: still refused: %v", what, err)
		}
	}
}
