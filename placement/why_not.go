package placement

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// WhyNot says why an app does not run on a node: every rule that the node fails, every guardrail that would hold a move there, and the
// smallest change that would allow it; or, where nothing stands against it, why the planner does not want it.
func WhyNot(v *projections.Cluster, loads map[string]api.Sight, now time.Time, app, node, instance string) (api.WhyNotReply, *api.Error) {
	out := api.WhyNotReply{App: app, Node: node, Seq: v.Seq, Rejections: []events.Rejection{}, Holds: []events.Hold{}, HoldsAsked: []events.Hold{}, Relax: []events.Relaxation{}, Scores: []api.NodeScore{}}
	a, n := v.Apps[app], v.Nodes[node]
	switch {
	case a == nil || !a.Exists() || a.Removed:
		return out, api.Refuse(api.CodeNotFound, "why-not %s: no such app", app)
	case n == nil || !n.Known():
		return out, api.Refuse(api.CodeNotFound, "why-not %s: no node %s", app, node)
	case instance != "" && a.Instances[instance] == nil:
		return out, api.Refuse(api.CodeNotFound, "why-not %s: it has no instance %s", app, instance)
	}
	for _, in := range a.SortedInstances() {
		if in.Node == node {
			out.Instance, out.At, out.Allowed = in.ID, node, true
			out.Why = fmt.Sprintf("%s is there (%s); why: go-cluster app why %s", in.ID, in.State, app)
			return out, nil
		}
	}
	for _, m := range a.SortedOpen() {
		if m.To == node {
			out.Instance, out.At, out.Allowed = m.Instance, m.From, true
			out.Why = fmt.Sprintf("%s is on its way there (%s, %s)", m.Instance, m.Migration, m.Status)
			return out, nil
		}
	}
	standby := ""
	if s := a.StandbyAt(node); s != nil {
		out.Standby = s.ID
		standby = fmt.Sprintf("%s is there as a standby (%s)", s.ID, s.State)
		if at := loads[node].Data[app].Position; at != "" {
			standby += ", its copy at " + at
		}
		standby += ": the instance goes on there when it moves or is lost; "
	}
	w := whyNot{v: v, loads: loads, now: now, a: a, n: n, p: newPlanner(v, loads, now)}
	w.in = w.candidate(instance)
	if w.in != nil {
		out.Instance, out.At = w.in.ID, w.in.Node
	}
	out.Rejections = append(out.Rejections, w.p.judge(w.p.demands(a).leaving(out.At).pushing(), n).refused...)
	out.Holds, out.HoldsAsked = w.holds(events.TriggerAutomatic), w.holds(events.TriggerManual)
	if len(out.Rejections) > 0 {
		out.Relax = w.relax()
		out.Why = standby + fmt.Sprintf("%s refuses %s: %s", node, app, details(out.Rejections))
		return out, nil
	}
	out.Allowed = true
	out.Scores = w.scores()
	out.Why = standby + w.unwanted(out)
	return out, nil
}

type whyNot struct {
	v     *projections.Cluster
	loads map[string]api.Sight
	now   time.Time
	a     *projections.App
	n     *projections.Node
	in    *projections.Instance // that would be there instead, nil for a further one
	p     *planner
}

func (w *whyNot) at() string {
	if w.in == nil {
		return ""
	}
	return w.in.Node
}

// candidate is the instance that would go to the node: the one that is named, else the one that is where it is worst off.
func (w *whyNot) candidate(instance string) *projections.Instance {
	if instance != "" || len(w.a.Instances) < w.a.Desired() || w.a.Spec.Mode == spec.Spread {
		return w.a.Instances[instance]
	}
	var worst *projections.Instance
	for _, in := range w.a.SortedInstances() {
		if v := w.v.Nodes[in.Node]; v != nil && (worst == nil || w.score(v).Total < w.score(w.v.Nodes[worst.Node]).Total) {
			worst = in
		}
	}
	return worst
}

// holds lists the guardrails that would hold its move there now: by itself, because a label changed, or because somebody asks.
func (w *whyNot) holds(trigger string) []events.Hold {
	m := events.Move{App: w.a.Name, SpecRev: w.a.SpecRev, To: w.n.ID, ToInc: w.n.Inc, Trigger: trigger, Class: events.ClassForced, Reason: events.ReasonLabelChange}
	if trigger == events.TriggerManual {
		m.Reason = events.ReasonManual
	}
	if w.in != nil {
		m.Instance, m.From, m.FromInc = w.in.ID, w.in.Node, w.in.Inc
	}
	hs, _ := newPlanner(w.v, w.loads, w.now).holds(w.a, m)
	if hs == nil {
		return []events.Hold{}
	}
	return hs
}

// relax finds the smallest changes with which the node would take the app, and no app is left without a place that has one.
func (w *whyNot) relax() []events.Relaxation {
	out := []events.Relaxation{}
	pending := func(v *projections.Cluster, now time.Time) map[string]bool {
		apps := map[string]bool{}
		for _, p := range Make(v, w.loads, now).Pending {
			apps[p.App] = true
		}
		return apps
	}
	before := pending(alter(w.v, w.now).v, w.now)
	p := newPlanner(alter(w.v, w.now).v, w.loads, w.now)
	var options []option
	for _, drop := range []bool{false, true} {
		if cs, ok := p.lifts(p.demands(w.a).leaving(w.at()), w.n, drop); ok && len(cs) > 0 {
			options = append(options, option{w.n.ID, cs})
		}
	}
	smallest(options)
	for _, o := range slices.CompactFunc(options, func(x, y option) bool { return x.text() == y.text() }) {
		x := alter(w.v, w.now).with(o.changes)
		again := newPlanner(x.v, w.loads, x.now)
		if len(again.judge(again.demands(x.v.Apps[w.a.Name]).leaving(w.at()), x.v.Nodes[w.n.ID]).refused) > 0 {
			continue
		}
		if after := pending(x.v, x.now); slices.ContainsFunc(sortedKeys(after), func(app string) bool { return !before[app] }) {
			continue
		}
		out = append(out, o.relaxation())
	}
	return out
}

// score is how good a node is for the app, and what of; where an instance of it is already, that does not count against itself.
func (w *whyNot) score(n *projections.Node) api.NodeScore {
	s := api.NodeScore{Node: n.ID, Instances: w.p.u.at(n.ID).count}
	for _, in := range w.a.Instances {
		if in.Node == n.ID {
			s.Instances--
			s.Here = true
			break
		}
	}
	for _, p := range w.a.Spec.Prefer {
		if prefers(p, n) {
			s.Preference += p.Weight
		}
	}
	l := w.loads[n.ID]
	s.Load = max(l.CPU, l.Memory)
	s.Failed = w.a.FailedLately(n.ID, w.now)
	s.Total = int64(scorePreference*s.Preference) - int64(scoreInstance*s.Instances) - int64(scoreLoad*s.Load) - scoreFailed*int64(min(s.Failed, 10))
	return s
}

// scores lists the nodes of the app and the one that is asked for, the best first.
func (w *whyNot) scores() []api.NodeScore {
	out := []api.NodeScore{w.score(w.n)}
	for _, in := range w.a.SortedInstances() {
		if n := w.v.Nodes[in.Node]; n != nil && len(out) < 20 {
			out = append(out, w.score(n))
		}
	}
	slices.SortStableFunc(out, func(x, y api.NodeScore) int {
		if x.Total != y.Total {
			return bit(x.Total < y.Total) - bit(x.Total > y.Total)
		}
		return strings.Compare(x.Node, y.Node)
	})
	return out
}

// unwanted says why the planner wants nothing of it though no rule stands against it.
func (w *whyNot) unwanted(out api.WhyNotReply) string {
	a, there := w.a, w.score(w.n)
	plan := Make(w.v, w.loads, w.now)
	for _, d := range plan.Moves {
		if d.App == a.Name && d.To == w.n.ID {
			return fmt.Sprintf("%s is about to go there: %s", d.Instance, d.Reason)
		}
	}
	for _, h := range plan.Held {
		if h.App == a.Name && h.To == w.n.ID {
			return fmt.Sprintf("%s is to go there, and is held: %s", h.Instance, projections.HoldsLine(h.Holds))
		}
	}
	if frozen, why := w.v.Frozen[events.FreezeSafety]; why {
		return fmt.Sprintf("no rule stands against it; nothing is planned while moves are frozen (safety: %s)", frozen)
	}
	switch {
	case a.Desired() == 0 && a.Spec.Mode != spec.Spread:
		return fmt.Sprintf("no rule stands against it, but %s wants no instance", a.Name)
	case w.in == nil:
		return "no rule stands against it, and it is not planned there now"
	}
	here := w.score(w.v.Nodes[w.in.Node])
	margin := there.Total - here.Total
	why := fmt.Sprintf("no rule stands against it, and none makes %s leave %s", w.in.ID, w.in.Node)
	switch {
	case margin < 0:
		why += fmt.Sprintf(": %s scores %d, %s %d", here.Node, here.Total, there.Node, there.Total)
	case margin == 0:
		why += fmt.Sprintf(": both score %d", here.Total)
	default:
		why += fmt.Sprintf("; %s scores %d more, but what runs stays until a rule, an order or a rebalance moves it", there.Node, margin)
		switch auto := w.v.Policy.AutoRebalance; {
		case !auto.Enabled:
			why += " (automatic rebalancing is off)"
		case slices.Contains(auto.ExcludeApps, a.Name):
			why += " (automatic rebalancing leaves it out)"
		default:
			m := Imbalance(w.v)
			why += fmt.Sprintf(" (automatic rebalancing acts above an imbalance of %.2f, it is %.2f)", auto.Threshold, m.Imbalance)
		}
	}
	return why
}
