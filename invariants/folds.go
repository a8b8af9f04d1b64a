package invariants

import (
	"fmt"
	"slices"
)

// Belief is one thing that a reader of the log holds true, as text: two readers agree when they hold the same.
type Belief string

// BeliefOfNode is what is believed of a node that is known.
func BeliefOfNode(id, status, inc string, cordoned, draining bool, labels map[string]string) Belief {
	return Belief(fmt.Sprintf("node %s is %s as %s, cordoned %t, draining %t, with %v", id, status, inc, cordoned, draining, labels))
}

// BeliefOfApp is what is believed of an app that exists.
func BeliefOfApp(name string, rev, generation uint64, pending bool) Belief {
	return Belief(fmt.Sprintf("app %s is at revision %d, generation %d, pending %t", name, rev, generation, pending))
}

// BeliefOfInstance is where an instance is believed to be.
func BeliefOfInstance(id, node, inc string) Belief {
	return Belief(fmt.Sprintf("%s is on %s (%s)", id, node, inc))
}

// BeliefOfStandby is where a standby of an app is believed to be, whatever it is called: what a move leaves is given a name by who folds.
func BeliefOfStandby(app, node, inc string) Belief {
	return Belief(fmt.Sprintf("a standby of %s is on %s (%s)", app, node, inc))
}

// BeliefOfLeader is who is believed to hold an app's newest epoch.
func BeliefOfLeader(app string, epoch uint64, node, inc string, activated, ended bool) Belief {
	return Belief(fmt.Sprintf("%s is led at epoch %d by %s (%s), activated %t, ended %t", app, epoch, node, inc, activated, ended))
}

// BeliefOfMove is that a migration is open.
func BeliefOfMove(id string) Belief { return Belief("migration " + id + " is open") }

// BeliefOfFreeze is that a source has moves frozen.
func BeliefOfFreeze(source string) Belief { return Belief("moves are frozen by " + source) }

// beliefs are what the log read so far makes the checker believe.
func (w *world) beliefs() []Belief {
	var out []Belief
	for id, n := range w.nodes {
		if n.status != "" {
			out = append(out, BeliefOfNode(id, n.status, n.inc, n.cordoned, n.drain != "", n.labels))
		}
	}
	for name, a := range w.apps {
		if a.rev == 0 || a.removed && len(a.instances)+len(w.open(name)) == 0 {
			continue
		}
		out = append(out, BeliefOfApp(name, a.rev, a.generation, a.pending))
		for id, in := range a.instances {
			out = append(out, BeliefOfInstance(id, in.node, in.inc))
		}
		for _, s := range a.standbys {
			out = append(out, BeliefOfStandby(name, s.node, s.inc))
		}
		if l := a.leader; l != nil {
			out = append(out, BeliefOfLeader(name, l.epoch, l.node, l.inc, l.activated, l.ended))
		}
	}
	for id := range w.moves {
		out = append(out, BeliefOfMove(id))
	}
	for source := range w.frozen {
		out = append(out, BeliefOfFreeze(source))
	}
	return out
}

// Believed holds what another reader believes against the log read so far: call it only when it has read the log to the same event.
func (c *Checker) Believed(theirs []Belief) []Violation {
	c.found, c.seq = nil, 0
	mine := c.now.beliefs()
	slices.Sort(mine)
	theirs = slices.Sorted(slices.Values(theirs))
	for len(mine)+len(theirs) > 0 {
		switch {
		case len(mine) == 0 || len(theirs) > 0 && theirs[0] < mine[0]:
			c.broke(Folds, "a fold has it that %s, and the log does not", theirs[0])
			theirs = theirs[1:]
		case len(theirs) == 0 || mine[0] < theirs[0]:
			c.broke(Folds, "the log has it that %s, and a fold does not", mine[0])
			mine = mine[1:]
		default:
			mine, theirs = mine[1:], theirs[1:]
		}
	}
	return c.found
}
