package agent

import (
	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// Deed is what an agent would do next for one app: the worker without its loop, driver and files.
type Deed struct {
	Kind     string // perform, report, remove, resume, stand or end; "" is nothing
	Report   api.StepReport
	Run      Instance
	Instance string
	Epoch    uint64 // of what is to be performed, or of what has ended
	Leader   projections.Leader
}

// Holdings is what an agent has besides the log.
type Holdings struct {
	Inc      string
	Statuses []Status
	Results  map[uint64]api.StepReport // its journal, by order
	Told     map[uint64]bool           // orders whose result was reported
	Ended    func(instance string, epoch uint64) bool
	Follows  map[string]uint64 // by instance: the epoch whose data its copy follows
}

// Next returns what the agent of a node does next for an app whose events it has read so far, and its node's; Report has the order to
// perform, and the result of one to report. ok is false while it may do nothing. seen is the highest epoch of the app in the log.
func Next(cluster, node, app string, read []events.Message, h Holdings) (d Deed, seen uint64, ok bool) {
	a := newAssignment(cluster, node, app)
	for _, m := range read {
		if m.Event.Aggregate == events.App(app) || m.Event.Aggregate == events.Node(node) {
			a.apply(m)
		}
	}
	if s := a.state.Apps[app]; s != nil {
		seen = s.Epoch
	}
	if a.quarantined() != "" || !a.ready(h.Inc, 0) {
		return Deed{}, seen, false
	}
	n := a.next(h.Inc, known{
		statuses: h.Statuses, ended: h.Ended, told: func(o uint64) bool { return h.Told[o] }, defers: func(string) bool { return false }, remains: func(string) bool { return false },
		follows: func(id string) uint64 { return h.Follows[id] },
		result:  func(o uint64) (api.StepReport, bool) { r, ok := h.Results[o]; return r, ok },
	})
	d = Deed{Kind: string(n.kind), Report: n.report, Run: n.run, Instance: n.instance, Epoch: n.epoch}
	if n.kind == deedPerform {
		o := n.order
		d.Run, d.Epoch, d.Leader = o.run, o.epoch, o.leader
		d.Report = api.StepReport{OrderSeq: o.seq, Migration: o.migration, App: app, Instance: o.named, Step: o.step, Node: node, Inc: h.Inc}
	}
	return d, seen, true
}
