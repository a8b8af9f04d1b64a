package placement

import "github.com/go-cluster/go-cluster/projections"

// watch is what an app of which a pass had something to say waits for. One of which it had nothing to say stays as it is until
// it changes itself, or a node that it is on, or an app that it is tied to.
type watch int

const (
	forAnything watch = iota // it is looked at in each pass
	forTurn                  // it has a place, and too many are being placed
	forMove                  // it has another place, and too many move
	forNodes                 // no node can take it, whatever else runs there
)

// watch notes what an app waits for.
func (p *planner) watch(a *projections.App, w watch) {
	if was, noted := p.watched[a.Name]; noted && was != w {
		w = forAnything
	}
	p.watched[a.Name] = w
}

// ties lists the apps that an app's rules name.
func ties(a *projections.App) []string {
	return append(append([]string(nil), a.Spec.AwayFromApp...), a.Spec.WithApp...)
}
