package placement

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/invariants/planted"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// demands is what an app asks of a node, parsed once for all nodes.
type demands struct {
	app       *projections.App
	selectors []selector
	ports     []string // fixed ones, in order
	from      string   // node that the instance would leave, "" for a further instance
	standby   bool     // for a standby
	pushes    bool     // room that standbys of others hold counts as free: they give way
	together  []string // apps that would go there with it: of those, with_app asks nothing

	takes []map[string]bool // by spread rule: see takers
}

// leaving is what an instance that leaves a node asks of another.
func (d demands) leaving(node string) demands {
	d.from = node
	return d
}

// pushing is what an instance asks of a node for which standbys of others give way.
func (d demands) pushing() demands {
	d.pushes = !d.standby
	return d
}

type selector struct {
	text string
	sel  spec.Selector
	err  error
}

func demandsOf(a *projections.App) demands {
	d := demands{app: a, takes: make([]map[string]bool, len(a.Spec.SpreadOver))}
	for _, text := range a.Spec.Require {
		sel, err := spec.ParseSelector(text)
		d.selectors = append(d.selectors, selector{text, sel, err})
	}
	var fixed []int
	for _, p := range a.Spec.Ports {
		if p != 0 {
			fixed = append(fixed, p)
		}
	}
	slices.Sort(fixed)
	for _, p := range fixed {
		d.ports = append(d.ports, strconv.Itoa(p))
	}
	return d
}

// rules lists every rule of the app that the node itself fails, whatever else runs there: the reasons for which a running
// instance has to leave.
func (d demands) rules(n *projections.Node) []events.Rejection {
	var out []events.Rejection
	no := func(code, format string, args ...any) {
		out = append(out, events.Rejection{Node: n.ID, Code: code, Detail: fmt.Sprintf(format, args...)})
	}
	for _, s := range d.selectors {
		if s.err != nil {
			no(events.RuleLabel, "rule %q does not parse: %v", s.text, s.err)
			continue
		}
		for _, why := range s.sel.Failures(n.Labels) {
			no(events.RuleLabel, "%s", why)
		}
	}
	if d.app.Spec.Process == nil && !n.Facts.Registers(d.app.Name) {
		no(events.RuleCode, "the program there does not register %s", d.app.Name)
	}
	if only := d.app.Spec.OnNodes; len(only) > 0 && !slices.Contains(only, n.ID) {
		no(events.RuleOnNodes, "%s", notAllowed(only))
	}
	for _, so := range d.app.Spec.SpreadOver {
		if _, has := n.Labels[so.Label]; !has {
			no(events.RuleSpread, "no label %s to spread over", so.Label)
		}
	}
	if v := d.app.Spec.VIP; v != nil {
		if why := n.Facts.CannotCarry(v.Interface); why != "" {
			no(events.RuleVIP, "cannot carry %s: %s", v.Address, why)
		}
	}
	return out
}

// NoCarrier lists why none of the nodes that are there can carry an app's address; nil where one can, and where no node is. Those are asked
// that the app's other rules allow: that another one can helps nobody. Where they allow none, all are asked.
func NoCarrier(v *projections.Cluster, a spec.App) []events.Rejection {
	if by := ownAddress(v, *a.VIP); by != "" {
		return []events.Rejection{{Node: by, Code: events.RuleVIP, Detail: a.VIP.Address + " is the node's own address"}}
	}
	var allowed, others []events.Rejection
	can := false // one of the others
	d := demandsOf(&projections.App{Name: a.Name, Spec: a})
	for _, n := range v.SortedNodes() {
		if n.Status != projections.StatusReady {
			continue
		}
		vip, more := d.carries(n)
		switch {
		case len(more) > 0:
			others, can = append(others, vip...), can || len(vip) == 0
		case len(vip) == 0:
			return nil
		default:
			allowed = append(allowed, vip...)
		}
	}
	switch {
	case len(allowed) > 0:
		return allowed
	case can:
		return nil
	}
	return others
}

// carries splits the rules of the app that a node fails: that it cannot carry the app's address, and all others.
func (d demands) carries(n *projections.Node) (vip, others []events.Rejection) {
	for _, r := range append(d.driver(n), d.rules(n)...) {
		if r.Code == events.RuleVIP {
			vip = append(vip, r)
		} else {
			others = append(others, r)
		}
	}
	return vip, others
}

// ownAddress names the node that is reached under an address, "" for none.
func ownAddress(v *projections.Cluster, vip spec.VIP) string {
	p, err := netip.ParsePrefix(vip.Address)
	if err != nil {
		return ""
	}
	for _, n := range v.SortedNodes() {
		if ip, err := netip.ParseAddr(n.Facts.Address); err == nil && ip.Unmap() == p.Addr() && n.Status != projections.StatusLeft {
			return n.ID
		}
	}
	return ""
}

func notAllowed(only []string) string { return "not one of the nodes allowed (" + someOf(only) + ")" }

// someOf names a few and counts the rest: the text is repeated for each node that fails.
func someOf(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// orders lists every standing order that wants instances off the node.
func orders(v *projections.Cluster, n *projections.Node) []events.Rejection {
	var out []events.Rejection
	if n.Draining() {
		out = append(out, events.Rejection{Node: n.ID, Code: events.RuleDraining, Detail: "draining"})
	}
	for _, ev := range openEvacuations(v) {
		if ev.Selector.Matches(n.Labels) {
			out = append(out, events.Rejection{Node: n.ID, Code: events.RuleEvacuated, Detail: "being evacuated (" + ev.Text + ")"})
		}
	}
	return out
}

func openEvacuations(v *projections.Cluster) []*projections.Evacuation {
	var out []*projections.Evacuation
	for _, ev := range v.Evacuations {
		if ev.State == "open" {
			out = append(out, ev)
		}
	}
	slices.SortFunc(out, func(x, y *projections.Evacuation) int { return strings.Compare(x.Order, y.Order) })
	return out
}

// neighbours lists the apps on the node that the app may not share it with, in both directions. Only apps that keep away from
// others are looked at: a node may have thousands that do not.
func neighbours(v *projections.Cluster, a *projections.App, on *spot) []events.Rejection {
	var out []events.Rejection
	for _, other := range a.Spec.AwayFromApp {
		if other != a.Name && on.serving(other) > 0 && v.Apps[other] != nil {
			out = append(out, events.Rejection{Node: on.node, Code: events.RuleAwayFrom, Detail: fmt.Sprintf("%s keeps away from %s, which is there", a.Name, other)})
		}
	}
	for other := range on.wary {
		if o := v.Apps[other]; other != a.Name && o != nil && on.serving(other) > 0 && slices.Contains(o.Spec.AwayFromApp, a.Name) && !slices.Contains(a.Spec.AwayFromApp, other) {
			out = append(out, events.Rejection{Node: on.node, Code: events.RuleAwayFrom, Detail: fmt.Sprintf("%s, which is there, keeps away from %s", other, a.Name)})
		}
	}
	slices.SortFunc(out, func(x, y events.Rejection) int { return strings.Compare(x.Detail, y.Detail) })
	return slices.Compact(out) // a spec may name an app twice
}

// reject lists every rule by which the node cannot take a new instance of the app, nil when it can. u counts what is there.
func (d demands) reject(v *projections.Cluster, u *usage, n *projections.Node) []events.Rejection {
	var out []events.Rejection
	a, on := d.app, u.at(n.ID)
	if !d.standby && on.stand[a.Name] > 0 && settled(a, n.ID) != nil { // the room that it holds is for this
		u.release(a, on)
		defer u.hold(a, on)
	}
	out = append(out, d.unfit(v, n)...)
	there := on.apps[a.Name] > 0
	if there && !(planted.StandbyBeside && d.standby) {
		out = append(out, occupied(a, n))
	}
	out = append(out, namesakes(v, a, n)...)
	out = append(out, neighbours(v, a, on)...)
	out = append(out, d.alone(v, u, n)...)
	out = append(out, d.uneven(v, u, n, d.from)...)
	var room spec.Resources
	if d.pushes {
		room = on.held
	}
	if need, free := a.Spec.Resources.CPU, n.Facts.CPU-on.cpu+room.CPU; need > 0 && need > free {
		out = append(out, noCPU(need, free, n))
	}
	if need, free := a.Spec.Resources.Memory, n.Facts.Memory-on.mem+room.Memory; need > 0 && need > free {
		out = append(out, noMemory(need, free, n))
	}
	if !there {
		if port, by := u.taken(d.ports, on.host); port != "" {
			out = append(out, events.Rejection{Node: n.ID, Code: events.RulePort, Detail: fmt.Sprintf("port %s on %s is taken by %s", port, n.Facts.Address, by)})
		}
	}
	return out
}

// unfit lists every rule by which the node cannot take a new instance of the app whatever runs there.
func (d demands) unfit(v *projections.Cluster, n *projections.Node) (out []events.Rejection) {
	no := func(code, detail string) { out = append(out, events.Rejection{Node: n.ID, Code: code, Detail: detail}) }
	if n.Status != projections.StatusReady {
		no(events.RuleNotReady, "node is "+n.Status)
	}
	if n.Cordoned && !n.Draining() && !planted.IgnoreCordon {
		no(events.RuleCordoned, "cordoned")
	}
	out = append(out, orders(v, n)...)
	out = append(out, d.driver(n)...)
	return append(out, d.rules(n)...)
}

// driver says that the node runs no such programs.
func (d demands) driver(n *projections.Node) []events.Rejection {
	if d.app.Spec.Process == nil || runsProcesses(n) {
		return nil
	}
	return []events.Rejection{{Node: n.ID, Code: events.RuleDriver, Detail: "cannot run process apps"}}
}

func runsProcesses(n *projections.Node) bool { return slices.Contains(n.Facts.Drivers, "process") }

func occupied(a *projections.App, n *projections.Node) events.Rejection {
	return events.Rejection{Node: n.ID, Code: events.RuleOccupied, Detail: "an instance of " + a.Name + " is there or on its way"}
}

func noCPU(need, free spec.CPU, n *projections.Node) events.Rejection {
	return events.Rejection{Node: n.ID, Code: events.RuleCPU, Detail: fmt.Sprintf("needs cpu %s, %s of %s free", need, max(free, 0), n.Facts.CPU)}
}

func noMemory(need, free spec.Bytes, n *projections.Node) events.Rejection {
	return events.Rejection{Node: n.ID, Code: events.RuleMemory, Detail: fmt.Sprintf("needs memory %s, %s of %s free", need, max(free, 0), n.Facts.Memory)}
}

// rejectInPlace lists every rule by which an instance that is on the node cannot be restarted there. That puts nothing new on the
// node, so that what the node was told of new work does not count. u counts what else is there.
func (d demands) rejectInPlace(v *projections.Cluster, u *usage, n *projections.Node) []events.Rejection {
	return slices.DeleteFunc(d.pushing().reject(v, u, n), func(r events.Rejection) bool {
		return r.Code == events.RuleCordoned || r.Code == events.RuleDraining || r.Code == events.RuleEvacuated
	})
}

// resting says until when automatic planning leaves the app off the node after a failure there.
func resting(a *projections.App, node string, now time.Time) (until time.Time, detail string, yes bool) {
	b, ok := a.Backoff[node]
	if !ok || !b.Until.After(now) {
		return time.Time{}, "", false
	}
	return b.Until, b.Detail, true
}

// Judge lists every rule that keeps an admitted migration from going on, nil when none does. Before it has started the spec
// revision counts too; from then on it is pinned to its own.
func Judge(v *projections.Cluster, m *projections.Migration) []events.Rejection {
	return judge(v, m, func(n *projections.Node, f func(*usage)) { f(hostUsage(v, m.Migration, n)) })
}

// Judges returns Judge for many migrations on one state, which may not change meanwhile: what stands where is counted once.
func Judges(v *projections.Cluster) func(*projections.Migration) []events.Rejection {
	var l Ledger
	return func(m *projections.Migration) []events.Rejection { return l.Judge(v, m) }
}

// judge is Judge with what stands on a node handed to a function, but for what the migration itself takes.
func judge(v *projections.Cluster, m *projections.Migration, counted func(*projections.Node, func(*usage))) []events.Rejection {
	a := v.Apps[m.App]
	var out []events.Rejection
	no := func(node, code, format string, args ...any) {
		out = append(out, events.Rejection{Node: node, Code: code, Detail: fmt.Sprintf(format, args...)})
	}
	if a == nil || a.SpecRev == 0 {
		no(m.To, events.RuleSpecRev, "app %s does not exist", m.App)
		return out
	}
	waiting := m.Status == projections.MigrationPlanned
	if waiting && a.SpecRev != m.SpecRev {
		no(m.To, events.RuleSpecRev, "spec revision %d, planned for %d", a.SpecRev, m.SpecRev)
	}
	if a.Removed && m.Kind != events.KindStop {
		no(m.To, events.RuleSpecRev, "app %s was removed", m.App)
	}
	in := a.Moved(m)
	switch {
	case m.Kind == events.KindPlace && waiting && in != nil:
		no(in.Node, events.RuleMoved, "%s is already on %s", m.Instance, in.Node)
	case m.Kind != events.KindPlace && in == nil:
		no(m.From, events.RuleMoved, "%s is not on %s any more", m.Instance, m.From)
	case m.Kind != events.KindPlace && waiting && (in.Node != m.From || in.Inc != m.FromInc):
		no(m.From, events.RuleMoved, "%s is on %s (%s)", m.Instance, in.Node, in.Inc)
	}
	for _, o := range a.SortedOpen() {
		if o.Migration != m.Migration && o.Status == projections.MigrationRunning && o.Standby() == m.Standby() && (a.Spec.Mode == spec.Singleton || o.Instance == m.Instance) {
			no(m.To, events.RuleLocked, "migration %s of %s is open", o.Migration, o.Instance)
		}
	}
	for _, source := range sortedKeys(v.Frozen) { // safety binds all; operator and policy neither recovery nor what was forced
		if m.Kind != events.KindStop && (source == events.FreezeSafety || m.Class != events.ClassRecovery && !m.Forced) {
			no(m.To, events.RuleFrozen, "moves are frozen (%s: %s)", source, v.Frozen[source])
		}
	}
	out = append(out, unapproved(v, m)...)
	if a.Spec.Mode == spec.Singleton && !m.Standby() && m.Kind == events.KindPlace && waiting && a.Leader != nil && !a.Leader.Ended {
		no(a.Leader.Node, events.RuleLeader, "epoch %d of %s on %s has not ended", a.Leader.Epoch, a.Name, a.Leader.Node)
	}
	if m.To == "" {
		return out
	}
	n := v.Nodes[m.To]
	if n == nil {
		no(m.To, events.RuleNotReady, "no such node")
		return out
	}
	if n.Inc != m.ToInc {
		no(m.To, events.RuleInc, "the agent there has joined anew since (%s, planned for %s)", n.Inc, m.ToInc)
	}
	refuse := demands.reject
	if m.Kind == events.KindInPlace {
		refuse = demands.rejectInPlace
	}
	d := demandsOf(a)
	d.standby = m.Standby()
	counted(n, func(u *usage) { out = append(out, refuse(d.pushing(), v, u, n)...) })
	return out
}

// SoftViolations counts the preferences of the app that its instances do not meet.
func SoftViolations(v *projections.Cluster, a *projections.App) int {
	count := 0
	for _, in := range a.Instances {
		n := v.Nodes[in.Node]
		if n == nil {
			continue
		}
		for _, p := range a.Spec.Prefer {
			if p.Weight > 0 && !prefers(p, n) || p.Weight < 0 && prefers(p, n) {
				count++
			}
		}
	}
	return count
}

func prefers(p spec.Preference, n *projections.Node) bool {
	if p.Node != "" {
		return p.Node == n.ID
	}
	k, val, _ := strings.Cut(p.Label, "=")
	got, ok := n.Labels[k]
	return ok && got == val
}
