package check

import (
	"slices"

	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/placement/snapshot"
)

// budgets checks that in no wave more of an app is missing or moving than its max_unavailable, moves that the plan says are held aside,
// and but for recovery and for what is stopped for good; and that of what is stopped so many are left as its min_healthy says.
func (c *checker) budgets() {
	for name, a := range c.w.apps {
		if a.MaxUnavail <= 0 && a.Migration.MinHealthy <= 0 {
			continue
		}
		for wave := 1; wave <= c.p.Waves; wave++ {
			serving, moving, flying := 0, 0, 0
			for id, in := range c.w.ins {
				if in.App != name {
					continue
				}
				if slices.ContainsFunc(c.w.s.InFlight, func(m snapshot.InFlight) bool { return m.Instance == id }) {
					flying++
				} else if n := c.w.nodes[in.Node]; n != nil && n.Status != "lost" && n.Status != "left" {
					serving++
				}
			}
			alive, ended, stops := serving, 0, 0
			for i := range c.p.Moves {
				m := &c.p.Moves[i]
				n := c.w.nodes[m.From]
				starts := n == nil || n.Status == "lost" || n.Status == "left"
				switch {
				case m.App != name || c.held(m) || m.Wave > wave:
				case m.Reason == events.ReasonScale && m.To == "":
					if !starts {
						ended++
					}
				case starts && m.To != "" && m.Wave < wave:
					alive++
				case starts:
				case m.To == "":
					alive--
					if m.Wave == wave {
						stops++
					}
				case m.Wave == wave:
					alive--
					moving++
				}
			}
			want := serving + flying
			if a.Replicas != nil {
				want = *a.Replicas
			}
			if wave > 1 {
				alive += flying
			}
			if least := a.Migration.MinHealthy; stops > 0 && alive-ended < least {
				c.bad(name, "in wave %d %d serve and stay where %d are stopped, %d must", wave, alive-ended, stops, least)
			}
			if a.MaxUnavail > 0 && moving > 0 && want-alive > a.MaxUnavail {
				c.bad(name, "in wave %d %d of %d do not serve or move, at most %d may", wave, want-alive, want, a.MaxUnavail)
			}
		}
	}
}

func (c *checker) held(m *snapshot.Move) bool {
	return slices.ContainsFunc(c.p.Deferred, func(d snapshot.Deferral) bool {
		return d.Instance == m.Instance && (d.Rule == events.HoldUnavailable || d.Rule == events.HoldMinHealthy)
	})
}
