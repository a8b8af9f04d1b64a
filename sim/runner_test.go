package sim

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
	"github.com/go-cluster/go-cluster/transport"
)

// runner does to a cluster what a history says. Commands go on in the background: a control plane that is away holds nothing up.
type runner struct {
	c       *Cluster
	h       history
	began   time.Time
	asking  sync.WaitGroup
	down    map[string]bool // nodes whose machine is off
	silent  bool            // NATS is stopped
	later   []func()        // processes to start when it is back
	mu      sync.Mutex
	program map[string]Behaviour // node/app →
}

func newRunner(c *Cluster, h history) *runner {
	r := &runner{c: c, h: h, began: time.Now(), program: map[string]Behaviour{}, down: map[string]bool{}}
	c.Programs.Behave(func(node, instance string) Behaviour {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.program[node+"/"+instance[:strings.LastIndexByte(instance, '-')]]
	})
	return r
}

// tell adds a line to what is shown of a history that fails.
func (r *runner) tell(format string, args ...any) {
	r.c.T.Helper()
	r.c.T.Logf("%9s "+format, append([]any{time.Since(r.c.start).Truncate(time.Millisecond)}, args...)...)
}

// order sends a command in the background and notes what became of it.
func order[Rep any, Req any](r *runner, e api.Endpoint, req Req, what string) {
	r.asking.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := transport.Call[Req, Rep](ctx, r.c.NC, r.c.Subjects, e, req)
		switch code := api.CodeOf(err); {
		case err == nil:
			r.tell("          %s: done", what)
		case code == api.CodeInternal || code == api.CodeInvalid || code == api.CodeUnsupported:
			r.c.fail(fmt.Errorf("%s: %s: %w", what, code, err))
		default:
			r.tell("          %s: %s: %s", what, code, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	})
}

func (r *runner) apply(app spec.App) {
	order[api.ApplyReply](r, api.AppApply, api.ApplyRequest{Meta: r.c.Meta(), Spec: app}, "apply "+app.Name)
}

func (r *runner) label(node, key, value string) {
	order[api.LabelReply](r, api.NodeLabel, api.LabelRequest{Meta: r.c.Meta(), Node: node, Set: map[string]string{key: value}}, "label "+node)
}

func (r *runner) node(e api.Endpoint, node string) {
	order[api.Ack](r, e, api.NodeRequest{Meta: r.c.Meta(), Node: node}, e.Verb+" "+node)
}

func (r *runner) cordon(node string)   { r.node(api.NodeCordon, node) }
func (r *runner) uncordon(node string) { r.node(api.NodeUncordon, node) }
func (r *runner) undrain(node string)  { r.node(api.NodeDrainCancel, node) }

func (r *runner) drain(node string, timeout time.Duration, force bool) {
	order[api.DrainReply](r, api.NodeDrain, api.DrainRequest{Meta: r.c.Meta(), Nodes: []string{node}, Timeout: spec.Duration(timeout), Force: force}, "drain "+node)
}

func (r *runner) evacuate(selector string, timeout time.Duration) {
	order[api.Ack](r, api.AppEvacuate, api.EvacuateRequest{Meta: r.c.Meta(), Selector: selector, Timeout: spec.Duration(timeout)}, "evacuate "+selector)
}

// move moves the first instance of an app.
func (r *runner) move(app, to string) {
	from := ""
	r.view(func(v *projections.Cluster) {
		if a := v.Apps[app]; a != nil && len(a.Instances) > 0 {
			from = a.SortedInstances()[0].Node
		}
	})
	order[api.Ack](r, api.AppMove, api.MoveRequest{Meta: r.c.Meta(), App: app, From: from, To: to}, "move "+app)
}

func (r *runner) restart(app string) {
	order[api.Ack](r, api.AppRestart, api.AppRequest{Meta: r.c.Meta(), App: app}, "restart "+app)
}

func (r *runner) remove(app string) {
	order[api.Ack](r, api.AppRemove, api.AppRequest{Meta: r.c.Meta(), App: app}, "remove "+app)
}

func (r *runner) rebalance() {
	order[api.RebalanceReply](r, api.AppRebalance, api.RebalanceRequest{Meta: r.c.Meta(), All: true}, "rebalance")
}

func (r *runner) cancel(app string) {
	id := ""
	r.view(func(v *projections.Cluster) {
		if a := v.Apps[app]; a != nil && len(a.Open) > 0 {
			id = a.SortedOpen()[0].Migration
		}
	})
	if id != "" {
		order[api.Ack](r, api.MigrationCancel, api.MigrationRequest{Meta: r.c.Meta(), Migration: id}, "cancel "+id)
	}
}

func (r *runner) policy(auto bool) {
	var p spec.Policy
	p.AutoRebalance.Enabled = auto
	order[api.Ack](r, api.PolicySet, api.PolicyRequest{Meta: r.c.Meta(), Policy: p}, "policy")
}

func (r *runner) freeze() {
	order[api.Ack](r, api.MovesFreeze, api.FreezeRequest{Meta: r.c.Meta(), Why: "test"}, "freeze")
}

func (r *runner) unfreeze() {
	order[api.Ack](r, api.MovesUnfreeze, api.FreezeRequest{Meta: r.c.Meta(), Why: "test"}, "unfreeze")
}

func (r *runner) lost(node string) {
	if r.down[node] { // an operator says that a machine is off when it is
		order[api.Ack](r, api.NodeLost, api.NodeRequest{Meta: r.c.Meta(), Node: node, Confirm: true}, "lost "+node)
	}
}

func (r *runner) killAgent(node string, hard bool) {
	if p := r.c.nodes[node]; p != nil && hard {
		p.link.Cut()
	}
	r.c.KillAgent(node)
}

func (r *runner) startAgent(node string) {
	switch {
	case r.silent:
		r.later = append(r.later, func() { r.startAgent(node) })
	case r.c.nodes[node] == nil:
		r.c.RestartAgent(node)
		delete(r.down, node)
	}
}

func (r *runner) crash(node string) {
	r.c.Crash(node)
	r.down[node] = true
}

func (r *runner) disturb(p *process, how disturbance) {
	synctest.Wait() // no connection is just being made; see Link
	switch {
	case p == nil:
	case how == cut:
		p.link.Cut()
	case how == deafen:
		p.link.Deafen()
	case how == mute:
		p.link.Mute()
	}
}

func (r *runner) heal(p *process) {
	if p != nil {
		p.link.Heal()
	}
}

func (r *runner) stopNATS() {
	if !r.silent {
		r.silent = true
		r.c.StopNATS()
	}
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

func (r *runner) killServices(id string, hard bool) {
	if p := r.c.replicas[id]; p != nil && hard {
		p.link.Cut()
	}
	r.c.KillServices(id)
}

func (r *runner) startServices(id string) {
	switch {
	case r.silent:
		r.later = append(r.later, func() { r.startServices(id) })
	case r.c.replicas[id] == nil:
		r.c.StartServices(id)
	}
}

func (r *runner) behave(node, app string, b Behaviour) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.program[node+"/"+app] = b
}

// view is Cluster.View, and nothing while no services run.
func (r *runner) view(f func(v *projections.Cluster)) {
	if len(r.c.replicas) > 0 {
		r.c.View(f)
	}
}

// well ends every fault: all processes run, all links are up, no program misbehaves, nothing is frozen by an operator.
func (r *runner) well() {
	r.tell("all is made well")
	r.mu.Lock()
	clear(r.program)
	r.mu.Unlock()
	r.startNATS()
	for _, p := range r.c.replicas {
		p.link.Heal()
	}
	for _, p := range r.c.nodes {
		p.link.Heal()
	}
	r.startServices("s1")
	for id := range r.h.nodes {
		r.startAgent(id)
	}
	r.asking.Wait()
	insist(r, "unfreeze", func() error {
		_, err := Ask[api.Ack](r.c, api.MovesUnfreeze, api.FreezeRequest{Meta: r.c.Meta()})
		return err
	})
	var broken []spec.App
	r.c.View(func(v *projections.Cluster) {
		for _, a := range v.SortedApps() {
			if !a.Removed && a.Spec.Process.Command[0] == Broken {
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
