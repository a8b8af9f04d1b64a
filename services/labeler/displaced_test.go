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
