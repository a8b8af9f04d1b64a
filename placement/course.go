package placement

import (
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/projections"
)

// How far a course is followed: a roll of a thousand instances is told by its beginning.
const (
	longestCourse = 60  // rounds
	mostCourse    = 500 // moves
)

// Course is what follows from a plan once its moves have ended well, round after round: the rest of a roll, what room was made for. More
// says that it goes on.
type Course struct {
	Rounds []Plan
	More   bool
}

// Follow plans on from where a plan ends, with the code that plans for real. That the moves take time, and so what they do to cooldowns and
// rate limits, is not foreseen.
func Follow(v *projections.Cluster, loads map[string]api.Sight, now time.Time, plan Plan) (c Course) {
	x := alter(v, now)
	x.v.Policy, x.v.Frozen = v.Policy, v.Frozen
	all := 0
	next := plan
	for {
		x.carry(underWay(next))
		if next = Make(x.v, loads, now); len(underWay(next)) == 0 {
			return c
		}
		if all += len(underWay(next)); len(c.Rounds) == longestCourse || all > mostCourse {
			c.More = true
			return c
		}
		c.Rounds = append(c.Rounds, next)
	}
}

// underWay lists the moves of a plan that nothing holds but that others have their turn before.
func underWay(p Plan) []Decision {
	out := p.Moves[:len(p.Moves):len(p.Moves)]
	for _, h := range p.Held {
		if OnlyTurn(h.Holds) {
			out = append(out, h.Decision)
		}
	}
	return out
}
