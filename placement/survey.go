package placement

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// survey is every node as a target for instances of one app, judged on what stands and is decided so far.
type survey struct {
	demands demands
	nodes   []surveyed // ordered by id
}

// surveyed is the verdict on one node: why it cannot take an instance, or how good it would be.
type surveyed struct {
	candidate
	refused []events.Rejection
	until   time.Time // refused only because it rests until then; zero: for another reason
}

func (p *planner) survey(a *projections.App, except string) *survey {
	s := &survey{demands: p.demands(a).leaving(except)}
	for _, n := range p.nodes {
		if n.Status != projections.StatusLeft && n.ID != except {
			s.nodes = append(s.nodes, p.judge(s.demands, n))
		}
	}
	return s
}

func (p *planner) judge(d demands, n *projections.Node) surveyed {
	if r := d.reject(p.v, p.u, n); len(r) > 0 {
		return surveyed{candidate: candidate{node: n}, refused: r}
	}
	if until, detail, yes := resting(d.app, n.ID, p.now); yes {
		return surveyed{candidate: candidate{node: n}, until: until, refused: []events.Rejection{{Node: n.ID, Code: events.RuleFailed,
			Detail: fmt.Sprintf("failed there, tried again at %s: %s", until.UTC().Format(time.RFC3339), detail)}}}
	}
	points := score(p.u, p.loads, d.app, n) + scoreCompany*p.company(d.app, n)
	points -= scoreFailed * int64(min(d.app.FailedLately(n.ID, p.now), 10)) // rested, and tried only after those that never failed
	l, most := p.loads[n.ID], p.v.Policy.Migration.LoadThreshold
	return surveyed{candidate: candidate{n, points, most > 0 && max(l.CPU, l.Memory) > most, complete(d.app, n)}}
}

// taken judges anew what an instance of the app that was sent to the node changes: that node, and those of its host, and all where it
// is to be spread over labels.
func (s *survey) taken(p *planner, node string) {
	for i, x := range s.nodes {
		if len(s.demands.app.Spec.SpreadOver) > 0 || x.node.ID == node || p.u.addr[x.node.ID] == p.u.addr[node] {
			s.nodes[i] = p.judge(s.demands, x.node)
		}
	}
}

// result returns the best node, and every rule of those that were refused. Without a best one, later is the first time at which a
// node that only rests may be tried again.
func (s *survey) result() (best *candidate, refused []events.Rejection, later time.Time) {
	count := 0
	for i := range s.nodes {
		x := &s.nodes[i]
		count += len(x.refused)
		switch {
		case len(x.refused) > 0:
			later = earliest(later, x.until)
		case best == nil || better(x.candidate, *best) < 0:
			c := x.candidate
			best = &c
		}
	}
	refused = slices.Grow(refused, count)
	for _, x := range s.nodes {
		refused = append(refused, x.refused...)
	}
	if best != nil {
		later = time.Time{}
	}
	return best, refused, later
}
