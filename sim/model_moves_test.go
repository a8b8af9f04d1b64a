package sim

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/agent"
	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/services/labeler"
	"github.com/go-cluster/go-cluster/services/migrator"
	"github.com/go-cluster/go-cluster/services/planner"
)

// moves returns everything that can happen next without a fault. Where nothing happens by itself, time goes on.
func (m *model) moves() (out []*model) {
	out = append(out, m.planned(0)...)
	out = append(out, m.migrated(0)...)
	out = append(out, m.labelled()...)
	for i := range m.reports {
		out = append(out, m.arrives(i, false)...)
	}
	for i := range m.nodes {
		out = append(out, m.acts(i, 0)...)
		out = append(out, m.renews(i)...)
	}
	busy := len(out) > 0
	if !busy {
		if next := m.passes(false); next != nil {
			out = append(out, next)
		}
	}
	for i, h := range m.nodes {
		if h.silent {
			out = append(out, m.returns(i))
		}
	}
	return out
}

// fault is a kind of things that go wrong.
type fault string

const (
	faultTime     fault = "time-outs that come too early"
	faultStale    fault = "decisions on old folds"
	faultMessages fault = "reports that are lost or come twice"
	faultNodes    fault = "nodes that are cut off or crash, agents that are started again"
)

var anyFault = []fault{faultTime, faultStale, faultMessages, faultNodes}

// faulty returns what goes wrong next, of some kinds.
func (m *model) faulty(kinds []fault) (out []*model) {
	for _, k := range kinds {
		switch k {
		case faultTime:
			if next := m.passes(true); next != nil {
				out = append(out, next)
			}
		case faultStale:
			for lag := 1; lag <= 2 && lag < len(m.log); lag++ {
				out = append(out, m.planned(lag)...)
				out = append(out, m.migrated(lag)...)
			}
			for i, h := range m.nodes {
				if !h.silent {
					out = append(out, m.acts(i, 1)...)
				}
			}
		case faultMessages:
			for i, r := range m.reports {
				lost := m.then(fmt.Sprintf("the report on order %d is lost", r.OrderSeq))
				lost.reports = slices.Delete(lost.reports, i, i+1)
				out = append(append(out, lost), m.arrives(i, true)...)
			}
		case faultNodes:
			for i, h := range m.nodes {
				if !h.silent {
					out = append(out, m.silenced(i), m.crashes(i), m.restarts(i))
				}
			}
		}
	}
	return out
}

// planned is one append of a planner whose fold lags.
func (m *model) planned(lag int) (out []*model) {
	v := m.fold(len(m.log) - lag)
	ds, _ := planner.Decide(v, m.now(), true)
	for _, d := range ds {
		if next := m.then(fmt.Sprintf("planner, %d behind, on %s", lag, d.Aggregate)); next.compareAndAppend(d, v.Head(d.Aggregate)) {
			return []*model{next}
		}
	}
	return nil
}

// migrated is one append of a migrator whose fold lags.
func (m *model) migrated(lag int) (out []*model) {
	v := m.fold(len(m.log) - lag)
	for _, a := range v.SortedApps() {
		d, _ := migrator.Decide(v, a, m.leases, m.now(), true)
		if d == nil {
			continue
		}
		if next := m.then(fmt.Sprintf("migrator, %d behind, on %s", lag, d.Aggregate)); next.compareAndAppend(*d, v.Head(d.Aggregate)) {
			out = append(out, next)
		}
	}
	return out
}

func (m *model) compareAndAppend(d events.Draft, head events.Head) bool {
	if m.heads[d.Aggregate] != head {
		return false
	}
	m.store(d)
	return true
}

// arrives is a report that reaches a migrator, and comes again when it does so twice.
func (m *model) arrives(i int, twice bool) []*model {
	r := m.reports[i]
	v := m.fold(len(m.log))
	d, done := migrator.Answer(v, r, r.Node, m.now(), true)
	if !done {
		return nil
	}
	next := m.then(fmt.Sprintf("the report of %s on order %d (%s) arrives, again later %t", r.Node, r.OrderSeq, r.Step, twice))
	if !twice {
		next.reports = slices.Delete(next.reports, i, i+1)
	} else if d == nil {
		return nil // nothing new
	}
	if d != nil {
		next.store(*d)
	}
	return []*model{next}
}

// labelled is what the labeler makes of the leases.
func (m *model) labelled() []*model {
	v := m.fold(len(m.log))
	j := labeler.Judge(v, m.sight())
	for _, d := range j.Verdicts {
		next := m.then("labeler: " + string(d.Act) + " " + d.Node)
		switch d.Act {
		case labeler.ActClose:
			l := d.Lease.Lease
			l.State = api.LeaseClosed
			next.lease(d.Node, l)
			next.closings[d.Node] = labeler.Closing{Seq: next.leases[d.Node].Seq, Since: d.Lease.FirstSeen}
		case labeler.ActFree:
			l := d.Lease.Lease
			l.State = api.LeaseFree
			next.lease(d.Node, l)
		default:
			t := labeler.Told(v, d)
			if t == nil {
				continue
			}
			next.store(*t)
		}
		return []*model{next}
	}
	return nil
}

func (m *model) sight() labeler.Sight {
	return labeler.Sight{Pulse: labeler.Pulse{Beating: true, Acked: m.boot}, Now: m.boot, Leases: m.leases, Closings: m.closings}
}

// renews is an agent that tells by its lease what has changed with it.
func (m *model) renews(i int) []*model {
	h := m.nodes[i]
	old := m.leases[h.id].Lease
	if h.silent || old.State != api.LeaseHeld || old.Inc != h.inc() {
		return nil
	}
	l := old
	l.Instances, l.Fenced, l.LogSeq = nil, slices.Clone(h.ended), uint64(len(m.log))
	for _, st := range h.runs {
		l.Instances = append(l.Instances, api.InstanceHealth{ID: st.ID, App: st.App, State: string(st.State), Healthy: st.Healthy, Epoch: st.Epoch, Generation: st.Generation})
	}
	if reflect.DeepEqual(l.Instances, old.Instances) && len(l.Fenced) == len(old.Fenced) {
		return nil
	}
	next := m.then(h.id + " renews its lease")
	next.lease(h.id, l)
	return []*model{next}
}

// passes is time going on until something is due. Where something else could happen first, that is a fault: somebody is late.
func (m *model) passes(busy bool) *model {
	v := m.fold(len(m.log))
	var due time.Duration
	at := func(t time.Duration) {
		if t > m.boot && (due == 0 || t < due) {
			due = t
		}
	}
	_, wake := planner.Decide(v, m.now(), true)
	if !wake.IsZero() {
		at(wake.Sub(modelStart))
	}
	for _, a := range v.SortedApps() {
		if _, wake := migrator.Decide(v, a, m.leases, m.now(), true); !wake.IsZero() {
			at(wake.Sub(modelStart))
		}
	}
	if slices.ContainsFunc(m.nodes, func(h host) bool { return h.silent }) { // all others renew in time
		at(labeler.Judge(v, m.sight()).Due)
	}
	for _, h := range m.nodes {
		if h.silent && len(h.runs) > 0 {
			at(h.until)
		}
	}
	if due == 0 {
		return nil
	}
	if m.ticks == *modelTicks {
		m.cut = true
		return nil
	}
	next := m.then(fmt.Sprintf("time passes to %s, though there is something to do: %t", due, busy))
	next.boot = due + time.Millisecond
	next.ticks++
	for i := range next.nodes {
		next.nodes[i].tick(next)
	}
	return next
}

// tick is what a clock brings about by itself: a connected agent renews its lease, a silent one ends what its lease guards.
func (h *host) tick(m *model) {
	if !h.silent {
		if l := m.leases[h.id]; l.Lease.State == api.LeaseHeld && l.Lease.Inc == h.inc() {
			m.lease(h.id, l.Lease)
			h.until = m.boot + modelTTL - modelMargin
		}
		return
	}
	if m.boot < h.until {
		return
	}
	h.runs = slices.DeleteFunc(h.runs, func(st agent.Status) bool {
		if st.Role == api.RoleActive {
			h.ended = append(h.ended, api.FencedEpoch{App: st.App, Instance: st.ID, Epoch: st.Epoch})
		}
		return st.Role == api.RoleActive
	})
}

func (m *model) silenced(i int) *model {
	next := m.then(m.nodes[i].id + " is cut off")
	next.nodes[i].silent, next.nodes[i].heard = true, len(m.log)
	return next
}

// crashes takes a machine down, and with it everything but its files. It is silent until it returns.
func (m *model) crashes(i int) *model {
	next := m.then(m.nodes[i].id + " crashes")
	h := &next.nodes[i]
	h.silent, h.until, h.runs = true, 0, nil
	return next
}

// restarts is an agent that is killed and started again on its own lease.
func (m *model) restarts(i int) *model {
	next := m.then("the agent of " + m.nodes[i].id + " is started again")
	next.nodes[i].told = map[uint64]bool{}
	return next
}

// returns is a silent node that reaches NATS again: on its own lease when that is still held and it did not reboot, else as a new
// incarnation that runs nothing.
func (m *model) returns(i int) *model {
	h := m.nodes[i]
	l := m.leases[h.id].Lease
	next := m.then(h.id + " is back")
	n := &next.nodes[i]
	if l.State == api.LeaseHeld && l.Inc == h.inc() && h.until > 0 {
		n.silent = false
		n.until = next.boot + modelTTL - modelMargin
		next.lease(h.id, l)
		return next
	}
	n.runs = nil
	if v := next.fold(len(next.log)); v.Nodes[h.id].Inc == h.inc() && v.Nodes[h.id].Status != "lost" {
		reason := events.LostRebooted
		if l.State == api.LeaseClosed {
			reason = events.LostYielded
		}
		next.store(events.Draft{Aggregate: events.Node(h.id), Node: h.id, Data: &events.NodeLost{Node: h.id, Inc: h.inc(), Reason: reason}})
	}
	next.join(n)
	return next
}

// acts is the next deed of an agent whose fold lags; a silent one knows nothing new.
func (m *model) acts(i, lag int) []*model {
	h := m.nodes[i]
	if m.boot >= h.until {
		return nil
	}
	read := len(m.log) - lag
	if h.silent {
		read = h.heard
	}
	v := m.fold(read)
	for _, a := range v.SortedApps() {
		var mine []agent.Status
		for _, st := range h.runs {
			if st.App == a.Name {
				mine = append(mine, st)
			}
		}
		d, seen, ok := agent.Next("model", h.id, a.Name, m.log[:read], agent.Holdings{Inc: h.inc(), Statuses: mine, Results: h.results, Told: h.told, Ended: h.hasEnded})
		if !ok || d.Kind == "" || d.Kind == "report" && h.silent {
			continue
		}
		next := m.then(fmt.Sprintf("%s: %s %s %s", h.id, d.Kind, d.Report.Step, d.Instance))
		n := &next.nodes[i]
		if n.epochs[a.Name] = max(n.epochs[a.Name], seen); n.epochs[a.Name] == 0 {
			delete(n.epochs, a.Name)
		}
		switch d.Kind {
		case "report":
			next.reports = append(next.reports, d.Report)
			n.told[d.Report.OrderSeq] = true
		case "remove":
			n.stop(d.Instance)
		case "resume":
			n.start(d.Run, agent.StateRunning)
		case "end":
			n.ended = append(n.ended, api.FencedEpoch{App: a.Name, Instance: d.Instance, Epoch: d.Epoch})
		case "perform":
			n.perform(d)
		}
		return []*model{next}
	}
	return nil
}

func (h *host) hasEnded(instance string, epoch uint64) bool {
	return slices.ContainsFunc(h.ended, func(f api.FencedEpoch) bool { return f.Instance == instance && f.Epoch == epoch })
}

func (h *host) stop(instance string) {
	h.runs = slices.DeleteFunc(h.runs, func(st agent.Status) bool { return st.ID == instance })
}

func (h *host) start(in agent.Instance, state agent.State) {
	h.stop(in.ID)
	h.runs = append(h.runs, agent.Status{ID: in.ID, App: in.App.Name, State: state, Role: in.Role, Epoch: in.Epoch, Generation: in.Generation, Healthy: state == agent.StateRunning})
}

// perform is what the steps do: an agent without a driver.
func (h *host) perform(d agent.Deed) {
	r := d.Report
	r.Result = &events.Result{}
	fail := func(code, detail string, released bool) {
		r.Failed, r.Code, r.Detail = true, code, detail
		r.Result.Released = released
	}
	in := d.Run
	switch r.Step {
	case events.StepPrepare:
		if in.Role = api.RoleStandby; !slices.ContainsFunc(h.runs, func(st agent.Status) bool { return st.ID == in.ID }) {
			h.start(in, agent.StateReady)
		}
	case events.StepStart:
		h.start(in, agent.StateRunning)
	case events.StepStop, events.StepStepDown:
		h.stop(d.Instance)
	case events.StepPersist:
		if h.epochs[r.App] > d.Epoch {
			fail("stale_epoch", "a higher one was seen", false)
		} else {
			h.epochs[r.App] = d.Epoch
		}
	case events.StepActivate:
		l := d.Leader
		if l.Node != h.id || l.Inc != r.Inc || !l.Activated || l.Ended || h.epochs[r.App] != d.Epoch || h.hasEnded(d.Instance, d.Epoch) {
			h.ended = append(h.ended, api.FencedEpoch{App: r.App, Instance: d.Instance, Epoch: d.Epoch})
			h.stop(d.Instance)
			fail("stale_epoch", "it is over", true)
			break
		}
		in.Role, in.Epoch = api.RoleActive, d.Epoch
		h.start(in, agent.StateRunning)
	}
	h.results[r.OrderSeq] = r
}
