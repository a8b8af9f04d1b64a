package auditor

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// audited are the types that an audit asks for: the six that were promised, whatever else a person or a rule has decided, and what was lost.
var audited = map[events.Type]bool{
	"placement.migration.started":    true,
	"placement.migration.completed":  true,
	"placement.migration.failed":     true,
	"placement.constraint.invalid":   true,
	"placement.rebalance.triggered":  true,
	"node.labels.updated":            true,
	"placement.constraint.satisfied": true, "placement.migration.cancel_requested": true, "placement.rebalance.completed": true,
	"placement.migration.planned": true, "placement.migration.approved": true, "placement.migration.denied": true, "placement.migration.expired": true,
	"placement.migration.cancelled": true,
	"placement.evacuation.started":  true, "placement.evacuation.completed": true, "placement.evacuation.cancelled": true, "placement.request.refused": true,
	"node.membership.joined": true, "node.membership.suspected": true, "node.membership.lost": true, "node.membership.left": true,
	"node.scheduling.cordoned": true, "node.scheduling.uncordoned": true,
	"node.drain.started": true, "node.drain.completed": true, "node.drain.failed": true, "node.drain.cancelled": true,
	"app.spec.applied": true, "app.placement.updated": true, "app.spec.removed": true, "app.restart.requested": true, "placement.data.lost": true,
	"cluster.policy.updated": true, "cluster.moves.frozen": true, "cluster.moves.unfrozen": true, "audit.invariant.violated": true,
}

// entry is one stored message and whom it concerns.
type entry struct {
	seq     uint64
	line    jsontext.Value // as stored, plus its sequence
	at      place
	audited bool
	apps    []string
	nodes   []string
	chains  []string // ids, causes and correlations that it is part of
}

// place is where a message is stored.
type place struct {
	agg    events.Aggregate
	typ    events.Type
	target string
	odd    string // the subject of what is no event
	stored time.Time
}

// subject is the inverse of taking it apart; a log has few different ones, so that they are not held in memory.
func (p place) subject(s events.Subjects) string {
	if p.odd != "" {
		return p.odd
	}
	return s.Event(p.agg, p.typ, p.target)
}

// filter names what is wanted; what is empty does not matter.
type filter struct{ app, node, correlation string }

func (e *entry) concerns(f filter) bool {
	return (f.app == "" || slices.Contains(e.apps, f.app)) && (f.node == "" || slices.Contains(e.nodes, f.node)) &&
		(f.correlation == "" || slices.Contains(e.chains, f.correlation))
}

func newEntry(m events.Message) entry {
	e := &m.Event
	out := entry{seq: e.Seq, at: place{agg: e.Aggregate, typ: e.Type, target: e.Target, stored: e.Stored}}
	if m.Err != nil {
		out.at.odd = m.Err.Subject
		at, _ := events.ParseEventSubject(m.Err.Subject)
		out.line = malformedLine(m.Err, at.Type, e.Stored)
		out.aggregate(at.Aggregate)
		return out
	}
	raw := bytes.TrimRight(m.Raw, " \t\r\n")
	out.line = fmt.Appendf(slices.Clip(bytes.Clone(raw[:len(raw)-1])), `,"seq":%d}`, e.Seq)
	out.audited = audited[e.Type]
	out.aggregate(e.Aggregate)
	out.add(&out.apps, e.App)
	out.add(&out.nodes, e.Node, e.Target)
	out.add(&out.chains, e.ID, e.Cause, e.Correlation)
	switch d := e.Data.(type) {
	case *events.PlanAdmitted:
		for _, mv := range d.Moves {
			out.add(&out.apps, mv.App)
			out.add(&out.nodes, mv.From, mv.To)
			out.add(&out.chains, mv.Cause, mv.Correlation)
		}
	case *events.RebalanceTriggered:
		out.add(&out.apps, d.Apps...)
		for _, mv := range d.Moves {
			out.add(&out.apps, mv.App)
			out.add(&out.nodes, mv.From, mv.To)
		}
	case *events.InstanceUnhealthy:
		out.add(&out.nodes, d.Node)
	case *events.DataLost:
		out.add(&out.nodes, d.Node)
	case *events.InstanceHealthy:
		out.add(&out.nodes, d.Node)
	case *events.InstanceFailed:
		out.add(&out.nodes, d.Node)
	case *events.InstanceStopped:
		out.add(&out.nodes, d.Node)
	case *events.HookAnswered:
		out.add(&out.nodes, d.Node)
	case interface{ Reference() events.Ref }: // of a migration, or of what proposes one
		r := d.Reference()
		out.add(&out.nodes, r.FromNode, r.ToNode)
	}
	return out
}

func (e *entry) aggregate(a events.Aggregate) {
	switch a.Kind {
	case events.KindApp:
		e.add(&e.apps, a.ID)
	case events.KindNode:
		e.add(&e.nodes, a.ID)
	}
}

func (e *entry) add(to *[]string, names ...string) {
	for _, n := range names {
		if n != "" && !slices.Contains(*to, n) {
			*to = append(*to, n)
		}
	}
}

// malformedLine stands for a message that is no event. What was stored may not even be JSON, so only its place and the reason are
// shown.
func malformedLine(e *events.MalformedError, t events.Type, stored time.Time) jsontext.Value {
	line, err := json.Marshal(struct {
		TS        time.Time `json:"ts"`
		Category  string    `json:"category"`
		Action    string    `json:"action"`
		Subject   string    `json:"subject"`
		Malformed string    `json:"malformed"`
		Seq       uint64    `json:"seq"`
	}{stored.UTC(), t.Category(), t.Action(), e.Subject, e.Reason, e.Seq}, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return fmt.Appendf(nil, `{"malformed":"cannot be shown","seq":%d}`, e.Seq)
	}
	return line
}

// record shows an entry as an audit record.
func (e *entry) record() (api.AuditRecord, error) {
	var r struct {
		TS       time.Time      `json:"ts"`
		Category string         `json:"category"`
		Action   string         `json:"action"`
		App      string         `json:"app"`
		Node     string         `json:"node"`
		Actor    string         `json:"actor"`
		Cause    string         `json:"cause"`
		Data     jsontext.Value `json:"data"`
	}
	if err := json.Unmarshal(e.line, &r); err != nil {
		return api.AuditRecord{}, fmt.Errorf("event %d: %w", e.seq, err)
	}
	return api.AuditRecord{TS: r.TS, Category: r.Category, Action: r.Action, App: r.App, Node: r.Node, Actor: r.Actor, Cause: r.Cause, Seq: e.seq, Data: r.Data}, nil
}
