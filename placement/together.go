package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// An app whose with_app names others runs only where those are. What is on one node and belongs together is a unit: it leaves the node
// as a whole, in one plan, for one target. While a unit is on its way its parts may for a moment be on two nodes.

// followers lists for each app those whose with_app names it.
func followers(v *projections.Cluster) map[string][]string {
	out := map[string][]string{}
	for _, a := range v.Apps {
		for _, lead := range a.Spec.WithApp {
			if a.Exists() && !a.Removed {
				out[lead] = append(out[lead], a.Name)
			}
		}
	}
	for _, names := range out {
		slices.Sort(names)
	}
	return out
}

// alone lists the apps that the app goes with and that are neither on the node nor on their way there.
func (d demands) alone(v *projections.Cluster, u *usage, n *projections.Node) (out []events.Rejection) {
	for _, name := range d.app.Spec.WithApp {
		if slices.Contains(d.together, name) {
			continue
		}
		if o := v.Apps[name]; o == nil || u.heading(o)[n.ID] <= 0 {
			out = append(out, events.Rejection{Node: n.ID, Code: events.RuleWith, Detail: fmt.Sprintf("%s goes with %s, which is not there", d.app.Name, name)})
		}
	}
	return out
}

func onlyWith(refused []events.Rejection) bool {
	return !slices.ContainsFunc(refused, func(r events.Rejection) bool { return r.Code != events.RuleWith })
}

// leadersFirst orders apps such that what others go with is placed before them.
func (p *planner) leadersFirst(apps []*projections.App) []*projections.App {
	if len(p.follow) == 0 {
		return apps
	}
	depth := map[string]int{}
	var of func(a *projections.App) int
	of = func(a *projections.App) int {
		if d, known := depth[a.Name]; known {
			return d // 0 in a circle, which is refused at the door
		}
		depth[a.Name] = 0
		d := 0
		for _, name := range a.Spec.WithApp {
			if o := p.v.Apps[name]; o != nil {
				d = max(d, 1+of(o))
			}
		}
		depth[a.Name] = d
		return d
	}
	for _, a := range apps {
		of(a)
	}
	apps = slices.Clone(apps)
	slices.SortStableFunc(apps, func(x, y *projections.App) int { return cmp.Compare(depth[x.Name], depth[y.Name]) })
	return apps
}

// awaits says whether something that the app goes with is on its way, or is still to be placed: until it is there, or has nowhere to
// go, nothing is decided of what wants to be with it.
func (p *planner) awaits(a *projections.App) bool {
	for _, name := range a.Spec.WithApp {
		o := p.v.Apps[name]
		if o != nil && o.Exists() && !o.Removed && p.pending[name] == nil && o.Pending == nil && (len(o.Open) > 0 || len(missingSlots(o)) > 0) {
			return true
		}
	}
	return false
}

// company counts the apps that go with an app and that the node's rules allow there: once, twice where there is room for both now, three times
// where they are.
func (p *planner) company(a *projections.App, n *projections.Node) (count int64) {
	for _, name := range p.follow[a.Name] {
		f := p.v.Apps[name]
		if len(p.demands(f).rules(n)) > 0 {
			continue
		}
		switch count++; {
		case p.u.heading(f)[n.ID] > 0:
			count += 2
		case p.joins(f, a, n):
			count++
		}
	}
	return count
}

// joins says whether the node takes an app with another that it goes with.
func (p *planner) joins(f, a *projections.App, n *projections.Node) bool {
	on := p.u.at(n.ID)
	p.u.add(a, on)
	defer p.u.remove(a, on)
	d := p.demands(f)
	d.together = []string{a.Name}
	return len(d.reject(p.v, p.u, n)) == 0
}

// ledBy is the newest event that put something that the app goes with where it is.
func (p *planner) ledBy(a *projections.App) projections.Cause {
	newest := a.Ruled
	for _, name := range a.Spec.WithApp {
		if o := p.v.Apps[name]; o != nil {
			if o.Removed && o.Applied.Seq > newest.Seq {
				newest = o.Applied
			}
			for _, in := range o.SortedInstances() {
				if in.Put.By.Seq > newest.Seq {
					newest = in.Put.By
				}
			}
		}
	}
	return newest
}

// unit lists the instances on the node that leave it together with one of the app, those that others go with first. Instances of
// spread apps are none: they begin and end where they may be.
func (p *planner) unit(a *projections.App, n *projections.Node) (out []*projections.Instance) {
	if n == nil || len(a.Spec.WithApp) == 0 && len(p.follow[a.Name]) == 0 {
		return nil
	}
	on := func(name string) *projections.Instance {
		if o := p.v.Apps[name]; o != nil && o.Spec.Mode != spec.Spread {
			for _, in := range o.Instances {
				if in.Node == n.ID {
					return in
				}
			}
		}
		return nil
	}
	members := map[string]*projections.Instance{}
	todo := []string{a.Name}
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		in := on(name)
		if in == nil || members[name] != nil {
			continue
		}
		members[name] = in
		todo = append(append(todo, p.v.Apps[name].Spec.WithApp...), p.follow[name]...)
	}
	var apps []*projections.App
	for _, name := range sortedKeys(members) {
		apps = append(apps, p.v.Apps[name])
	}
	for _, o := range p.leadersFirst(apps) {
		out = append(out, members[o.Name])
	}
	return out
}

// leads says whether another instance of a unit is there because of the app's.
func (p *planner) leads(a *projections.App, unit []*projections.Instance) bool {
	return slices.ContainsFunc(unit, func(in *projections.Instance) bool { return slices.Contains(p.v.Apps[in.App].Spec.WithApp, a.Name) })
}

func names(unit []*projections.Instance) string {
	var s []string
	for _, in := range unit {
		s = append(s, in.ID)
	}
	return strings.Join(s, ", ")
}

// together plans that a unit leaves a node, to one node that takes all of it ("": the best). m says of the one that has to go why.
// While one of them is on its way already, or refuses to go, it is busy and nothing is planned.
func (p *planner) together(unit []*projections.Instance, from *projections.Node, to string, m events.Move) (moves []Decision, refused []events.Rejection, later time.Time, busy bool) {
	var apps []string
	for _, in := range unit {
		apps = append(apps, in.App)
	}
	for _, in := range unit {
		if a := p.v.Apps[in.App]; p.busy(a, in.ID) || p.vetoed(a, in.ID, m.Cause) {
			return nil, nil, time.Time{}, true
		}
	}
	var best *candidate
	for _, n := range p.nodes {
		if n.ID == from.ID || n.Status == projections.StatusLeft || to != "" && n.ID != to {
			continue
		}
		c, no, until := p.takesAll(unit, apps, from, n)
		refused = append(refused, no...)
		if len(no) > 0 {
			later = earliest(later, until)
		} else if best == nil || better(c, *best) < 0 {
			best = &c
		}
	}
	if best == nil {
		return nil, refused, later, false
	}
	passed := refusalsOf(refused)
	for _, in := range unit {
		a := p.v.Apps[in.App]
		one := m
		one.App, one.Instance, one.SpecRev, one.From, one.FromInc, one.To, one.ToInc = a.Name, in.ID, a.SpecRev, in.Node, in.Inc, best.node.ID, best.node.Inc
		one.Sync = m.Sync && unheld(a.Spec) == ""
		if in.ID != m.Instance {
			one.Why = "goes with " + m.Instance
			if m.Why != "" {
				one.Why += ": " + m.Why
			}
		}
		if pr := a.Proposals[in.ID]; pr != nil && SameMove(pr.Move, one) {
			one.Migration, one.Approved = pr.Migration, pr.Approval.ID
		}
		moves = append(moves, Decision{Move: one, Score: best.score, Refused: passed})
	}
	return moves, refused, time.Time{}, false
}

// takesAll judges a node for all of a unit at once.
func (p *planner) takesAll(unit []*projections.Instance, apps []string, from, n *projections.Node) (c candidate, refused []events.Rejection, later time.Time) {
	c = candidate{node: n}
	on := p.u.at(n.ID)
	for _, in := range unit {
		a := p.v.Apps[in.App]
		d := p.demands(a).leaving(from.ID)
		d.together = apps
		x := p.judge(d, n)
		for _, r := range x.refused {
			if in.App != unit[0].App || len(unit) > 1 {
				r.Detail = in.ID + ": " + r.Detail
			}
			refused = append(refused, r)
		}
		later = earliest(later, x.until)
		c.score += x.score
		c.hot = c.hot || x.hot
		p.u.add(a, on) // the next one finds it there
		defer p.u.remove(a, on)
	}
	return c, refused, later
}

// decideTogether takes all of a unit's moves into the plan, or holds all of them. For what counts moves a unit counts as one: it has to
// be possible at all.
func (p *planner) decideTogether(moves []Decision) {
	var all []events.Hold
	turn := true
	for i, d := range moves {
		holds, waits := p.holds(p.v.Apps[d.App], d.Move)
		for _, h := range holds {
			if i > 0 && (h.Rule == events.HoldConcurrent || h.Rule == events.HoldRate) || slices.ContainsFunc(all, func(had events.Hold) bool { return had.Rule == h.Rule }) {
				continue
			}
			all = append(all, h)
			turn = turn && waits
		}
	}
	for _, d := range moves {
		if a := p.v.Apps[d.App]; len(all) > 0 {
			p.hold(a, d, all, turn)
		} else {
			p.take(a, d)
		}
	}
}

// guardedTogether is guarded for a unit: what holds one of it holds all. The one that was asked for comes first.
func (p *planner) guardedTogether(moves []Decision, asked string) (Decision, *api.Error) {
	slices.SortStableFunc(moves, func(x, y Decision) int { return bit(x.Instance != asked) - bit(y.Instance != asked) })
	first := moves[0]
	for i, d := range moves {
		judged, refusal := p.guarded(p.v.Apps[d.App], d)
		if refusal != nil {
			return Decision{}, refusal
		}
		if i == 0 {
			first = judged
			continue
		}
		first.Along = append(first.Along, judged)
	}
	return first, nil
}

// crowded says whether an instance on the node makes its app lie too unevenly over a label, and fills in why it should move.
func (p *planner) crowded(a *projections.App, n *projections.Node, m *events.Move) bool {
	if len(a.Spec.SpreadOver) == 0 || a.Spec.Mode == spec.Spread {
		return false
	}
	d := p.demands(a)
	why := d.crowds(p.v, p.u, n)
	if why == "" {
		return false
	}
	m.Why = why
	newest := a.Ruled
	m.Reason = events.ReasonConstraintUpdate
	for _, o := range p.nodes {
		if o.Labelled.Seq > newest.Seq {
			newest, m.Reason = o.Labelled, events.ReasonLabelChange
		}
		if o.Joined.Seq > newest.Seq {
			newest, m.Reason = o.Joined, events.ReasonNodeJoin
		}
	}
	m.Cause, m.Correlation = newest.ID, newest.Correlation
	return true
}
