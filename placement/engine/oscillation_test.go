package engine_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/check"
	"github.com/go-cluster/go-cluster/placement/engine"
	"github.com/go-cluster/go-cluster/placement/snapshot"
	"github.com/go-cluster/go-cluster/spec"
)

var perturbations = flag.Int("placement.perturbations", 150, "changes that a cluster with automatic rebalancing lives through")

// Labels flap, nodes join and leave, are cordoned and come back: what moved of its own accord does not go back within twice the
// cooldown, and a change that leaves everything in band moves only what it forces.
func TestNothingGoesBackAndForth(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	s := draw(r, shape{nodes: 12, apps: 20, density: 0.6})
	cooldown := 10 * time.Minute
	s.Policy = &spec.Policy{AutoRebalance: spec.AutoRebalancePolicy{Enabled: true, Threshold: 0.2, CooldownPeriod: spec.Duration(cooldown)}}
	type leaving struct {
		from  string
		at    time.Time
		class events.Class
	}
	last := map[string]leaving{}
	voluntary, forced := 0, 0
	for i := range *perturbations {
		s.Now = s.Now.Add(time.Duration(1+r.IntN(8)) * time.Minute)
		n := &s.Nodes[r.IntN(len(s.Nodes))]
		switch r.IntN(6) {
		case 0:
			n.Labels = map[string]string{"kind": fmt.Sprint(r.IntN(4)), "zone": n.Labels["zone"]}
		case 1:
			n.Scheduling = [...]string{"", "cordoned"}[r.IntN(2)]
		case 2:
			n.Status = [...]string{"", "lost"}[r.IntN(2)]
		case 3:
			s.Nodes = append(s.Nodes, snapshot.Node{ID: fmt.Sprintf("new%d", i), Labels: map[string]string{"kind": fmt.Sprint(r.IntN(4))}})
		case 4:
			n.Scheduling = [...]string{"", "draining"}[r.IntN(2)]
		}
		res := compute(t, s, engine.Request{})
		for _, v := range check.Plan(s, res.Plan) {
			t.Fatal(i, v)
		}
		for _, m := range res.Moves {
			if m.From == "" || m.To == "" {
				continue
			}
			free := m.Class == events.ClassBalance || m.Class == events.ClassPreference
			was, moved := last[m.Instance]
			if free && moved && was.from == m.To && s.Now.Sub(was.at) < 2*cooldown {
				t.Fatalf("change %d: %s goes back to %s after %s: %s", i, m.Instance, m.To, s.Now.Sub(was.at), m.Why)
			}
			last[m.Instance] = leaving{m.From, s.Now, m.Class}
			if free {
				voluntary++
			} else {
				forced++
			}
		}
		s = applied(s, res.Moves, s.Now)
		if again := compute(t, s, engine.Request{}); len(again.Moves) > 0 {
			t.Fatalf("change %d: carried out, and it moves again: %s", i, text(t, again.Moves))
		}
	}
	t.Logf("%d changes: %d forced and %d voluntary moves", *perturbations, forced, voluntary)
}
