package sim

import (
	"testing"
	"time"

	"github.com/go-cluster/go-cluster/api"
	"github.com/go-cluster/go-cluster/projections"
)

// Somebody who led an epoch does not know that it has ended, and ships on. Nobody reads that; it is deleted, and people are told.
func TestShippedIntoAnEndedEpoch(t *testing.T) {
	Run(t, plain("n1", "n2"), func(c *Cluster) {
		t := c.T
		db := singleton("db")
		db.SQLite = "$GC_DATA_DIR/app.db"
		c.Apply(db)
		c.Until("db runs", time.Minute, func(v *projections.Cluster) bool { return Runs(v, "db") })
		c.For(5 * time.Second)
		if _, err := Ask[api.Ack](c, api.AppMove, api.MoveRequest{Meta: c.Meta(), App: "db"}); err != nil {
			t.Fatal(err)
		}
		c.Until("db has moved", time.Minute, func(v *projections.Cluster) bool { return Runs(v, "db") && v.Apps["db"].Epoch == 2 })
		strays := func() int {
			c.For(90 * time.Second)
			a, err := Ask[api.AppDetail](c, api.AppShow, api.AppRequest{Meta: c.Meta(), App: "db"})
			if err != nil || len(a.Instances) != 1 || a.Instances[0].Data == nil {
				t.Fatalf("%+v, %v", a.Instances, err)
			}
			return a.Instances[0].Data.Strays
		}
		if n := strays(); n != 0 {
			t.Errorf("%d objects in ended epochs, though nobody has shipped any", n)
		}
		s := c.Programs.store
		s.mu.Lock()
		s.app("db").shipped[1] = []shipment{{stored: time.Now()}, {stored: time.Now()}}
		s.mu.Unlock()
		if n := strays(); n != 2 {
			t.Errorf("%d objects in ended epochs, 2 were shipped there", n)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := len(s.app("db").shipped[1]); n > 0 {
			t.Errorf("%d are left", n)
		}
	})
}
