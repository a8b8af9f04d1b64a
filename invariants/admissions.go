package invariants

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/spec"
)

// admission holds the moves of a plan against the state that the plan names.
func (c *Checker) admission(e *events.Event, d *events.PlanAdmitted) {
	if d.StateSeq >= e.Seq || d.StateSeq < c.admitted {
		c.broke(Places, "plan %s was decided on the state at %d; the cluster's event before it is at %d", d.Plan, d.StateSeq, c.admitted)
	}
	c.catchUp(min(d.StateSeq, e.Seq-1))
	taken := newPlan(c.then)
	for i, m := range d.Moves {
		c.lock(m, d.Moves[:i])
		c.frozen(m)
		c.place(m, taken)
		c.ordered(m)
		c.balanced(e, m)
		c.guarded(e, m, d.Moves[:i])
		taken.add(m)
	}
	c.admittedMoves(e, d.Moves)
}

// lock wants nothing else to be under way with what a move moves; before are the moves of the same plan that come before it.
func (c *Checker) lock(m events.Move, before []events.Move) {
	if _, known := c.now.moves[m.Migration]; known {
		c.broke(Locks, "migration %s is admitted twice", m.Migration)
		return
	}
	if at, over := c.ended[m.Migration]; over {
		c.broke(Locks, "migration %s is admitted again, it ended at %d", m.Migration, at)
	}
	whole := c.then.app(m.App).singleton()
	bars := func(o events.Move) bool { // whoever serves never waits for a standby
		return o.App == m.App && (whole && (m.Standby() || !o.Standby()) || o.Instance == m.Instance)
	}
	for _, o := range c.now.open(m.App) {
		if bars(o.Move) {
			c.broke(Locks, "migration %s of %s is admitted while %s is open", m.Migration, m.Instance, o.Migration)
		}
	}
	for _, o := range before {
		if bars(o) {
			c.broke(Locks, "migration %s of %s is admitted right behind %s", m.Migration, m.Instance, o.Migration)
		}
	}
}

// frozen holds a move against the freezes; they stand on the same aggregate, so that the newest state is the one decided on.
func (c *Checker) frozen(m events.Move) {
	if m.Kind() == events.KindStop {
		return
	}
	for _, source := range sorted(c.now.frozen) {
		if source == events.FreezeSafety || m.Class != events.ClassRecovery && !m.Forced {
			c.broke(Freezes, "migration %s of %s (%s) is admitted while %s has moves frozen", m.Migration, m.Instance, m.Class, source)
		}
	}
}

// place holds a move against the rules for where its app may run.
func (c *Checker) place(m events.Move, taken *plan) {
	bad := func(format string, args ...any) {
		c.broke(Places, "%s is admitted to %s: "+format, append([]any{m.Instance, or(m.To, "nowhere")}, args...)...)
	}
	a := c.then.apps[m.App]
	if a == nil || a.rev == 0 {
		bad("there is no app %s", m.App)
		return
	}
	if a.rev != m.SpecRev {
		bad("the spec is at revision %d, the move at %d", a.rev, m.SpecRev)
	}
	if in := a.moved(m); m.Kind() == events.KindPlace && in != nil {
		bad("it is on %s", in.node)
	} else if m.Kind() != events.KindPlace && (in == nil || in.node != m.From || in.inc != m.FromInc) {
		bad("it is not on %s (%s)", m.From, m.FromInc)
	}
	if m.To == "" {
		return
	}
	n := c.then.nodes[m.To]
	if n == nil || n.status != "ready" || n.inc != m.ToInc {
		bad("the node is not there as %s", m.ToInc)
		return
	}
	if m.Kind() != events.KindInPlace { // what is there already may be restarted on a node that takes nothing new
		c.schedulable(n, bad)
		taken.fits(a, m, n, bad)
	}
	if m.Kind() != events.KindInPlace || a.spec.OnInvalid != spec.OnInvalidKeep { // what may stay although the rules broke may be restarted
		a.allows(m.To, n, bad)
	}
	if a.spec.Process != nil && !slices.Contains(n.facts.Drivers, "process") {
		bad("it cannot run processes")
	}
}

// allows holds a node against the rules of the app that are about the node alone.
func (a *app) allows(id string, n *node, bad func(string, ...any)) {
	for _, text := range a.spec.Require {
		if sel, err := spec.ParseSelector(text); err != nil || !sel.Matches(n.labels) {
			bad("it has %v and not %s", n.labels, text)
		}
	}
	if len(a.spec.OnNodes) > 0 && !slices.Contains(a.spec.OnNodes, id) {
		bad("the app allows %v only", a.spec.OnNodes)
	}
	if v := a.spec.VIP; v != nil && (n.facts.VIP == nil || !slices.Contains(n.facts.VIP.Interfaces, v.Interface)) {
		bad("it cannot carry %s on %s", v.Address, v.Interface)
	}
}

func (c *Checker) schedulable(n *node, bad func(string, ...any)) {
	switch {
	case n.drain != "":
		bad("it is draining")
	case n.cordoned:
		bad("it is cordoned")
	}
	for _, order := range sorted(c.then.evacuations) {
		if c.then.evacuations[order].Matches(n.labels) {
			bad("it is being evacuated (%s)", order)
		}
	}
}

// plan is who is where, or on the way there, while a plan is read: a move counts at both ends until it has ended.
type plan struct {
	w       *world
	at      map[string]map[string]string // node → instance → app
	standby map[string]bool              // instances that are standbys: others take their room, and need not keep apart
}

func newPlan(w *world) *plan {
	p := &plan{w: w, at: map[string]map[string]string{}, standby: map[string]bool{}}
	for name, a := range w.apps {
		for id, in := range a.instances {
			p.put(in.node, id, name)
		}
		for id, s := range a.standbys {
			p.put(s.node, id, name)
			p.standby[id] = true
		}
	}
	for _, m := range w.moves {
		p.add(m.Move)
	}
	return p
}

func (p *plan) put(node, instance, app string) {
	if p.at[node] == nil {
		p.at[node] = map[string]string{}
	}
	p.at[node][instance] = app
}

// add counts a move at both ends, but not at an end whose incarnation is over: it can neither be there any more nor arrive.
func (p *plan) add(m events.Move) {
	if m.Standby() {
		p.standby[m.Instance] = true
	}
	for _, end := range []struct{ node, inc string }{{m.From, m.FromInc}, {m.To, m.ToInc}} {
		if n := p.w.nodes[end.node]; n != nil && n.inc == end.inc {
			p.put(end.node, m.Instance, m.App)
		}
	}
}

// fits holds a move to a node against everything else there.
func (p *plan) fits(a *app, m events.Move, n *node, bad func(string, ...any)) {
	cpu, memory := a.spec.Resources.CPU, a.spec.Resources.Memory
	for _, id := range sorted(p.at[m.To]) {
		name := p.at[m.To][id]
		o := p.w.apps[name]
		if id == m.Instance || o == nil {
			continue
		}
		if name == m.App && !m.Standby() && a.standbys[id] != nil && a.standbys[id].node == m.To {
			continue // the room that it holds is for this
		}
		if name == m.App {
			bad("%s of the same app is there or on its way", id)
		}
		switch apart := slices.Contains(a.spec.AwayFromApp, name) || slices.Contains(o.spec.AwayFromApp, m.App); {
		case p.standby[id] && !m.Standby():
			continue // it gives way
		case p.standby[id] && p.serves(m.To, name):
			continue // what comes to it, or leaves it, has its room
		case apart && !p.standby[id]:
			bad("%s is there or on its way, and they keep apart", id)
		}
		cpu, memory = cpu+o.spec.Resources.CPU, memory+o.spec.Resources.Memory
	}
	if need := a.spec.Resources.CPU; need > 0 && cpu > n.facts.CPU {
		bad("with it %s of %s cpu are taken", cpu, n.facts.CPU)
	}
	if need := a.spec.Resources.Memory; need > 0 && memory > n.facts.Memory {
		bad("with it %s of %s memory are taken", memory, n.facts.Memory)
	}
	p.ports(a, m, n, bad)
}

// serves says whether an app has an instance on a node, or on its way there, that is no standby.
func (p *plan) serves(node, app string) bool {
	for id, name := range p.at[node] {
		if name == app && !p.standby[id] {
			return true
		}
	}
	return false
}

// ports holds the fixed ports of an app against those that are taken on the same host, which may be that of several nodes.
func (p *plan) ports(a *app, m events.Move, n *node, bad func(string, ...any)) {
	fixed := slices.DeleteFunc(slices.Sorted(maps.Values(a.spec.Ports)), func(port int) bool { return port == 0 })
	if len(fixed) == 0 {
		return
	}
	for _, id := range sorted(p.at) {
		if other := p.w.nodes[id]; other == nil || other.facts.Address != n.facts.Address {
			continue
		}
		for _, in := range sorted(p.at[id]) {
			o := p.w.apps[p.at[id][in]]
			if in == m.Instance || o == nil || !m.Standby() && o == a && a.standbys[in] != nil && id == m.To {
				continue
			}
			for _, port := range o.spec.Ports {
				if slices.Contains(fixed, port) {
					bad("port %d of its host is taken by %s", port, in)
				}
			}
		}
	}
}

// episode wants episodes of Pending to open and close in turn.
func (c *Checker) episode(e *events.Event) {
	_, opens := e.Data.(*events.PlacementInvalid)
	switch a := c.now.app(e.App); {
	case opens && a.pending:
		c.broke(Places, "%s becomes Pending, and is", e.App)
	case !opens && !a.pending:
		c.broke(Places, "%s is no longer Pending, and was not", e.App)
	case !opens:
		c.satisfied(e, a)
	}
}

// satisfied wants every instance of an app to have a place that its rules allow, or to be on the way to one.
func (c *Checker) satisfied(e *events.Event, a *app) {
	at := map[string]string{}
	for id, in := range a.instances {
		at[id] = in.node
	}
	for _, m := range c.now.open(e.App) {
		if at[m.Instance] = m.To; m.To == "" {
			delete(at, m.Instance) // it is on its way out
		}
	}
	// Nodes stand on other aggregates: the planner may not have seen the newest loss.
	if len(at) < a.desired() && e.Stored.Sub(a.bereft) >= fresh {
		c.broke(Places, "%s is no longer Pending, and %d of %d instances have a place", e.App, len(at), a.desired())
	}
	surplus := len(at) - a.desired() // the worst placed are about to end
	for _, id := range sorted(at) {
		n := c.now.nodes[at[id]]
		if n == nil || e.Stored.Sub(n.labelled) < fresh { // labels stand on another aggregate: the planner may not have seen the newest
			continue
		}
		var wrong []string
		a.allows(at[id], n, func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) })
		if len(wrong) == 0 {
			continue
		}
		if surplus--; surplus < 0 {
			c.broke(Places, "%s is no longer Pending, and %s stays on %s: %s", e.App, id, at[id], strings.Join(wrong, "; "))
		}
	}
}

// unplaced finds, at rest, apps that miss an instance and do not say so. While moves are frozen that is no news.
func (c *Checker) unplaced() {
	if len(c.now.frozen) > 0 {
		return
	}
	for _, name := range sorted(c.now.apps) {
		if a := c.now.apps[name]; len(a.instances) < a.desired() && !a.pending {
			c.broke(Places, "%s has %d of %d instances and is not Pending", name, len(a.instances), a.desired())
		}
	}
}
