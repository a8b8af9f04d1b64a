package engine

import (
	"fmt"
	"math"

	"github.com/go-cluster/go-cluster/events"
)

// budget is the disruption budget of an app over the waves: so many of its wanted instances may be missing or moving at once, and while one is
// stopped for good so many have to serve. A move starts the new instance first, as far as those are concerned.
type budget struct {
	most   int // 0: any number
	least  int
	serve  int         // instances that serve, and those under way
	stops  map[int]int // wave → instances that are stopped in it
	want   int
	down   int         // instances that are missing and that no step so far has brought back
	back   map[int]int // wave → instances that come back in it
	moving map[int]int // wave → instances that move in it
}

// budgets returns those of the apps that have one; nil for none.
func (pl *planner) budgets() map[int32]*budget {
	var out map[int32]*budget
	for a := range pl.p.Apps {
		app := &pl.p.Apps[a]
		if app.Spec.MaxUnavail <= 0 && app.Spec.Migration.MinHealthy <= 0 {
			continue
		}
		b := &budget{most: app.Spec.MaxUnavail, least: app.Spec.Migration.MinHealthy, want: app.Desired, back: map[int]int{}, moving: map[int]int{}, stops: map[int]int{}}
		serving := 0
		for _, u := range app.Units {
			unit := &pl.p.Units[u]
			switch {
			case unit.Moving:
				b.moving[1]++
				serving++
			case unit.Node != none && !pl.gone(unit.Node):
				serving++
			}
		}
		b.down, b.serve = max(0, app.Desired-serving), serving
		if out == nil {
			out = map[int32]*budget{}
		}
		out[int32(a)] = b
	}
	return out
}

// gone says whether what was on the node serves no more.
func (pl *planner) gone(n int32) bool {
	return pl.p.Nodes[n].Status == "lost" || pl.p.Nodes[n].Status == "left"
}

// brings says whether a step brings back what is missing.
func (s *step) brings() bool {
	return s.to != none && (s.from == none || s.class == events.ClassRecovery)
}

// disrupts says whether an instance that serves is taken away for a while: recovery and the end of what is too much take none.
func disrupts(s *step) bool {
	return s.from != none && s.class != events.ClassRecovery && s.reason != events.ReasonScale
}

// exhausted says by which rule no wave has room for a step, and why; "" if one has.
func (b *budget) exhausted(s *step) (rule, why string) {
	switch serve := b.serving(math.MaxInt); {
	case b.most > 0 && b.down >= b.most:
		return events.HoldUnavailable, fmt.Sprintf("%d of %d do not serve, at most %d may", b.down, b.want, b.most)
	case s.to == none && serve-1 < b.least:
		return events.HoldMinHealthy, fmt.Sprintf("%d serve and stay, %d must", serve, b.least)
	}
	return "", ""
}

// serving counts those that serve in a wave, and are not stopped in any.
func (b *budget) serving(w int) int {
	serve := b.serve - b.moving[w]
	for _, n := range b.stops {
		serve -= n
	}
	for at, n := range b.back {
		if at < w {
			serve += n
		}
	}
	return serve
}

// first is the first wave from w on that has room for a step which is not exhausted.
func (b *budget) first(s *step, w int) int {
	for {
		missing := b.down + b.moving[w] + 1
		for at, n := range b.back {
			if at >= w {
				missing += n
			}
		}
		few := (s.to == none || b.stops[w] > 0) && b.serving(w)-1 < b.least
		if (b.most == 0 || missing <= b.most) && !few {
			return w
		}
		w++
	}
}

// count takes a step into account. One that brings back more than is missing replaces nothing.
func (b *budget) count(s *step, w int) {
	if disrupts(s) && s.to == none {
		b.stops[w]++
	}
	switch {
	case s.brings() && b.down > 0:
		b.down--
		b.back[w]++
	case disrupts(s) && s.to == none: // it is stopped, and nothing takes its place
		b.down++
	case disrupts(s):
		b.moving[w]++
	}
}
