package migrator

import (
	"github.com/go-cluster/go-cluster/events"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
)

// quiet is what observe had nothing to say of, by app, and what it saw then. Most apps change seldom, and a pass is made for each event:
// to compare each with the leases every time would cost the square of how many there are.
type quiet map[string]sight

// sight is what observe looks at besides the app's own events, which end at app.
type sight struct {
	app     uint64
	members uint64 // newest event that ends or begins an incarnation, and with it instances of any app
	lease   uint64 // newest lease
	lost    uint64 // newest lease by which a node tells of data that it has set aside, of whatever app
}

func sightOf(v *projections.Cluster, leases map[string]services.SeenLease) (s sight) {
	for _, n := range v.Nodes {
		s.members = max(s.members, n.Joined.Seq, n.Gone.Seq)
	}
	for _, l := range leases {
		s.lease = max(s.lease, l.Seq)
		if len(l.Lease.Lost) > 0 {
			s.lost = max(s.lost, l.Seq)
		}
	}
	return s
}

// note remembers that there was nothing to say of an app. What a migration of it makes of the leases also depends on the time.
func (q quiet) note(v *projections.Cluster, a *projections.App, at sight) {
	if len(a.Open) > 0 {
		delete(q, a.Name)
		return
	}
	at.app = v.Head(events.App(a.Name)).Seq
	q[a.Name] = at
}

// still says that nothing is different now.
func (q quiet) still(v *projections.Cluster, a *projections.App, leases map[string]services.SeenLease, at sight) bool {
	was, ok := q[a.Name]
	if !ok || len(a.Open) > 0 || was.members != at.members || was.lost != at.lost || was.app != v.Head(events.App(a.Name)).Seq {
		return false
	}
	if a.Leader != nil && leases[a.Leader.Node].Seq > was.lease {
		return false
	}
	for _, in := range a.Instances {
		if leases[in.Node].Seq > was.lease {
			return false
		}
	}
	return true
}

// noisy returns the apps that a pass looks at: those of which it had something to say or that have open migrations, and those for which the log or
// the leases have something that they had not.
func (s *Service) noisy(v *projections.Cluster, leases map[string]services.SeenLease, at sight) map[string]bool {
	was := s.until
	at.app = v.Seq
	s.until = at
	changes, ok := v.Changes(was.app)
	if !ok || s.noise == nil || was.members != at.members || was.lost != at.lost {
		s.noise = map[string]bool{}
		for name := range v.Apps {
			s.noise[name] = true
		}
		return s.noise
	}
	for _, c := range changes {
		if c.App != "" {
			s.noise[c.App] = true
		}
	}
	for node, l := range leases {
		if l.Seq > was.lease {
			s.ledger.On(v, node, func(app string) { s.noise[app] = true })
		}
	}
	return s.noise
}

// ledFromHere says whether the leases that matter to an app are those of nodes that it has instances on.
func ledFromHere(a *projections.App) bool {
	if a.Leader == nil || a.Leader.Ended {
		return true
	}
	for _, in := range a.Instances {
		if in.Node == a.Leader.Node {
			return true
		}
	}
	return false
}
