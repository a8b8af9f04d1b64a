package placement

import (
	"slices"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/model"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/spec"
)

// Proposal is a rebalance: its moves in the order of their gain, and the imbalance before and after all of them.
type Proposal struct {
	Moves         []events.Proposal
	Before, After float64
	Waves         []int // of the moves, from 1
	Bound         snapshot.Bound
	Left          int    // moves of the whole plan that one event has no room for: the last ones, which gain least
	Why           string // one sentence, also when nothing moves
}

// maxProposal is how many bytes of moves one rebalance proposes at most, well below what an event may have.
const maxProposal = 400 << 10

// Balance proposes the moves that even out how many instances the nodes have, of the named apps only (none: of all): the least
// Σ count²/weight that the rules allow, with the fewest moves.
func Balance(v *projections.Cluster, apps []string) Proposal {
	return propose(v, engine.Request{Rebalance: true, Voluntary: true, Apps: apps}, v.Time)
}

// AutoBalance proposes what the policy asks for: nothing while the imbalance is within its threshold, else the fewest moves to half
// of it. What moved within twice the cooldown before now stays. Like Balance, it sends no app to a node where that rests after a failure.
func AutoBalance(v *projections.Cluster, now time.Time) Proposal {
	return propose(v, engine.Request{Voluntary: true}, now)
}

// Rests is when the first of the instances that AutoBalance leaves alone, because they moved lately, may be moved again, or the first node be used
// where an app has failed; zero for none.
func Rests(v *projections.Cluster, now time.Time) (until time.Time) {
	rest := 2 * max(v.Policy.AutoRebalance.CooldownPeriod.D(), v.Policy.Migration.CooldownPeriod.D())
	for _, a := range v.Apps {
		for node := range a.Backoff {
			if at, _, yes := resting(a, node, now); yes {
				until = earliest(until, at)
			}
		}
		for _, in := range a.Instances {
			if at := in.MovedAt.Add(rest); rest > 0 && !in.MovedAt.IsZero() && at.After(now) {
				until = earliest(until, at)
			}
		}
	}
	return until
}

func propose(v *projections.Cluster, r engine.Request, now time.Time) Proposal {
	s := live(v, now)
	restful(s, v, now)
	r.Apps = movable(v, r)
	if len(r.Apps) == 0 {
		m := Imbalance(v)
		return Proposal{Before: m.Imbalance, After: m.Imbalance, Why: "no app may move"}
	}
	p, err := model.Compile(s)
	if err != nil { // a rule that does not parse: it was refused when it was applied
		return Proposal{Why: err.Error()}
	}
	plan := engine.Compute(p, r)
	out := Proposal{Before: plan.Before.Imbalance, After: plan.After.Imbalance, Bound: plan.Bound, Why: plan.Why}
	size := 0
	seen := map[string]bool{}
	for _, m := range plan.Moves {
		again := seen[m.Instance] // what moves on from where it came to is proposed when it is there
		seen[m.Instance] = true
		if size > maxProposal || again {
			out.Left++
			continue
		}
		size += len(m.App) + len(m.Instance) + len(m.From) + len(m.To) + len(m.Why) + 64 // 64: names of the keys
		if (m.Class == events.ClassBalance || m.Class == events.ClassPreference) && m.From != "" && m.To != "" {
			out.Moves = append(out.Moves, events.Proposal{App: m.App, Instance: m.Instance, From: m.From, To: m.To, Why: m.Why})
			out.Waves = append(out.Waves, m.Wave)
		}
	}
	switch {
	case len(out.Moves) == 0:
		out.After = out.Before
	case out.Left > 0:
		moves := make([]events.Move, len(out.Moves))
		for i, mv := range out.Moves {
			moves[i] = events.Move{App: mv.App, Instance: mv.Instance, From: mv.From, To: mv.To}
		}
		out.After = measureAfter(s, moves).Imbalance
	}
	return out
}

// Imbalance says how even the cluster is.
func Imbalance(v *projections.Cluster) snapshot.Metrics {
	p, err := model.Compile(live(v, v.Time))
	if err != nil {
		return snapshot.Metrics{}
	}
	return engine.Measure(p)
}

// live is the state with what a file does not say: which nodes can run an app and carry its address, whatever its rules allow besides.
func live(v *projections.Cluster, now time.Time) *snapshot.State {
	s := State(v, nil, now)
	nodes := slices.DeleteFunc(v.SortedNodes(), func(n *projections.Node) bool { return !n.Known() })
	var run []string // nodes that run processes: one list for all apps that nothing else binds
	for _, n := range nodes {
		if runsProcesses(n) {
			run = append(run, n.ID)
		}
	}
	for i := range s.Apps {
		a := v.Apps[s.Apps[i].Name]
		vip, process := a.Spec.VIP, a.Spec.Process != nil && len(run) < len(nodes)
		switch {
		case vip == nil && !process:
			continue
		case vip == nil && len(a.Spec.OnNodes) == 0 && !beyond(v, a):
			only(&s.Apps[i], run)
			continue
		}
		var can []string
		wanted := 0
		for _, n := range nodes {
			if len(a.Spec.OnNodes) > 0 && !slices.Contains(a.Spec.OnNodes, n.ID) {
				continue
			}
			wanted++
			if (!process || runsProcesses(n) || placedAt(a, n.ID)) && (vip == nil || n.Facts.CannotCarry(vip.Interface) == "") {
				can = append(can, n.ID)
			}
		}
		if len(can) < wanted {
			only(&s.Apps[i], can)
		}
	}
	return s
}

// beyond says whether an instance of the app is where no processes can be run any more: there it stays.
func beyond(v *projections.Cluster, a *projections.App) bool {
	for _, in := range a.Instances {
		if n := v.Nodes[in.Node]; n != nil && !runsProcesses(n) {
			return true
		}
	}
	return false
}

// restful keeps apps from the nodes where they failed and rest, but for what they have there: a rebalance would send them there anew at once
// when it has failed, for ever.
func restful(s *snapshot.State, v *projections.Cluster, now time.Time) {
	for i := range s.Apps {
		a := v.Apps[s.Apps[i].Name]
		rests := func(node string) bool {
			_, _, yes := resting(a, node, now)
			return yes && !placedAt(a, node)
		}
		if len(a.Backoff) == 0 {
			continue
		}
		can := slices.Clone(s.Apps[i].OnNodes)
		if len(can) == 0 {
			for _, n := range s.Nodes {
				can = append(can, n.ID)
			}
		}
		if left := slices.DeleteFunc(slices.Clone(can), rests); len(left) < len(can) {
			only(&s.Apps[i], left)
		}
	}
}

// only lets an app use the named nodes and no others.
func only(a *snapshot.App, nodes []string) {
	if a.OnNodes = nodes; len(nodes) == 0 {
		a.OnNodes = []string{"-"} // no node can have this name
	}
}

// movable names the apps that a rebalance may move: neither removed nor spread over all nodes nor on the move already, not bound to
// others that have to go with them, and not to a port of a host that several nodes share.
func movable(v *projections.Cluster, r engine.Request) (out []string) {
	hosts := map[string]int{}
	for _, n := range v.Nodes {
		if n.Known() {
			hosts[n.Facts.Address]++
		}
	}
	shared := false
	for host, nodes := range hosts {
		shared = shared || host != "" && nodes > 1
	}
	follow := followers(v)
	for _, a := range v.SortedApps() {
		fixed := slices.ContainsFunc(ports(a), func(p int) bool { return p != 0 })
		switch {
		case a.Removed || a.Spec.Mode == spec.Spread || len(a.Main()) > 0 || shared && fixed:
		case len(a.Spec.WithApp) > 0 || len(follow[a.Name]) > 0:
		case len(r.Apps) > 0 && !slices.Contains(r.Apps, a.Name):
		case !r.Rebalance && slices.Contains(v.Policy.AutoRebalance.ExcludeApps, a.Name):
		default:
			out = append(out, a.Name)
		}
	}
	return out
}

func ports(a *projections.App) (out []int) {
	for _, p := range a.Spec.Ports {
		out = append(out, p)
	}
	return out
}
