package placement

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
)

// field is every node as a target for instances of one app, judged on what stands and is decided so far.
type field interface {
	// best is the best node that takes an instance and that is wanted, nil for none.
	best(wanted func(candidate) bool) *candidate
	// at judges one node; it is nil for one that is no target at all.
	at(node string) *surveyed
	reasons
	// rejections is every rule of each node that was passed over.
	rejections() []events.Rejection
	// later is the first time at which a node that only rests may be tried again; zero for none.
	later() time.Time
	// taken has judged anew what an instance of the app changes that was sent to a node.
	taken(node string)
}

// survey judges node by node.
type survey struct {
	p       *planner
	demands demands
	nodes   []*surveyed // ordered by id
}

// surveyed is the verdict on one node: why it cannot take an instance, or how good it would be.
type surveyed struct {
	candidate
	refused []events.Rejection
	until   time.Time // refused only because it rests until then; zero: for another reason
}

// field is the field of an app, but for a node that is not to be its target.
func (p *planner) field(a *projections.App, except string) field {
	if k := p.kind(a); k != nil {
		if g := p.glance(k, a, except); p.u.holding == 0 || g.best(nil) != nil {
			return g
		}
	}
	return p.survey(a, except)
}

func (p *planner) survey(a *projections.App, except string) *survey {
	s := &survey{p: p, demands: p.demands(a).leaving(except), nodes: make([]*surveyed, 0, len(p.nodes))}
	for _, n := range p.nodes {
		if n.Status != projections.StatusLeft && n.ID != except {
			s.nodes = append(s.nodes, p.judge(s.demands, n))
		}
	}
	if !s.demands.standby && p.u.holding > 0 && s.best(nil) == nil { // standbys give way to what has no other place
		s.demands = s.demands.pushing()
		for i, x := range s.nodes {
			s.nodes[i] = p.judge(s.demands, x.node)
		}
	}
	return s
}

func (p *planner) judge(d demands, n *projections.Node) *surveyed {
	if r := d.reject(p.v, p.u, n); len(r) > 0 {
		return &surveyed{candidate: candidate{node: n}, refused: r}
	}
	if until, detail, yes := resting(d.app, n.ID, p.now); yes {
		return &surveyed{candidate: candidate{node: n}, until: until, refused: []events.Rejection{{Node: n.ID, Code: events.RuleFailed,
			Detail: fmt.Sprintf("failed there, tried again at %s: %s", until.UTC().Format(time.RFC3339), detail)}}}
	}
	points := score(p.u, p.loads, d.app, n) + scoreCompany*p.company(d.app, n)
	points -= scoreFailed * int64(min(d.app.FailedLately(n.ID, p.now), 10)) // rested, and tried only after those that never failed
	return &surveyed{candidate: candidate{n, points, p.hot(laden(p.loads[n.ID])), complete(d.app, n), p.copyOn(d.app, n), leaderless(d.app)}}
}

// hot says whether a load is above the policy's threshold.
func (p *planner) hot(load float64) bool {
	most := p.v.Policy.Migration.LoadThreshold
	return most > 0 && load > most
}

func leaderless(a *projections.App) bool { return a.Leader == nil || a.Leader.Ended }

func (s *survey) best(wanted func(candidate) bool) (best *candidate) {
	for _, x := range s.nodes {
		if len(x.refused) == 0 && (wanted == nil || wanted(x.candidate)) && (best == nil || better(x.candidate, *best) < 0) {
			best = &x.candidate
		}
	}
	return best
}

func (s *survey) at(node string) *surveyed {
	for _, x := range s.nodes {
		if x.node.ID == node {
			return x
		}
	}
	return nil
}

// taken judges that node, and those of its host, and all where the app is to be spread over labels.
func (s *survey) taken(node string) {
	host := s.p.u.at(node).host
	for i, x := range s.nodes {
		if len(s.demands.app.Spec.SpreadOver) > 0 || x.node.ID == node || x.node.Facts.Address == host {
			s.nodes[i] = s.p.judge(s.demands, x.node)
		}
	}
}

func (s *survey) later() (later time.Time) {
	for _, x := range s.nodes {
		later = earliest(later, x.until)
	}
	return later
}

func (s *survey) rejections() (refused []events.Rejection) {
	count := 0
	for _, x := range s.nodes {
		count += len(x.refused)
	}
	refused = slices.Grow(refused, count)
	for _, x := range s.nodes {
		refused = append(refused, x.refused...)
	}
	return refused
}

func (s *survey) refusals() Refusals { return refusalsOf(s.rejections()) }
