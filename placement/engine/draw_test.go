package engine_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

// shape says what a random state has.
type shape struct {
	nodes, apps int
	density     float64 // share of the label values that an app's rule allows
	weights     bool
	slots       bool // nodes limit how many they take, each instance takes one
	sizes       bool // instances of different sizes in two resources
	away        bool
	prefer      bool
	loose       bool // drained, cordoned, lost and suspected nodes; instances without a place, in flight, in the wrong place
	spread      bool
	with        bool
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// draw makes a random state. Instances stand where the rules allow, but for what the shape says.
func draw(r *rand.Rand, sh shape) *snapshot.State {
	s := &snapshot.State{Now: start}
	kinds := 1 + r.IntN(5)
	for i := range sh.nodes {
		n := snapshot.Node{ID: fmt.Sprintf("n%d", i), Labels: map[string]string{"kind": fmt.Sprint(r.IntN(kinds)), "zone": string(rune('a' + r.IntN(3)))}}
		if sh.weights {
			n.Weight = snapshot.Amount(500 * (1 + r.IntN(4)))
		}
		if sh.slots && r.IntN(2) == 0 {
			n.Capacity = snapshot.Amounts{"slots": snapshot.Amount(1000 * (1 + r.IntN(sh.apps)))}
		}
		if sh.sizes {
			n.Capacity = snapshot.Amounts{"cpu": snapshot.Amount(1000 * (6 + r.IntN(10))), "memory": snapshot.Amount(1000 * (6 + r.IntN(10)))}
		}
		if sh.loose {
			switch r.IntN(12) {
			case 0:
				n.Scheduling = "draining"
			case 1:
				n.Scheduling = "cordoned"
			case 2:
				n.Status = "lost"
			case 3:
				n.Status = "suspected"
			}
		}
		s.Nodes = append(s.Nodes, n)
	}
	for i := range sh.apps {
		a := snapshot.App{}
		a.Name = fmt.Sprintf("a%d", i)
		a.Mode = spec.Replicas
		var allowed []string
		for k := range kinds {
			if r.Float64() < sh.density {
				allowed = append(allowed, fmt.Sprint(k))
			}
		}
		if len(allowed) == 0 {
			allowed = []string{fmt.Sprint(r.IntN(kinds))}
		}
		if len(allowed) < kinds {
			a.Require = []string{"kind in (" + join(allowed) + ")"}
		}
		if sh.slots {
			a.Resources = snapshot.Amounts{"slots": 1000}
		}
		if sh.sizes {
			a.Resources = snapshot.Amounts{"cpu": snapshot.Amount(500 * (1 + r.IntN(6))), "memory": snapshot.Amount(500 * (1 + r.IntN(6)))}
		}
		if sh.away && i > 0 && r.IntN(3) == 0 {
			a.AwayFromApp = []string{fmt.Sprintf("a%d", r.IntN(i))}
		}
		if sh.with && i > 0 && r.IntN(4) == 0 {
			a.WithApp = []string{fmt.Sprintf("a%d", r.IntN(i))}
			a.Require = nil
			a.AwayFromApp = nil
		}
		if sh.prefer && r.IntN(2) == 0 {
			a.Prefer = []spec.Preference{{Label: "zone=" + string(rune('a'+r.IntN(3))), Weight: r.IntN(200) - 100}, {Node: fmt.Sprintf("n%d", r.IntN(sh.nodes)), Weight: r.IntN(101)}}
			cost := r.IntN(4)
			a.MoveCost = &cost
		}
		if sh.spread && r.IntN(3) == 0 {
			a.SpreadOver = []spec.SpreadOver{{Label: "zone", MaxSkew: 1 + r.IntN(2)}}
		}
		count := 0
		for _, n := range r.Perm(sh.nodes)[:r.IntN(min(sh.nodes, 4))+1] {
			node := &s.Nodes[n]
			ok := len(a.Require) == 0
			for _, k := range allowed {
				ok = ok || node.Labels["kind"] == k
			}
			if sh.slots && node.Capacity != nil && taken(s, node.ID) >= int(node.Capacity["slots"]/1000) {
				ok = false
			}
			if sh.away && conflict(s, &a, node.ID) && r.IntN(8) > 0 {
				ok = false
			}
			if sh.with && len(a.WithApp) > 0 && !runs(s, a.WithApp[0], node.ID) {
				ok = false
			}
			if sh.loose && r.IntN(8) == 0 {
				ok = true
			}
			if !ok {
				continue
			}
			in := snapshot.Instance{ID: fmt.Sprintf("a%d-%d", i, count), App: a.Name, Node: node.ID}
			if sh.loose && r.IntN(10) == 0 {
				in.Node = ""
			}
			s.Instances = append(s.Instances, in)
			if sh.loose && in.Node != "" && r.IntN(15) == 0 {
				to := &s.Nodes[r.IntN(sh.nodes)]
				if to.ID != in.Node && !runs(s, a.Name, to.ID) && !conflict(s, &a, to.ID) && to.Status == "" && to.Scheduling == "" && contains(allowed, to.Labels["kind"]) {
					s.InFlight = append(s.InFlight, snapshot.InFlight{Instance: in.ID, From: in.Node, To: to.ID})
				}
			}
			count++
		}
		if sh.loose {
			count += r.IntN(2)
			if r.IntN(10) == 0 && count > 0 {
				count--
			}
		}
		a.Replicas = &count
		s.Apps = append(s.Apps, a)
	}
	return s
}

func contains(list []string, v string) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}

func join(list []string) (out string) {
	for i, v := range list {
		if i > 0 {
			out += ","
		}
		out += v
	}
	return out
}

func taken(s *snapshot.State, node string) (n int) {
	for i := range s.Instances {
		if s.Instances[i].Node == node {
			n++
		}
	}
	return n
}

func runs(s *snapshot.State, app, node string) bool {
	for i := range s.Instances {
		if s.Instances[i].App == app && s.Instances[i].Node == node {
			return true
		}
	}
	for _, m := range s.InFlight {
		if m.To == node {
			for i := range s.Instances {
				if s.Instances[i].ID == m.Instance && s.Instances[i].App == app {
					return true
				}
			}
		}
	}
	return false
}

func conflict(s *snapshot.State, a *snapshot.App, node string) bool {
	for _, o := range a.AwayFromApp {
		if runs(s, o, node) {
			return true
		}
	}
	return false
}

// shuffled is the state with everything listed in another order.
func shuffled(r *rand.Rand, s *snapshot.State) *snapshot.State {
	o := *s
	o.Nodes = append([]snapshot.Node(nil), s.Nodes...)
	o.Apps = append([]snapshot.App(nil), s.Apps...)
	o.Instances = append([]snapshot.Instance(nil), s.Instances...)
	o.InFlight = append([]snapshot.InFlight(nil), s.InFlight...)
	r.Shuffle(len(o.Nodes), func(i, j int) { o.Nodes[i], o.Nodes[j] = o.Nodes[j], o.Nodes[i] })
	r.Shuffle(len(o.Apps), func(i, j int) { o.Apps[i], o.Apps[j] = o.Apps[j], o.Apps[i] })
	r.Shuffle(len(o.Instances), func(i, j int) { o.Instances[i], o.Instances[j] = o.Instances[j], o.Instances[i] })
	r.Shuffle(len(o.InFlight), func(i, j int) { o.InFlight[i], o.InFlight[j] = o.InFlight[j], o.InFlight[i] })
	return &o
}

// applied is the state after the moves have ended.
func applied(s *snapshot.State, moves []snapshot.Move, now time.Time) *snapshot.State {
	o := *s
	o.Now = now
	o.Instances = append([]snapshot.Instance(nil), s.Instances...)
	at := map[string]int{}
	for i := range o.Instances {
		at[o.Instances[i].ID] = i
	}
	gone := map[string]bool{}
	for _, m := range moves {
		i, known := at[m.Instance]
		if !known {
			at[m.Instance] = len(o.Instances)
			o.Instances = append(o.Instances, snapshot.Instance{ID: m.Instance, App: m.App, Node: m.To, MovedAt: now})
			continue
		}
		o.Instances[i].Node, o.Instances[i].From, o.Instances[i].MovedAt = m.To, m.From, now
		gone[m.Instance] = m.To == ""
	}
	kept := o.Instances[:0:0]
	for _, in := range o.Instances {
		if !gone[in.ID] {
			kept = append(kept, in)
		}
	}
	o.Instances = kept
	return &o
}
