package labeler

import (
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/projections"
	"github.com/go-cluster/go-cluster/services"
	st "github.com/go-cluster/go-cluster/services/servicetest"
)

// A view of the leases that is behind the fold shows the lease as free that the node, just back, holds again. Nobody would ever take
// back a suspicion that comes of that.
func TestViewBehindTheFoldSuspectsNobody(t *testing.T) {
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		s := New(c.Base)
		c.Start(t, s.Run)
		n := c.Join(t, "node-1")
		c.Join(t, "node-2")
		status := func() (is string) {
			s.Replica.View(func(v *projections.Cluster) { is = v.Nodes["node-1"].Status })
			return is
		}
		stale := n.Lease
		stale.State = api.LeaseFree
		seen := services.SeenLease{}
		seen.Lease = stale
		d := Verdict{Node: "node-1", Lease: seen, Waited: time.Hour}
		for _, act := range []Act{ActUnseated, ActDisplaced} {
			d.Act = act
			if err := s.carryOut(t.Context(), d); err != nil || status() != projections.StatusReady {
				t.Errorf("%s over a lease that is held again: %v, the node is %s", act, err, status())
			}
		}
		n.Silence()
		l, _, err := c.Leases.Get(t.Context(), "node-1")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Leases.Put(t.Context(), stale, l.Seq); err != nil {
			t.Fatal(err)
		}
		var want string
		for _, act := range []Act{ActUnseated, ActDisplaced} {
			d.Act, want = act, map[Act]string{ActUnseated: projections.StatusSuspected, ActDisplaced: projections.StatusLost}[act]
			if err := s.carryOut(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			c.Until(t, "node-1 is "+want, func(v *projections.Cluster) bool { return v.Nodes["node-1"].Status == want })
		}
	})
}

// A view that is behind shows a lease as yielded whose incarnation is lost and followed by another one, and one of an incarnation that never joined: the log has
// its end once, however often that is looked at.
func TestViewBehindTheFoldLosesNobodyAgain(t *testing.T) {
	st.Run(t, func(t *testing.T, c *st.Cluster) {
		s := New(c.Base)
		c.Start(t, s.Run)
		n := c.Join(t, "node-1")
		c.Join(t, "node-2")
		behind := func(l api.Lease, state string, acts ...Act) {
			t.Helper()
			l.State = state
			seen := services.SeenLease{}
			seen.Lease, seen.Seq = l, 1 // it has been written since
			before, err := c.Events.LastSeq(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, act := range acts {
				if err := s.carryOut(t.Context(), Verdict{Act: act, Node: l.Node, Lease: seen, Waited: time.Hour}); err != nil {
					t.Fatal(err)
				}
			}
			if after, err := c.Events.LastSeq(t.Context()); err != nil || after != before {
				t.Errorf("%s of %s, of which the log has the end: %d events more, %v", acts, l.Inc, after-before, err)
			}
		}
		c.Pass(30 * time.Second)
		n.Silence()
		c.Until(t, "suspected", func(v *projections.Cluster) bool { return v.Nodes["node-1"].Status == projections.StatusSuspected })
		n.Yield(t)
		c.Until(t, "lost", func(v *projections.Cluster) bool { return v.Nodes["node-1"].Status == projections.StatusLost })
		c.Pass(time.Second) // it is freed
		next := c.Hold(t, "node-1", n.Lease.Machine, n.Lease.Boot)
		behind(n.Lease, api.LeaseYielded, ActYielded, ActYielded)
		next.Declare(t, nil)
		behind(n.Lease, api.LeaseYielded, ActYielded, ActYielded)
		behind(n.Lease, api.LeaseClosed, ActLose, ActLose)

		stranger := c.Hold(t, "node-3", "m-3", "boot")
		c.Until(t, "the end of one that never joined", func(v *projections.Cluster) bool { n := v.Nodes["node-3"]; return n != nil && n.Gone.Seq > 0 })
		behind(stranger.Lease, api.LeaseClosed, ActLose, ActLose)
	})
}
