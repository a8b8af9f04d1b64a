package main

import (
	"slices"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/events"
)

// progress is what the watcher of some orders has seen. It is pure: it turns what the control plane says into lines, each change
// once, and decides when the watching ends.
type progress struct {
	orders     []*watched
	migrations map[string]*seen // by migration id
	apps       map[string]bool  // also watch every migration of these
}

// watched is one order and the words for its end.
type watched struct {
	id    string // "" for an app that is watched itself: there was nothing to order
	kind  string // "drain", "evacuation", "rebalance", "move", "apply", "restart", "remove", "cancel"
	name  string // node, selector or app that it is about
	seq   uint64 // of the command's event
	last  api.OrderReply
	known bool           // last has been asked for
	stays []api.StayView // as it was said last, while the order was open
}

// seen is one migration as told so far.
type seen struct {
	app, instance, from, to string
	told                    map[string]bool // statuses that have had their line
	n                       int             // counts migrations in the order in which they were heard of
	code                    string          // why it failed, when an event told
}

// change is one line of progress.
type change struct {
	subject string // instance, or app while no instance is known
	route   string
	text    string
	tone    tone
}

func newProgress(orders ...*watched) *progress {
	p := &progress{orders: orders, migrations: map[string]*seen{}, apps: map[string]bool{}}
	for _, w := range orders {
		if w.id == "" {
			p.apps[w.name] = true
		}
	}
	return p
}

func (p *progress) order(id string) *watched {
	for _, w := range p.orders {
		if w.id == id && id != "" {
			return w
		}
	}
	return nil
}

func (p *progress) migration(id string) *seen {
	m := p.migrations[id]
	if m == nil {
		m = &seen{told: map[string]bool{}, n: len(p.migrations)}
		p.migrations[id] = m
	}
	return m
}

// event takes one event of the log, in log order.
func (p *progress) event(e eventLine) []change {
	kind, d := e.kind(), e.step()
	for _, m := range d.Moves {
		if p.order(m.Order) != nil || p.order(m.Migration) != nil || p.apps[m.App] {
			p.migration(m.Migration)
		}
	}
	if d.Migration == "" {
		return nil
	}
	if p.order(d.Order) == nil && p.order(d.Migration) == nil && !p.apps[e.App] && p.migrations[d.Migration] == nil {
		return nil
	}
	text, tone := phrase(kind, d)
	if text == "" {
		return nil
	}
	m := p.migration(d.Migration)
	m.app, m.instance, m.from, m.to = e.App, d.Instance, d.FromNode, d.ToNode
	if kind == "placement.migration.failed" {
		m.code = d.Code
	}
	if states := statusOf[kind]; len(states) > 0 {
		if m.told[states[0]] {
			return nil
		}
		for _, st := range states {
			m.told[st] = true
		}
	}
	return []change{m.change(text, tone)}
}

// statusOf has the statuses that an event tells as well as an order's state does. A failed migration may show as cancelled.
var statusOf = map[string][]string{
	"placement.migration.started":   {api.MigrationRunning},
	"placement.migration.held":      {api.MigrationHeld},
	"placement.migration.completed": {api.MigrationCompleted},
	"placement.migration.failed":    {api.MigrationFailed, api.MigrationCancelled},
}

// status takes the state of one of the orders. What an event has already told is not told again.
func (p *progress) status(w *watched, rep api.OrderReply) []change {
	if w.last, w.known = rep, true; len(rep.Stays) > 0 {
		w.stays = rep.Stays
	}
	var out []change
	for _, v := range rep.Migrations {
		m := p.migration(v.ID)
		m.app, m.instance, m.from, m.to = v.App, v.Instance, v.FromNode, v.ToNode
		if m.told[v.Status] || v.Status == api.MigrationPlanned {
			continue
		}
		m.told[v.Status] = true
		out = append(out, m.change(statusPhrase(v)))
	}
	return out
}

func (m *seen) change(text string, t tone) change {
	subject := m.instance
	if subject == "" {
		subject = m.app
	}
	return change{subject: subject, route: route(m.from, m.to), text: text, tone: t}
}

func statusPhrase(v api.MigrationView) (string, tone) {
	switch v.Status {
	case api.MigrationHeld:
		return join("held", v.Detail), warnTone
	case api.MigrationRunning:
		return "started", plainTone
	case api.MigrationCompleted:
		return "completed in " + took(millis(v.DurationMS)), goodTone
	case api.MigrationFailed:
		return join("failed", v.Detail), badTone
	case api.MigrationCancelled:
		return join("cancelled", v.Detail), warnTone
	}
	return v.Status, plainTone
}

// over reports whether there is nothing more to wait for.
func (p *progress) over() bool {
	return !slices.ContainsFunc(p.orders, func(w *watched) bool { return !w.over() })
}

// over reports whether the order has ended, only waits for a place or an approval, or has met a failure that its own repetition will not mend
// while somebody watches.
func (w *watched) over() bool {
	return w.known && (w.last.State != api.OrderOpen || stuck(w.last) || w.gaveUp() || len(awaiting(w.last)) > 0)
}

// awaiting lists the moves of an open order that wait for an operator's approval, when nothing else of it is under way or will be.
func awaiting(rep api.OrderReply) (out []api.MigrationView) {
	if rep.State != api.OrderOpen {
		return nil
	}
	waits := map[string]bool{}
	for _, v := range rep.Migrations {
		switch {
		case v.Awaits == events.HoldApproval:
			out = append(out, v)
			waits[v.Instance], waits[v.App] = true, true
		case openMigration(v):
			return nil
		}
	}
	for _, p := range rep.Stuck {
		waits[p.Instance] = true
	}
	if slices.ContainsFunc(rep.Left, func(left string) bool { return !waits[left] }) {
		return nil
	}
	return out
}

// gaveUp is about apps that do not come up: the planner goes on trying, with growing pauses.
func (w *watched) gaveUp() bool {
	if w.kind != "apply" && w.kind != "restart" || slices.ContainsFunc(w.last.Migrations, openMigration) {
		return false
	}
	return slices.ContainsFunc(latest(w.last.Migrations), func(v api.MigrationView) bool { return v.Status == api.MigrationFailed })
}

// stuck reports whether an open order has only instances left that have nowhere to go, and nothing under way.
func stuck(rep api.OrderReply) bool {
	if rep.State != api.OrderOpen || len(rep.Stuck) == 0 || slices.ContainsFunc(rep.Migrations, openMigration) {
		return false
	}
	return !slices.ContainsFunc(rep.Left, func(left string) bool {
		return !slices.ContainsFunc(rep.Stuck, func(p api.PendingView) bool { return p.Instance == left })
	})
}

func openMigration(v api.MigrationView) bool {
	switch v.Status {
	case api.MigrationCompleted, api.MigrationFailed, api.MigrationCancelled:
		return false
	}
	return true
}

// latest returns the last migration of each instance: a failed one that was tried again and succeeded does not count.
func latest(views []api.MigrationView) []api.MigrationView {
	var out []api.MigrationView
	for _, v := range views {
		i := slices.IndexFunc(out, func(o api.MigrationView) bool { return o.App == v.App && o.Instance == v.Instance })
		if i < 0 {
			out = append(out, v)
		} else {
			out[i] = v
		}
	}
	return out
}

// failed names the instances whose last migration that was seen failed, sorted.
func (p *progress) failed() []string {
	var out []string
	for _, m := range p.migrations {
		if m.told[api.MigrationFailed] && p.lastOf(m) == m {
			out = append(out, m.instance)
		}
	}
	slices.Sort(out)
	return out
}

// lastOf returns the migration of the same instance that was heard of last.
func (p *progress) lastOf(m *seen) *seen {
	last := m
	for _, o := range p.migrations {
		if o.instance == m.instance && o.app == m.app && o.n > last.n {
			last = o
		}
	}
	return last
}
