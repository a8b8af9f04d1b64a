package invariants

import (
	"maps"
	"time"

	"github.com/go-cluster/go-cluster/events"
)

// A standby has a node and a copy, and nothing else: whoever reads the log sees it placed, promoted by a grant to its node, and ended.

// standing is what the migrations of standbys have to go through.
var standing = map[string][]leg{
	events.KindPlace: {{events.StepPrepare, false, last}},
	events.KindStop:  {{events.StepStop, true, last}},
}

// moved returns what a move is about as it stands, nil where it is not there.
func (a *app) moved(m events.Move) *instance {
	if m.Standby() {
		a.named(m)
		return a.standbys[m.Instance]
	}
	return a.instances[m.Instance]
}

// kept is what a standby is called that a move has left behind: its id is first told when something is done with it.
func kept(node string) string { return "(kept) " + node }

// named gives the standby its id that was left behind where a move takes one from.
func (a *app) named(m events.Move) {
	if s := a.standbys[kept(m.From)]; m.From != "" && s != nil && s.node == m.From && a.standbys[m.Instance] == nil {
		delete(a.standbys, kept(m.From))
		a.standbys[m.Instance] = s
	}
}

func (a *app) standbyAt(node string) (id string) {
	for id, s := range a.standbys {
		if s.node == node {
			return id
		}
	}
	return ""
}

// advanceStandby is what an event of a standby's migration does to it.
func (w *world) advanceStandby(a *app, m *move, e *events.Event) {
	placed := m.Kind() == events.KindPlace
	a.named(m.Move)
	switch e.Data.(type) {
	case *events.MigrationStarted:
		if m.started = true; placed {
			a.standbys[m.Instance] = &instance{node: m.To, inc: m.ToInc, since: e.Stored}
		}
	case *events.MigrationCompleted:
		if placed {
			a.standbys[m.Instance] = &instance{node: m.To, inc: m.ToInc, since: e.Stored, healthy: true}
		} else {
			delete(a.standbys, m.Instance)
		}
	case *events.MigrationFailed:
		if s := a.standbys[m.Instance]; m.started && placed && s != nil && s.inc == m.ToInc {
			delete(a.standbys, m.Instance)
		}
	}
}

// promote makes room for the instance on a node, and leaves a standby where it was if the move says so and the node is there.
func (w *world) promote(a *app, m *move, node string, at time.Time) {
	id := a.standbyAt(node)
	delete(a.standbys, id)
	was := a.instances[m.Instance]
	if !m.Keep || was == nil || was.node == node || a.standbyAt(was.node) != "" {
		return
	}
	if n := w.nodes[was.node]; n == nil || n.inc != was.inc || n.status == "lost" || n.status == "left" {
		return
	}
	if id == "" || id == kept(node) {
		id = kept(was.node)
	}
	a.standbys[id] = &instance{node: was.node, inc: was.inc, since: at, healthy: true}
}

// standbysOver ends the standbys that is is true of.
func (w *world) standbysOver(is func(node, inc string) bool) {
	for _, a := range w.apps {
		maps.DeleteFunc(a.standbys, func(_ string, s *instance) bool { return is(s.node, s.inc) })
	}
}

// standby holds an event of a standby's migration against what a standby is.
func (c *Checker) standby(e *events.Event, m *move) {
	switch d := e.Data.(type) {
	case *events.LeadershipGranted:
		c.broke(Standbys, "migration %s of the standby %s grants epoch %d", m.Migration, m.Instance, d.Epoch)
	case *events.MigrationStarted:
		a := c.now.app(m.App)
		if m.To == "" {
			return
		}
		if other := a.standbyAt(m.To); other != "" && other != m.Instance {
			c.broke(Standbys, "the standby %s is placed on %s, where %s is", m.Instance, m.To, other)
		}
		for id, in := range a.instances {
			if in.node == m.To {
				c.broke(Standbys, "the standby %s is placed on %s, where %s is", m.Instance, m.To, id)
			}
		}
	}
}
